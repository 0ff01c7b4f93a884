"""The port that Wyoming's clients come to, beside that of HTTP, in the same event loop and on the same model."""

from __future__ import annotations

import asyncio
import socket

from loquor.server.wiring import Server
from loquor.server.wyoming.connection import Connection

CLOSING_S = 1.0  # for connections that were let go


class Listener:
    """Opened and closed with the server."""

    def __init__(self, server: Server, bound: socket.socket) -> None:
        self._server, self._bound = server, bound
        self._listening: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], Connection] = {}

    async def open(self) -> None:
        self._listening = await asyncio.start_server(self._meet, sock=self._bound)

    async def close(self, patience_s: float) -> None:
        """Take no more clients, and let go of those there are once the last of what they asked for is sent."""
        if self._listening:
            self._listening.close()
        sending = [asyncio.ensure_future(client.quiet()) for client in self._clients.values()]
        if sending:
            await asyncio.wait(sending, timeout=patience_s)
        clients = list(self._clients)
        for task in (*sending, *clients):
            task.cancel()
        if clients:
            await asyncio.wait(clients, timeout=CLOSING_S)

    def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Connection(self._server.service, self._server.facts.get("version", ""), reader, writer)
        task = asyncio.create_task(client.run(), name="wyoming client")
        self._clients[task] = client
        task.add_done_callback(self._clients.pop)
