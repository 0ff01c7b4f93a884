"""Pages of other sites may not open our WebSockets (ASGI middleware).

Browsers keep pages from reading other sites' replies, unless those allow it (CORS), but not from opening WebSockets
to them: without this check any page could speak through a server on its reader's own machine (RFC 6455, 10.2).
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from loquor.server.failures import INVALID, Problem


class OriginCheck:
    """Lets programs in, which send no origin, our own pages, and those of the `allowed` origins."""

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self._app, self._allowed = app, allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and not self._is_welcome(Headers(scope=scope)):
            told = Problem(403, "pages of other sites may not open this WebSocket", INVALID, "wrong_origin")
            await JSONResponse(told.body, told.status)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_welcome(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is None or origin in self._allowed or "*" in self._allowed:
            return True
        return urlsplit(origin).netloc == headers.get("host")
