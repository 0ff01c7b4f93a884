"""The protocol of the demo of Microsoft's VibeVoice-Realtime (`/stream`, `/config`), which other programs speak too.

Everything stands in the address: `ws /stream?text=...&voice=...&cfg=...&steps=...`. Sound comes as 16-bit samples in
binary frames, and between them what goes on, as a log. Unlike the demo, which lets one client in and falls back to
some voice, many speak at once, and an unknown voice is an error.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from fastapi import APIRouter, Request, WebSocket
from pydantic import BaseModel, ConfigDict

from loquor.audio.sink import pcm16
from loquor.engine.speaker import require_text
from loquor.errors import InputError
from loquor.server.documentation import ASKING, told
from loquor.server.failures import known, problem
from loquor.server.refusals import RefusedError
from loquor.server.service import LiveSession
from loquor.server.sockets import AGAIN_LATER, NORMAL, GoneError, JsonSocket, beside, parsed
from loquor.server.synthesis import Wish
from loquor.server.voice_store import DEFAULT
from loquor.server.wiring import Server

PROTOCOL = "microsoft"
THEIR_TIME = timezone(timedelta(hours=8))


class Asked(BaseModel):
    """What stands in the address; a number that is not positive means the model's own, as with them."""

    model_config = ConfigDict(extra="ignore")

    text: str = ""
    voice: str = ""
    cfg: float | None = None
    steps: int | None = None

    @property
    def wish(self) -> Wish:
        guidance = self.cfg if self.cfg is not None and not self.cfg <= 0 else None
        return Wish(self.voice or DEFAULT, guidance, self.steps if self.steps and self.steps > 0 else None)


def router(server: Server) -> APIRouter:
    routes = APIRouter(tags=["microsoft"])

    @routes.websocket("/stream")
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        await Telling(server, socket).run()

    @routes.get("/config", responses=told(*ASKING))
    async def config(request: Request) -> dict[str, Any]:
        """The voices there are."""
        voices = await asyncio.to_thread(server.service.voices.listed, server.client(request))
        return {"voices": [DEFAULT, *sorted(voice.id for voice in voices)], "default_voice": DEFAULT}

    return routes


class Telling:
    """One text said over one socket."""

    def __init__(self, server: Server, socket: WebSocket) -> None:
        self._server, self._service, self._request = server, server.service, socket
        self._socket = JsonSocket(socket, server.service.limits)

    async def run(self) -> None:
        """Say it, tell what became of it, and close."""
        with contextlib.suppress(GoneError):
            await self._socket.close(await beside(self._say(), self._until_gone()))

    async def _say(self) -> int:
        """The code to close with."""
        try:
            asked = parsed(Asked, self._request.query_params)
            client = self._server.client(self._request)
            given = {"cfg_scale": asked.cfg, "inference_steps": asked.steps, "voice": asked.voice or None}
            await self._log("backend_request_received", text_length=len(asked.text), **given)
            require_text(asked.text)
            async with self._service.session(asked.wish, client, PROTOCOL) as live:
                await live.push(asked.text)
                await live.end()
                await self._send(live)
        except RefusedError as error:
            await self._log("backend_busy", message=problem(error).message)
            return AGAIN_LATER
        except GoneError:
            raise
        except Exception as error:
            await self._log("backend_error", message=problem(known(error)).message)
        await self._log("backend_stream_complete")
        return NORMAL

    async def _send(self, live: LiveSession) -> None:
        is_first = True
        async for chunk in live:
            progress = {"generated_sec": chunk.end_s, "chunk_sec": chunk.end_s - chunk.start_s}
            await self._log("model_progress", **progress)
            await self._socket.send(pcm16(chunk.waveform.numpy()).tobytes())
            if is_first:
                await self._log("backend_first_chunk_sent")
            is_first = False
        if is_first:
            raise InputError("the text holds nothing that can be spoken")

    async def _until_gone(self) -> None:
        """Nothing is expected of the client but that it leaves."""
        while True:
            with contextlib.suppress(InputError):
                await self._socket.receive()

    async def _log(self, event: str, **data: Any) -> None:
        now = datetime.now(UTC).astimezone(THEIR_TIME)
        timestamp = now.isoformat(sep=" ", timespec="milliseconds").removesuffix("+08:00")
        await self._socket.send({"type": "log", "event": event, "data": data, "timestamp": timestamp})
