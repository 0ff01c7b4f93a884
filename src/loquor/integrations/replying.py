"""One reply of a voice agent: text in as a language model writes it, 16-bit sound and timed words out.

What frameworks for agents have in common. They play sound while it is made, show words with it, and when the human
speaks up they stop at once and must know which words were heard. So every word is given with its time, before its
sound, and together the words are the text to the last character.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np

from loquor.audio.resample import StreamResampler
from loquor.audio.sink import pcm16
from loquor.engine.load import load
from loquor.engine.speaker import Speaker
from loquor.engine.word_times import TimedWord, WordTimes
from loquor.errors import ConfigError, InputError
from loquor.text.timing import WORD


@dataclass(frozen=True)
class TimedText:
    """A word with its marks and the space before it, and when it is heard."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Sounded:
    """A piece of a reply."""

    pcm: bytes  # 16-bit little-endian mono
    seconds: float
    words: list[TimedText] = field(default_factory=list)  # that begin in it


class Reply:
    """Push text as it comes, take what is said; all in one event loop. A reply that is dropped is cancelled."""

    def __init__(self, speaker: Speaker, voice: str, seed: int, sample_rate_hz: int) -> None:
        """VoiceError if there is no such voice."""
        self._session = speaker.session(voice, seed=seed)
        self._times = WordTimes(speaker.sample_rate_hz)
        self._resampler = StreamResampler(speaker.sample_rate_hz, sample_rate_hz)
        self._sample_rate_hz = sample_rate_hz
        self._is_cancelled = False
        self._given, self._given_s = 0, 0.0  # characters, in words, and when the last of these begins

    async def push(self, text: str) -> None:
        self._times.push(text)
        await asyncio.to_thread(self._session.push, text)

    async def end(self) -> None:
        """Nothing more will be pushed."""
        await asyncio.to_thread(self._session.end)

    def cancel(self) -> None:
        """Stop within a frame."""
        self._is_cancelled = True
        self._session.cancel()

    async def said(self) -> AsyncIterator[Sounded]:
        """All of it, as it is made; InputError if the text holds nothing that can be spoken."""
        async for chunk in self._session:
            begun, settled = self._times.hear(chunk)  # an utterance may end before all its words were told
            words = [self._with_marks(word) for word in (*begun, *settled) if word.start >= self._given]
            yield self._sounded(self._resampler.push(chunk.waveform.numpy()), words)
        if self._is_cancelled or self._session.finish == "cancelled":
            return
        if not self._times.end_s:
            raise InputError("the text holds nothing that can be spoken")
        rest = self._times.text[self._given :]
        last = [TimedText(rest, self._times.end_s, self._times.end_s)] if rest.strip() else []
        yield self._sounded(self._resampler.finish(), last)

    def _with_marks(self, word: TimedWord) -> TimedText:
        """The text from the word before to the end of this one; marks may still come, then the next word has them."""
        text, end = self._times.text, word.end
        while end < len(text) and not text[end].isspace() and not WORD.match(text, end):
            end += 1
        given, self._given = self._given, end
        self._given_s = max(self._given_s, word.start_s)
        return TimedText(text[given:end], self._given_s, max(self._given_s, word.end_s))

    def _sounded(self, waveform: np.ndarray[tuple[int], np.dtype[np.float32]], words: list[TimedText]) -> Sounded:
        return Sounded(pcm16(waveform).tobytes(), len(waveform) / self._sample_rate_hz, words)


def agent_speaker(speaker: Speaker | None) -> Speaker:
    """The speaker of an agent: the given one, or the embedded voice. ConfigError for one that must know all of a text
    before it says a word."""
    chosen = load() if speaker is None else speaker
    if not isinstance(chosen, Speaker):
        raise ConfigError(
            f"an agent needs a voice that speaks while text still comes, which {chosen.name} does not",
            hint="take the embedded voice, or another Realtime model",
        )
    return chosen
