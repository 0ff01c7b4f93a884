"""The server process: listens, says where, and when told to stop lets those who speak come to their end."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Protocol

import uvicorn
from starlette.types import ASGIApp

from loquor.errors import ConfigError
from loquor.server.admission import Admission

logger = logging.getLogger(__name__)

SEND_BUFFER_BYTES = 1 << 18  # of the kernel's, per connection: 2 to 5 s of PCM, then a slow reader is noticed
LAST_BYTES_S = 5  # for what is still on its way after all has been said


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one. ConfigError if it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            bound.bind(address)
        except BaseException:
            bound.close()
            raise
    except OSError as error:
        hint = "choose another port" if port else "choose another --host"
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}", hint=hint) from error
    return bound


class Beside(Protocol):
    """Another port of the same server."""

    async def open(self) -> None: ...

    async def close(self, patience_s: float) -> None:
        """Let what is on its way arrive, for so long."""


class Draining(uvicorn.Server):
    """Told to stop, it takes no more requests, answers /ready with 503, and goes when all has been said; told again,
    or after `drain_s`, at once. `beside` opens and closes with it."""

    def __init__(
        self,
        app: ASGIApp,
        admission: Admission,
        drain_s: float,
        on_ready: Callable[[], None],
        beside: Sequence[Beside] = (),
        message_bytes: int = 1 << 24,
    ) -> None:
        """`message_bytes` is the most that a message of a WebSocket may have; the routes allow less, and say so."""
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=LAST_BYTES_S,
                ws_max_size=message_bytes,
            )
        )
        self._admission, self._drain_s, self._on_ready, self._beside = admission, drain_s, on_ready, beside
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        for port in self._beside:
            await port.open()
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for port in self._beside:
            await port.close(0 if self.force_exit else LAST_BYTES_S)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by a signal, wherever the program just is."""
        if self._loop:
            self._loop.call_soon_threadsafe(self.stop)

    def stop(self) -> None:
        """Drain; called again, stop at once."""
        if self._draining is None:
            self._draining = asyncio.ensure_future(self._drain())
        else:
            self.should_exit = self.force_exit = True

    async def _drain(self) -> None:
        self._admission.close()
        speaking = len(self._admission.running) + len(self._admission.waiting)
        if speaking:
            logger.warning("stopping: %d requests come to their end first, for at most %g s", speaking, self._drain_s)
        try:
            async with asyncio.timeout(self._drain_s):
                await self._admission.empty()
        except TimeoutError:
            logger.warning("%d requests were cut off", len(self._admission.running) + len(self._admission.waiting))
        self.should_exit = True
