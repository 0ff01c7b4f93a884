"""Our own WebSocket (`/v1/audio/speech/stream`)."""

from __future__ import annotations

from fastapi import APIRouter, WebSocket

from loquor.server.speech_stream.conversation import Conversation
from loquor.server.wiring import Server


def router(server: Server) -> APIRouter:
    routes = APIRouter()

    @routes.websocket("/v1/audio/speech/stream")
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        await Conversation(server, socket).run()

    return routes
