"""WebSockets whose text frames are JSON objects: read with a limit, written with patience, left at any moment."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from fastapi import WebSocket
from pydantic import BaseModel, ValidationError
from starlette.websockets import WebSocketDisconnect

from loquor.errors import InputError
from loquor.server.refusals import TooLargeError
from loquor.server.service import Limits

NORMAL, POLICY, TOO_BIG, INTERNAL, AGAIN_LATER = 1000, 1008, 1009, 1011, 1013  # RFC 6455, 7.4.1, and IANA's list
REASON_BYTES = 123  # RFC 6455, 5.5

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class GoneError(Exception):
    """Whoever was at the other end has left, or takes nothing any more."""


class JsonSocket:
    """One accepted WebSocket. All methods but `receive` may be used by several tasks."""

    def __init__(self, socket: WebSocket, limits: Limits) -> None:
        self._socket, self._most_bytes, self._stall_s = socket, limits.body_bytes, limits.stall_s

    async def receive(self) -> dict[str, Any]:
        """The next message. InputError if it is no JSON object, TooLargeError if it is too large, GoneError when there
        will be none."""
        event = await self._socket.receive()
        if event["type"] == "websocket.disconnect":
            raise GoneError
        text = event.get("text")
        if text is None:
            raise InputError("a message is a text frame of JSON, not a binary one")
        if len(text) > self._most_bytes or len(text.encode("utf-8", "surrogatepass")) > self._most_bytes:
            raise TooLargeError(f"a message may have {self._most_bytes} bytes", hint="send text in several")
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            raise InputError("a message is one JSON object; this is no JSON") from None
        if not isinstance(message, dict):
            raise InputError(f"a message is one JSON object, not {type(message).__name__}")
        return message

    async def send(self, message: Mapping[str, Any] | bytes) -> None:
        """Send JSON, or bytes as they are; GoneError if nobody takes them."""
        try:
            async with asyncio.timeout(self._stall_s):
                if isinstance(message, bytes):
                    await self._socket.send_bytes(message)
                else:
                    text = json.dumps(message, ensure_ascii=False)
                    await self._socket.send_text(text.encode(errors="replace").decode())  # halves of surrogate pairs
        except (TimeoutError, WebSocketDisconnect, RuntimeError) as error:  # the last: it is closed already
            raise GoneError from error

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Say goodbye, if anybody still listens."""
        short = reason.encode()[:REASON_BYTES].decode(errors="ignore")
        try:
            async with asyncio.timeout(self._stall_s):
                await self._socket.close(code, short)
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            pass


def parsed(kind: type[M], message: Mapping[str, Any]) -> M:
    """A message as what it should be; InputError names the field that is wrong."""
    try:
        return kind.model_validate(message)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{where or 'message'}: {first['msg']}") from None


async def beside(work: Awaitable[T], *helpers: Awaitable[object]) -> T:
    """What `work` gives, while `helpers` run beside it and no longer; what breaks one of them breaks it."""
    main = asyncio.ensure_future(work)
    tasks: list[asyncio.Future[Any]] = [main, *map(asyncio.ensure_future, helpers)]
    running = set(tasks)
    try:
        while not main.done():
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        return main.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
