"""Whatever family a model is of, text goes in and chunks of speech come out: one face for three speakers.

A Realtime model speaks while text arrives. Long-form and VITA-Audio models must know all of it first, so for them text
is gathered until its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from loquor.audio import StreamResampler
from loquor.engine.converser import NO_LATENTS, Converser
from loquor.engine.dialogue import Cast, DialogueSpeaker
from loquor.engine.listening import Listening
from loquor.engine.pace import Paced
from loquor.engine.playback import Playback
from loquor.engine.reply import ReplyChunk
from loquor.engine.request import Chunk
from loquor.engine.session import Session
from loquor.engine.speaker import Speaker, require_text
from loquor.errors import InputError
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.voices.recording import RecordedVoice
from loquor.voices.voice import Voice

if TYPE_CHECKING:
    from loquor.engine.load import AnySpeaker

VOICES_KEPT = 32  # read last, of all clients


@dataclass(frozen=True)
class Wish:
    """How something is to be said. `voice` is an id or name as its client knows it; None is the model's own choice.

    A text that is a script has a `cast` instead: its speakers, each with a voice.
    """

    voice: str = "default"
    guidance: float | None = None
    steps: int | None = None
    seed: int = 0
    cast: tuple[tuple[str, str], ...] = ()
    speed: float = 1.0  # of the model's own

    @property
    def voices(self) -> str:
        """Names of all of them, to be read."""
        return ", ".join(voice for _, voice in self.cast) or self.voice


class Voicing(Protocol):
    """Something being said. Text is pushed from threads; chunks are taken in an event loop, once there is a `begun`."""

    @property
    def begun(self) -> bool:
        """Whether chunks can be taken yet."""

    @property
    def finish(self) -> str | None:
        """How it ended: end, limit, runaway or cancelled."""

    def push(self, text: str) -> None: ...

    def flush(self) -> None: ...

    def end(self) -> None: ...

    def cancel(self) -> None: ...

    def leave_unmarked(self) -> bool:
        """Chunks, once there is a `begun`, are to come without a watermark; whether they would have had one."""

    def chunks(self) -> AsyncIterator[Chunk]: ...


Files = Path | Mapping[str, Path] | None  # of one voice, of each speaker's, or none: the model's own choice


def begin(speaker: AnySpeaker, wish: Wish, voice: Files, playback: Playback) -> Voicing:
    """Start to say something in the voice of a file, or of several; raises as the speakers do."""
    if isinstance(speaker, DialogueSpeaker):
        cast = _cast(voice)
        return Gathered(lambda text: speaker.session(text, cast, wish.guidance, wish.steps, wish.seed), playback)
    if wish.cast:
        raise InputError("this model has one voice at a time", hint="send what each speaker says as its own turn")
    assert not isinstance(voice, Mapping), "there is a cast"
    if isinstance(speaker, Speaker):
        named = _prompt(voice, voice.stat().st_mtime_ns) if voice else "default"
        session = speaker.session(named, wish.guidance, wish.steps, wish.seed)
        session.serve(playback)
        return AtOnce(session)
    return Gathered(_starter(speaker, wish, voice), playback)


@lru_cache(maxsize=VOICES_KEPT)
def _prompt(path: Path, stamp: int) -> Voice:
    """A Realtime voice, read once for each time it was written. Speakers themselves keep every file they are given,
    which is too many where clients bring and delete theirs."""
    return Voice.open(path)


def _cast(files: Files) -> Cast:
    if isinstance(files, Mapping):
        return {name: _recorded(file) for name, file in files.items()}
    return _recorded(files) if files else None


def _recorded(path: Path) -> RecordedVoice:
    return _recording(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=VOICES_KEPT)
def _recording(path: Path, stamp: int) -> RecordedVoice:
    return RecordedVoice.open(path)


class AtOnce:
    """Speech of a Realtime model."""

    begun = True

    def __init__(self, session: Session) -> None:
        self._session = session
        self.push, self.flush, self.end, self.cancel = session.push, session.flush, session.end, session.cancel
        self.leave_unmarked = session.leave_unmarked

    @property
    def finish(self) -> str | None:
        return self._session.finish

    async def chunks(self) -> AsyncIterator[Chunk]:
        async for chunk in self._session:
            yield chunk


class Gathered:
    """Speech of a model that must know all of a text before it says a word."""

    def __init__(self, start: Callable[[str], Listening[Any, Any]], playback: Playback) -> None:
        self._start, self._playback = start, playback
        self._text = ""
        self._listening: Listening[Any, Any] | None = None

    @property
    def begun(self) -> bool:
        return self._listening is not None

    @property
    def finish(self) -> str | None:
        return self._listening.finish if self._listening else None

    def push(self, text: str) -> None:
        if self._listening:
            raise InputError("text was pushed after the session's end")
        self._text += text

    def flush(self) -> None:
        """An utterance ends: a line does."""
        self._text += "\n"

    def end(self) -> None:
        require_text(self._text)
        self._listening = self._start(self._text.strip())
        self._listening.serve(self._playback)

    def cancel(self) -> None:
        if self._listening:
            self._listening.cancel()

    def leave_unmarked(self) -> bool:
        assert self._listening is not None, "it has begun"
        return self._listening.leave_unmarked()

    async def chunks(self) -> AsyncIterator[Chunk]:
        assert self._listening is not None, "chunks are taken once it has begun"
        said = 0
        async for chunk in self._listening:
            if isinstance(chunk, ReplyChunk):
                said = min(len(self._text), said + len(chunk.text))
                if len(chunk.waveform):
                    yield Chunk(chunk.waveform, NO_LATENTS, chunk.start_s, chunk.end_s, said)
            else:
                yield chunk


async def at_speed(chunks: AsyncIterator[Chunk], paced: Paced) -> AsyncIterator[Chunk]:
    """The same speech as it is heard at another speed; see `loquor.engine.pace`."""
    async with aclosing(chunks) as spoken:  # type: ignore[type-var]
        async for chunk in spoken:
            if heard := await asyncio.to_thread(paced.hear, chunk):
                yield heard
    if rest := paced.rest():
        yield rest


async def at_rate(chunks: AsyncIterator[Chunk], from_hz: int, to_hz: int) -> AsyncIterator[Chunk]:
    """The same speech at another rate, some milliseconds late: its last samples are in a chunk of their own."""
    resampler, last = StreamResampler(from_hz, to_hz), None
    async with aclosing(chunks) as spoken:  # type: ignore[type-var]
        async for chunk in spoken:
            last = replace(chunk, waveform=torch.from_numpy(resampler.push(chunk.waveform.numpy())))
            yield last
    if last and len(rest := resampler.finish()):
        yield replace(last, waveform=torch.from_numpy(rest), start_s=last.end_s, end_s=last.end_s)


def _starter(speaker: Converser, wish: Wish, voice: Path | None) -> Callable[[str], Listening[Any, Any]]:
    recording = _recorded(voice) if voice else None
    if wish.guidance is not None or wish.steps is not None:
        raise InputError("a VITA-Audio model draws tokens: it knows no guidance and no steps", hint="leave them out")
    heard = (recording.waveform, SAMPLE_RATE_HZ) if recording else None
    return lambda text: speaker.say(text, heard, seed=wish.seed)
