"""Pages of other sites may neither open our WebSockets nor send us anything (ASGI middleware).

Browsers keep pages from reading other sites' replies, unless those allow it (CORS), but not from opening WebSockets
to them, nor from sending them forms: without this check any page could speak through a server on its reader's own
machine (RFC 6455, 10.2), or make voices on it.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from loquor.server.failures import INVALID, Problem

HARMLESS = ("GET", "HEAD", "OPTIONS", None)  # methods that change nothing; None: no request of HTTP


class OriginCheck:
    """Lets programs in, which send no origin, our own pages, and those of the `allowed` origins."""

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self._app, self._allowed = app, allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        acts = scope["type"] == "websocket" or scope.get("method") not in HARMLESS
        if acts and not self._is_welcome(Headers(scope=scope)):
            told = Problem(403, "pages of other sites may not ask this server for anything", INVALID, "wrong_origin")
            await JSONResponse(told.body, told.status)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_welcome(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is None or origin in self._allowed or "*" in self._allowed:
            return True
        return urlsplit(origin).netloc == headers.get("host")
