"""What a client is told when the replica that spoke to it is lost: Ray's own proxies would say nothing.

Before the first sound that is a 503 that says when to ask again. Later, events end with an error event, a WebSocket
with code 1012, and a body breaks off, which its client sees, as it has no end.
"""

from __future__ import annotations

import json
import logging

from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loquor.server.failures import problem
from loquor.server.refusals import RefusedError

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 1.0  # other replicas are there already
RESTARTS = 1012  # of a WebSocket: the service restarts
ENDS = ("websocket.close", "websocket.disconnect", "websocket.http.response.start", "http.disconnect")
LOST = problem(RefusedError("the replica that was to say this was lost", RETRY_AFTER_S, "ask again"))


def middlewares() -> list[Middleware]:
    """For RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH."""
    return [Middleware(ToldOfLoss)]


class ToldOfLoss:
    """Ends what the application left without an end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = Sent()

        async def noted(message: Message) -> None:
            sent.note(message)
            await send(message)

        async def received() -> Message:
            message = await receive()
            sent.note(message)
            return message

        await self._app(scope, received, noted)
        if sent.is_over:
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": RESTARTS, "reason": LOST.message})
        elif scope["type"] == "http":
            logger.warning("%s was lost with its replica", scope["path"])
            if not sent.has_begun:
                await JSONResponse(LOST.body, LOST.status, LOST.headers)(scope, receive, send)
            elif sent.is_events:
                event = json.dumps({"type": "speech.audio.error", **LOST.body}).encode()
                await send({"type": "http.response.body", "body": b"data: " + event + b"\n\n", "more_body": False})


class Sent:
    """What a client has of a response; it is over too when the client has gone."""

    has_begun = is_over = is_events = False

    def note(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            self.is_events = dict(message["headers"]).get(b"content-type", b"").startswith(b"text/event-stream")
        elif message["type"] == "http.response.body":
            self.is_over = not message.get("more_body", False)
        elif message["type"] in ENDS:
            self.is_over = True
