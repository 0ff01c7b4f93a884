"""A response of the Realtime API that is stopped tells so, whenever that happens."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from loquor.engine.speaker import Speaker
from loquor.errors import InputError
from loquor.server.keys import ANONYMOUS
from loquor.server.realtime.items import Dialogue
from loquor.server.realtime.response import CLIENT_CANCELLED, Response, Setting
from loquor.server.realtime.saying import usage
from loquor.server.realtime.settings import Plan, ResponseFields, Settings
from loquor.server.service import LiveSession, Service
from loquor.server.synthesis import Wish
from loquor.server.voice_store import VoiceStore


class Late:
    """Says a text that is on its way, or breaks."""

    start: None = None
    text = "Hello."

    def __init__(self, breaks: bool = False) -> None:
        self._breaks, self.has_begun, self.is_stopped = breaks, asyncio.Event(), asyncio.Event()

    async def ready(self) -> None:
        pass

    async def begin(self, live: LiveSession) -> None:
        self.has_begun.set()
        if self._breaks:
            await self.is_stopped.wait()
            raise InputError("text was pushed after the session's end")
        await live.push(self.text)
        await live.end()

    def turn(self) -> None:
        return None

    def usage(self, chunks: int) -> dict[str, Any]:
        return usage((0, 0), (0, chunks))


@pytest.mark.parametrize("is_underway", [False, True], ids=["before its first step", "while text is on its way"])
def test_a_response_that_is_cancelled_is_done_and_did_not_fail(
    speaker: Speaker, tmp_path: Path, is_underway: bool
) -> None:
    events = list[tuple[str, dict[str, Any]]]()

    async def emit(kind: str, /, **fields: Any) -> None:
        events.append((kind, fields))

    async def scene() -> None:
        service = Service(speaker, "toy", VoiceStore(speaker, tmp_path))
        saying = Late(breaks=is_underway)
        plan = Plan.of(Settings(type="realtime"), ResponseFields())
        response = Response(Setting(service, ANONYMOUS, Dialogue(), emit, Wish("Toy")), saying, plan)
        await response.created()
        if is_underway:
            await saying.has_begun.wait()
            asyncio.get_running_loop().call_soon(saying.is_stopped.set)
        await response.stop(CLIENT_CANCELLED)

    asyncio.run(scene())
    kind, fields = events[-1]
    assert kind == "response.done" and fields["response"]["status"] == "cancelled"
    assert fields["response"]["status_details"] == {"type": "cancelled", "reason": CLIENT_CANCELLED}
