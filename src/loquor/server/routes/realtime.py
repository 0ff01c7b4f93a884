"""OpenAI's Realtime API (`/v1/realtime`): the WebSocket; what is said on it is the business of `server.realtime`."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, WebSocket
from starlette.responses import JSONResponse

from loquor.errors import LoquorError
from loquor.server.failures import problem
from loquor.server.keys import Client
from loquor.server.realtime.session import RealtimeSession
from loquor.server.refusals import NotFoundError
from loquor.server.sockets import JsonSocket
from loquor.server.wiring import Server

MODELS = ("gpt-realtime", "gpt-4o-realtime", "gpt-4o-mini-realtime")  # names, or beginnings, that mean ours as well
SUBPROTOCOL, KEY_PREFIX = "realtime", "openai-insecure-api-key."  # how pages send a key: they set no headers


def router(server: Server) -> APIRouter:
    routes = APIRouter()

    @routes.websocket("/v1/realtime")
    async def converse(socket: WebSocket, model: str = "") -> None:
        """A Realtime session, until its client hangs up. An idle one holds no slot: each response takes its own."""
        offered = [name.strip() for name in socket.headers.get("sec-websocket-protocol", "").split(",")]
        key = next((name.removeprefix(KEY_PREFIX) for name in offered if name.startswith(KEY_PREFIX)), None)

        def who() -> Client:
            return server.client(socket, key)

        try:
            client = who()
            if model and not (server.knows_model(model) or model.startswith(MODELS)):
                raise NotFoundError(f"there is no model {model!r}", "GET /v1/models lists them", "model_not_found")
        except LoquorError as error:
            told = problem(error)
            await socket.send_denial_response(JSONResponse(told.body, told.status, told.headers))
            return
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        limits = server.service.limits
        messages = JsonSocket(socket, replace(limits, body_bytes=limits.upload_bytes))  # they hold sound
        await RealtimeSession(server.service, client, who, messages).run()

    return routes
