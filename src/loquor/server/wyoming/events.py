"""Events as bytes, each a line of JSON with the lengths of what follows it (Wyoming, version 1).

The `wyoming` package reads them too, but trusts the lengths it is told; whoever can reach the port could fill our
memory. So they are read here, with limits, and written by the package.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from wyoming.event import Event

from loquor.errors import InputError

MOST_HEADER_BYTES = 1 << 16
MOST_DATA_BYTES = 1 << 20
MOST_PAYLOAD_BYTES = 1 << 20


async def read_event(reader: asyncio.StreamReader) -> Event | None:
    """The next event; None if the client has gone. InputError for what is none, or too large."""
    try:
        line = await reader.readline()
        if not line:
            return None
        header = _object(line)
        data = _part(header, "data")
        if length := _length(header, "data_length", MOST_DATA_BYTES):
            data = data | _object(await reader.readexactly(length))
        payload = await reader.readexactly(_length(header, "payload_length", MOST_PAYLOAD_BYTES))
    except asyncio.IncompleteReadError:
        return None
    except ValueError as error:  # no JSON, or a line without an end
        raise _no_event(str(error)) from None
    kind = header.get("type")
    if not isinstance(kind, str):
        raise _no_event("it has no type")
    return Event(kind, data, payload or None)


def text_of(event: Event) -> str:
    """What an event asks to be said; InputError if it has no text."""
    text = event.data.get("text")
    if not isinstance(text, str):
        raise InputError(f"{event.type} needs a text, got {text!r}")
    return text


def _object(data: bytes) -> dict[str, Any]:
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    return value


def _part(header: dict[str, Any], name: str) -> dict[str, Any]:
    value = header.get(name) or {}
    if not isinstance(value, dict):
        raise ValueError(f"its {name} is no JSON object")
    return value


def _length(header: dict[str, Any], name: str, most: int) -> int:
    value = header.get(name) or 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"its {name} must be 0 to {most}, got {value!r}")
    return value


def _no_event(why: str) -> InputError:
    return InputError(f"this is no Wyoming event: {why}", hint="another protocol may be meant for another port")
