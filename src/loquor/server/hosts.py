"""A server that only this machine should reach answers only to names of this machine (ASGI middleware).

A page may let its own site's name mean 127.0.0.1 once it is loaded (DNS rebinding): for its browser this server is then
part of that site, and neither CORS nor `Origin` keeps the two apart. What stays is the name that the browser asks for.
Starlette's TrustedHostMiddleware compares names too, but answers in plain text, and not as our protocols tell errors.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from loquor.server.failures import INVALID, Problem

THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


class HostCheck:
    """Lets in who asks for one of the `allowed` hosts, at any port."""

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self._app, self._allowed = app, {_plain(host) for host in allowed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = Headers(scope=scope).get("host", "") if scope["type"] in {"http", "websocket"} else None
        if host is not None and _name(host) not in self._allowed:
            message = f"this server does not answer to the name {host!r} (its operator allows one: --allow-host NAME)"
            told = Problem(403, message, INVALID, "wrong_host")
            await JSONResponse(told.body, told.status)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def names_for(address: str, host: str, allowed: Collection[str], has_keys: bool) -> tuple[str, ...]:
    """The hosts that a server at an address, which its operator calls `host`, answers to; none: to any.

    Any name does where others may come in, or must bring a key, unless the operator allows some only.
    """
    is_private = not has_keys and ipaddress.ip_address(address.partition("%")[0]).is_loopback
    return (*THIS_MACHINE, address, host, *allowed) if is_private or allowed else ()


def _name(host: str) -> str:
    """Of what stands in the header, without its port."""
    try:
        return _plain(urlsplit(f"//{host}").hostname or "")
    except ValueError:  # brackets that do not match
        return ""


def _plain(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()
