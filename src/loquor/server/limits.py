"""Requests that are too large are turned away before they are in memory (ASGI middleware)."""

from __future__ import annotations

from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loquor.server.failures import INVALID, Problem


class BodyLimit:
    """Lets bodies of so many bytes through; `allowed` says how many, for a path."""

    def __init__(self, app: ASGIApp, allowed: Callable[[str], int]) -> None:
        self._app, self._allowed = app, allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most, got = self._allowed(scope["path"]), 0
        told = Problem(413, f"a request here may have {most} bytes", INVALID, "too_large")

        async def counted() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > most:
                raise HTTPException(413, told.message)
            return message

        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > most:
            # the rest is not read: the connection cannot be used again
            response = JSONResponse(told.body, told.status, {**told.headers, "Connection": "close"})
            await response(scope, receive, send)
            return
        await self._app(scope, counted, send)
