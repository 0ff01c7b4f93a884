"""The core of the server: a request waits for a slot, is spoken in one batch with all others, and is accounted for.

Everything a protocol needs is `Service.session`: text in as it comes, chunks out as they are made. A listener that
takes nothing holds up nobody else: a bounded number of chunks waits for it, then its stream stands still until it goes
on. Whatever ends a request, a client that hangs up included, frees its slot at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from loquor.audio.tempo import require_tempo
from loquor.engine.pace import Paced
from loquor.engine.playback import Playback
from loquor.engine.request import Chunk
from loquor.engine.speaker import require_text
from loquor.errors import InputError
from loquor.server.admission import Admission
from loquor.server.audit import Audit, Entry
from loquor.server.keys import Client
from loquor.server.metrics import Metrics
from loquor.server.synthesis import Files, Voicing, Wish, at_rate, at_speed, begin
from loquor.server.voice_store import Transcriber, VoiceStore

SAMPLE_RATE_HZ = 24_000  # of all that is served, whatever the model's is: clients' protocols say so

if TYPE_CHECKING:
    from loquor.engine.load import AnySpeaker


@dataclass(frozen=True)
class Limits:
    """How much a server takes on."""

    slots: int = 8  # streams at once
    queue: int = 32  # requests that may wait for one
    patience_s: float = 30.0  # that a request may wait
    buffer_frames: int = 16  # chunks that wait for a listener, then its stream is held
    stall_s: float = 30.0  # that a listener may take nothing, then it is hung up on
    idle_s: float = 60.0  # that a stream may wait for text which is still to come
    characters: int = 20_000  # of one request
    body_bytes: int = 1 << 20
    upload_bytes: int = 25 << 20


@dataclass(frozen=True)
class Request:
    """Who asked for what, when."""

    wish: Wish
    client: Client
    protocol: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    came: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(eq=False)
class LiveSession:
    """Something being said to a client."""

    request: Request
    sample_rate_hz: int
    model_rate_hz: int
    queue_wait_s: float
    playback: Playback
    _voicing: Voicing
    _most_characters: int
    characters: int = 0
    first_audio_s: float | None = None  # from the first text
    _first_text: float = 0.0
    _begun: asyncio.Event = field(default_factory=asyncio.Event)
    _said: hashlib._Hash = field(default_factory=hashlib.sha256)

    async def push(self, text: str) -> None:
        """Text to speak next; InputError if it cannot be, or is more than a request may have."""
        if self.characters + len(text) > self._most_characters:
            raise InputError(
                f"a request may have {self._most_characters} characters", hint="send the rest in another request"
            )
        self.note(text)
        self._first_text = self._first_text or time.perf_counter()
        await asyncio.to_thread(self._voicing.push, text)
        self._tell()

    def note(self, text: str) -> None:
        """What is being said, for the audit line; of an answer, its model's own words as they come."""
        self.characters += len(text)
        self._said.update(text.encode("utf-8", "surrogatepass"))

    async def flush(self) -> None:
        """What was pushed is a whole utterance: say it to its end."""
        await asyncio.to_thread(self._voicing.flush)

    async def end(self) -> None:
        """Nothing more will be pushed."""
        self._first_text = self._first_text or time.perf_counter()
        await asyncio.to_thread(self._voicing.end)
        self._tell()

    def cancel(self) -> None:
        """Stop within two frames."""
        self._voicing.cancel()

    @property
    def finish(self) -> str | None:
        """How it ended: end, limit, runaway or cancelled."""
        return self._voicing.finish

    @property
    def text_sha256(self) -> str:
        return self._said.hexdigest()

    def _tell(self) -> None:
        if self._voicing.begun:
            self._begun.set()

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        """Chunks, until all has been said."""
        await self._begun.wait()
        spoken, speed = self._voicing.chunks(), self.request.wish.speed
        if speed != 1:
            spoken = at_speed(spoken, Paced(speed, self.model_rate_hz, self._voicing.leave_unmarked()))
        spoken = at_rate(spoken, self.model_rate_hz, self.sample_rate_hz)
        async with aclosing(spoken) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                if self.first_audio_s is None and len(chunk.waveform):
                    self.first_audio_s = time.perf_counter() - self._first_text
                yield chunk


class Service:
    """One model, many clients. Belongs to one event loop."""

    def __init__(
        self,
        speaker: AnySpeaker,
        name: str,
        voices: VoiceStore,
        limits: Limits | None = None,
        audit: Audit | None = None,
        transcriber: Transcriber | None = None,
    ) -> None:
        self.speaker, self.name, self.voices, self.transcriber = speaker, name, voices, transcriber
        self.limits, self.audit = limits or Limits(), audit or Audit.off()
        self.metrics = Metrics()
        self.admission = Admission(self.limits.slots, self.limits.queue, self.limits.patience_s, self.metrics.refused)
        self.metrics.watch(self.admission)
        self.sample_rate_hz = SAMPLE_RATE_HZ

    @asynccontextmanager
    async def session(
        self,
        wish: Wish,
        client: Client,
        protocol: str,
        told: Callable[[int], None] | None = None,
        start: Callable[[Playback], Voicing] | None = None,
    ) -> AsyncIterator[LiveSession]:
        """Something to be said, from the moment there is a slot until the block ends, which cancels what is unsaid.

        `told` hears of the place in the queue. `start` begins something other than text in the voice wished for, such
        as an answer. Raises before the block: NotFoundError for the voice, RefusedError if
        there is no slot in time, VoiceError and InputError as the speaker does, and as `require_tempo`.
        """
        request, live, outcome = Request(wish, client, protocol), None, "cancelled"
        try:
            require_tempo(wish.speed)
            if start is None:
                voice = await asyncio.to_thread(self.files, wish, client)
                start = partial(begin, self.speaker, wish, voice)
            async with self.admission.slot(client, told) as ticket:
                self.metrics.queue_wait.observe(ticket.waited_s)
                rate_hz = self.speaker.sample_rate_hz
                playback = Playback(round(rate_hz * wish.speed), self.limits.buffer_frames)  # heard so fast
                voicing = await asyncio.to_thread(start, playback)
                live = LiveSession(
                    request, self.sample_rate_hz, rate_hz, ticket.waited_s, playback, voicing, self.limits.characters
                )
                try:
                    yield live
                    outcome = live.finish or "cancelled"
                finally:
                    live.cancel()
        except Exception as error:
            outcome = type(error).__name__
            raise
        finally:
            self._account(request, live, outcome)

    async def speak(self, text: str, wish: Wish, client: Client, protocol: str) -> AsyncIterator[Chunk]:
        """A whole text as chunks; raises like `session`. Closing it frees the slot."""
        require_text(text)
        async with self.session(wish, client, protocol) as live:
            await live.push(text)
            await live.end()
            async for chunk in live:
                yield chunk

    def files(self, wish: Wish, client: Client) -> Files:
        """The file of the voice wished for, or those of a cast; NotFoundError if there is none such, InputError for a
        cast with a speaker who has none."""
        if not wish.cast:
            return self.voices.find(wish.voice, client)
        found = {speaker: self.voices.find(voice, client) for speaker, voice in wish.cast}
        files = {speaker: file for speaker, file in found.items() if file}
        if files and len(files) < len(found):
            raise InputError("in a cast every speaker has a voice, or none has", hint="name one for each of them")
        return files or None

    def _account(self, request: Request, live: LiveSession | None, outcome: str) -> None:
        """Metrics and the audit line."""
        self.metrics.requests.labels(request.protocol, outcome).inc()
        heard = live.playback if live else Playback(self.sample_rate_hz, 0)
        seconds, first_s = heard.given_s, live.first_audio_s if live else None
        rtf = heard.compute_s / seconds if seconds else None
        self.metrics.audio.inc(seconds)
        self.metrics.gaps.inc(heard.gaps)
        if rtf is not None:
            self.metrics.rtf.observe(rtf)
        if first_s is not None:
            self.metrics.first_audio.observe(first_s)
        entry = Entry(
            time=request.came.isoformat(timespec="milliseconds"),
            id=request.id,
            client=request.client.name,
            protocol=request.protocol,
            model=self.name,
            voice=request.wish.voices,
            seed=request.wish.seed,
            characters=live.characters if live else 0,
            text_sha256=live.text_sha256 if live else "",
            outcome=outcome,
            seconds=round(seconds, 3),
            queue_wait_s=round(live.queue_wait_s, 3) if live else 0.0,
            first_audio_ms=None if first_s is None else round(1000 * first_s, 1),
            rtf=None if rtf is None else round(rtf, 3),
            gaps=heard.gaps,
        )
        self.audit.note(entry)
