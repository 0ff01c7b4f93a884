"""One client over Wyoming: text in, whole (`synthesize`) or as it comes (`synthesize-start`, `-chunk`, `-stop`), speech
out as it is made.

It listens while it speaks, so that a client that goes is noticed at once. Whatever is wrong is told in an `error` event
and ends the connection: the clients there are wait for sound, and would wait for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from wyoming.asr import Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, Eventable, async_write_event
from wyoming.tts import SynthesizeStopped

from loquor.audio.sink import pcm16
from loquor.engine.speaker import require_text
from loquor.errors import InputError, LoquorError
from loquor.server.failures import problem
from loquor.server.keys import anonymous
from loquor.server.service import LiveSession, Service
from loquor.server.synthesis import Wish
from loquor.server.turns import Patience
from loquor.server.wyoming.events import read_event, text_of
from loquor.server.wyoming.hearing import Recording, transcript
from loquor.server.wyoming.offer import info, wanted_voice

logger = logging.getLogger(__name__)

PROTOCOL = "wyoming"
PIECES_WAITING = 1024  # of text, for a slot or a model that is slower; then we read no more
LINGER_S = 2.0  # for a client to read the last event: closed with something unread, a connection is reset
Pieces = asyncio.Queue[str | None]  # of text; None is its end


class Connection:
    """Serves one client until it goes, or something is wrong."""

    def __init__(
        self, service: Service, version: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._service, self._version = service, version
        self._reader, self._writer = reader, writer
        self._client = anonymous((writer.get_extra_info("peername") or ("",))[0])
        self._speaking: asyncio.Task[None] | None = None
        self._pieces: Pieces | None = None  # of a text that is still coming
        self._recording: Recording | None = None

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen(tasks))
        except* (OSError, TimeoutError, EOFError):
            pass  # gone, or takes nothing
        except* LoquorError as errors:
            await self._refuse(_first(errors, LoquorError))
        except* Exception as errors:
            logger.error("a Wyoming request broke off", exc_info=errors)
            await self._refuse(LoquorError("speech broke off"))
        finally:
            self._writer.close()

    async def quiet(self) -> None:
        """Wait until what is being said has been sent."""
        if self._speaking:
            await asyncio.wait([self._speaking])

    async def _listen(self, tasks: asyncio.TaskGroup) -> None:
        """Raises EOFError when the client has gone, so that what it asked for ends too."""
        while (event := await read_event(self._reader)) is not None:
            await self._handle(event, tasks)
        raise EOFError

    async def _handle(self, event: Event, tasks: asyncio.TaskGroup) -> None:
        match event.type:
            case "describe":
                await self._write(await asyncio.to_thread(info, self._service, self._version))
            case "ping":
                await self._write(Event("pong", event.data))
            case "synthesize" if self._pieces is None:  # else the same text once more, for servers that do not stream
                await self._begin(event, tasks, is_streamed=False)
                await self._say(text_of(event), None)
            case "synthesize-start":
                await self._begin(event, tasks, is_streamed=True)
            case "synthesize-chunk":
                await self._say(text_of(event))
            case "synthesize-stop":
                await self._say(None)
            case "audio-start":
                self._recording = Recording(event, self._service.limits.upload_bytes)
            case "audio-chunk" if self._recording:
                self._recording.add(event)
            case "audio-stop" if self._recording:
                recording, self._recording = self._recording, None
                await self._write(Transcript(await transcript(self._service, recording, self._client)))

    async def _begin(self, event: Event, tasks: asyncio.TaskGroup, is_streamed: bool) -> None:
        """Speak what `_say` is given from now on, after what is being spoken. Raises for a voice there is not."""
        if self._pieces is not None:
            raise InputError(f"{event.type} came before synthesize-stop", hint="end one text before the next")
        if event.data.get("text_format") not in (None, "text"):
            raise InputError(f"{event.data['text_format']!r} is not read here", hint="send plain text")
        voice = await asyncio.to_thread(wanted_voice, self._service, event.data.get("voice"))
        await self.quiet()
        self._pieces = Pieces(PIECES_WAITING)
        self._speaking = tasks.create_task(self._speak(Wish(voice), self._pieces, is_streamed))

    async def _say(self, *pieces: str | None) -> None:
        if self._pieces is None:
            raise InputError("text came before synthesize-start")
        for piece in pieces:
            await self._pieces.put(piece)
        if pieces[-1] is None:
            self._pieces = None

    async def _speak(self, wish: Wish, pieces: Pieces, is_streamed: bool) -> None:
        """A text, from its first word to its last sample; nobody holds a slot before there is a word."""
        text, piece = "", await pieces.get()
        while piece is not None and not (text := text + piece).strip():
            piece = await pieces.get()
        require_text(text)
        async with self._service.session(wish, self._client, PROTOCOL) as live:
            end_s = await self._converse(live, text, pieces)
        await self._write(AudioStop(timestamp=round(1000 * end_s)))
        if is_streamed:
            await self._write(SynthesizeStopped())

    async def _converse(self, live: LiveSession, text: str, pieces: Pieces) -> float:
        """Text in while speech goes out; seconds of it."""
        pushing = asyncio.ensure_future(self._push(live, text, pieces))
        talking = asyncio.ensure_future(self._talk(live))
        try:
            await asyncio.wait([pushing, talking], return_when=asyncio.FIRST_EXCEPTION)
            if pushing.done():
                pushing.result()
            return talking.result()
        finally:
            for task in (pushing, talking):
                task.cancel()
            await asyncio.gather(pushing, talking, return_exceptions=True)

    async def _push(self, live: LiveSession, text: str, pieces: Pieces) -> None:
        """InputError if the next piece of a text lets its slot wait for too long."""
        piece: str | None = text
        patience = Patience(live, self._service.limits.stall_s)
        while piece is not None:
            await live.push(piece)
            try:
                piece = await patience.wait(pieces.get)
            except TimeoutError:
                raise InputError(f"no text came for {self._service.limits.stall_s:g} s") from None
        await live.end()

    async def _talk(self, live: LiveSession) -> float:
        form = {"rate": live.sample_rate_hz, "width": 2, "channels": 1}
        end_s: float | None = None
        async for chunk in live:
            if end_s is None:
                await self._write(AudioStart(**form, timestamp=0))
            end_s = chunk.end_s
            audio = pcm16(chunk.waveform.numpy()).tobytes()
            await self._write(AudioChunk(**form, audio=audio, timestamp=round(1000 * chunk.start_s)))
        if end_s is None:
            raise InputError("the text holds nothing that can be spoken")
        return end_s

    async def _write(self, event: Event | Eventable) -> None:
        """TimeoutError if the client takes nothing for too long."""
        async with asyncio.timeout(self._service.limits.stall_s):
            await async_write_event(event if isinstance(event, Event) else event.event(), self._writer)

    async def _refuse(self, error: LoquorError) -> None:
        """The last event."""
        told = problem(error)
        with suppress(OSError, TimeoutError):
            await self._write(Error(text=told.message, code=told.code or told.kind))
            self._writer.write_eof()
            async with asyncio.timeout(LINGER_S):
                while await self._reader.read(1 << 16):
                    pass


def _first(errors: BaseExceptionGroup[LoquorError], kind: type[LoquorError]) -> LoquorError:
    """The first error in a group, however deep it lies."""
    found: Sequence[BaseException] = [errors]
    while isinstance(found[0], BaseExceptionGroup):
        found = found[0].exceptions
    assert isinstance(found[0], kind)
    return found[0]
