"""Speech as an HTTP response: sent as it is made, stopped when its client hangs up or takes nothing.

Headers are sent with the first sound, so whatever is wrong before has a status of its own. What breaks later breaks the
connection: a body that ended in order would pass for a whole one.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from loquor.audio.streaming import StreamEncoder
from loquor.engine.speaker import require_text
from loquor.errors import InputError, LoquorError
from loquor.server.failures import problem
from loquor.server.keys import Client
from loquor.server.service import LiveSession, Service
from loquor.server.synthesis import Wish

logger = logging.getLogger(__name__)


class Body(ABC):
    """How chunks of speech become the parts of a body."""

    media_type: str

    @abstractmethod
    async def parts(self, live: LiveSession) -> AsyncIterator[bytes]:
        """What is sent of it, part by part, the first with the first sound."""
        yield b""

    def after_failure(self, error: Exception) -> bytes | None:
        """The last part if speech breaks on the way; None breaks the connection."""
        return None


class Sound(Body):
    """The bytes of an audio file, as they come or all at once."""

    def __init__(self, media_type: str, encoder: StreamEncoder, is_whole: bool) -> None:
        self.media_type, self._encoder, self._is_whole = media_type, encoder, is_whole

    async def parts(self, live: LiveSession) -> AsyncIterator[bytes]:
        waiting = b""
        async for chunk in live:
            waiting += await asyncio.to_thread(self._encoder.push, chunk.waveform.numpy())
            if waiting and not self._is_whole:
                yield waiting
                waiting = b""
        yield waiting + self._encoder.finish()


class Events(Body):
    """Server-sent events, with the same bytes in base64."""

    media_type = "text/event-stream"

    def __init__(self, encoder: StreamEncoder) -> None:
        self._encoder = encoder

    async def parts(self, live: LiveSession) -> AsyncIterator[bytes]:
        frames = 0
        async for chunk in live:
            frames += 1
            if data := await asyncio.to_thread(self._encoder.push, chunk.waveform.numpy()):
                yield _delta(data)
        usage = {"input_tokens": live.characters, "output_tokens": frames}
        usage["total_tokens"] = sum(usage.values())
        last = self._encoder.finish()
        yield (_delta(last) if last else b"") + _event({"type": "speech.audio.done", "usage": usage})

    def after_failure(self, error: Exception) -> bytes:
        told = problem(error if isinstance(error, LoquorError) else LoquorError("speech broke off"))
        return _event({"type": "speech.audio.error", **told.body})


def _delta(data: bytes) -> bytes:
    return _event({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode("ascii")})


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


class SpeechResponse(Response):
    """A text being said to a client."""

    def __init__(  # noqa: PLR0913, PLR0917 - a request has that many parts
        self,
        service: Service,
        client: Client,
        text: str,
        wish: Wish,
        body: Body,
        protocol: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        require_text(text)
        self._service, self._client, self._text, self._wish = service, client, text, wish
        self._body, self._protocol = body, protocol
        self.background = None
        self.status_code, self.media_type = 200, body.media_type
        self.init_headers({**(headers or {}), "Cache-Control": "no-store"})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        talking, leaving = asyncio.ensure_future(self._talk(send)), asyncio.ensure_future(_hung_up(receive))
        try:
            await asyncio.wait({talking, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if talking.done():
                talking.result()
        finally:
            for task in (talking, leaving):
                task.cancel()
            await asyncio.gather(talking, leaving, return_exceptions=True)

    async def _talk(self, send: Send) -> None:
        """Raises what is wrong before the first sound; returns without an end of the body if it breaks later."""
        has_begun = False
        async with self._service.session(self._wish, self._client, self._protocol) as live:
            await live.push(self._text)
            await live.end()
            try:
                async with aclosing(self._body.parts(live)) as parts:  # type: ignore[type-var]
                    async for part in parts:
                        if not has_begun:
                            if live.first_audio_s is None:
                                raise InputError("the text holds nothing that can be spoken")
                            await self._start(send, live)
                            has_begun = True
                        await self._send(send, part)
            except Exception as error:
                if not has_begun:
                    raise
                last = self._body.after_failure(error)
                logger.error("request %s broke off: %s", live.request.id, error, exc_info=not _is_ours(error))
                if last is None or isinstance(error, TimeoutError):
                    return
                await self._send(send, last)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _start(self, send: Send, live: LiveSession) -> None:
        self.headers["x-request-id"] = live.request.id
        self.headers["x-queue-wait-ms"] = str(round(1000 * live.queue_wait_s))
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

    async def _send(self, send: Send, part: bytes) -> None:
        """TimeoutError if the client takes nothing for too long."""
        async with asyncio.timeout(self._service.limits.stall_s):
            await send({"type": "http.response.body", "body": part, "more_body": True})


def _is_ours(error: Exception) -> bool:
    return isinstance(error, LoquorError | TimeoutError)


async def _hung_up(receive: Receive) -> None:
    """Returns when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
