"""One response, from its creation to `response.done`, as the events that tell of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Protocol

from loquor.engine.playback import Playback
from loquor.engine.request import Chunk
from loquor.errors import LoquorError
from loquor.server.keys import Client
from loquor.server.realtime.events import details, new_id
from loquor.server.realtime.formats import Encoder
from loquor.server.realtime.items import Aloud, Content, Dialogue, Item
from loquor.server.realtime.saying import Saying
from loquor.server.realtime.settings import Plan
from loquor.server.service import LiveSession, Service
from loquor.server.sockets import GoneError
from loquor.server.synthesis import Wish

logger = logging.getLogger(__name__)

PROTOCOL = "openai-realtime"
FINISHES = {"end": "completed", "limit": "incomplete", "runaway": "incomplete"}
TURN_DETECTED, CLIENT_CANCELLED = "turn_detected", "client_cancelled"
REASONS = {"incomplete": "max_output_tokens", "cancelled": CLIENT_CANCELLED}


class Emit(Protocol):
    """Sends an event; GoneError if nobody takes it."""

    def __call__(self, kind: str, /, **fields: Any) -> Awaitable[None]: ...


@dataclass(frozen=True)
class Setting:
    """Where a response is given."""

    service: Service
    client: Client
    dialogue: Dialogue
    emit: Emit
    wish: Wish


class Response:
    """Made, then `created` and `run` once; `stop` may come at any time."""

    def __init__(self, setting: Setting, saying: Saying, plan: Plan) -> None:
        self.id, self.plan = new_id("resp"), plan
        kind = "output_audio" if plan.is_spoken else "output_text"
        self.item = Item("assistant", [Content(kind, "")], status="in_progress")
        self._setting, self._saying, self._emit = setting, saying, setting.emit
        self._running: asyncio.Task[None] | None = None
        self._live: LiveSession | None = None
        self._is_waiting = True  # for a slot, or for what it must know
        self._reason: str | None = None  # why it was stopped
        self._is_open = False  # the client knows of its item
        self._before: str | None = None  # the item before it
        self._chunks = 0  # of sound
        self._end: dict[str, Any] = {}  # what is known when it is over

    async def created(self) -> None:
        """Tell of it, and begin."""
        await self._emit("response.created", response=self._body("in_progress"))
        self._running = asyncio.create_task(self._run())
        await asyncio.sleep(0)  # cancelled before its first step it would tell nothing

    @property
    def is_over(self) -> bool:
        return self._running is not None and self._running.done()

    async def stop(self, reason: str) -> None:
        """Say no more; returns when the client knows."""
        assert self._running, "only what was created is stopped"
        self._reason = self._reason or reason
        if self._is_waiting:
            self._running.cancel()
        elif self._live:
            self._live.cancel()
        await asyncio.wait([self._running])

    async def close(self) -> None:
        """There is nobody to tell any more."""
        if self._running:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def _run(self) -> None:
        with contextlib.suppress(GoneError):  # then there is nobody to tell
            await self._give()

    async def _give(self) -> None:
        how: dict[str, Any] | None = None
        try:
            finish = await self._say()
            status = "cancelled" if self._reason else FINISHES[finish or "end"]
        except GoneError:
            raise
        except asyncio.CancelledError:
            if self._reason is None:
                raise
            status = "cancelled"
        except Exception as error:
            if self._reason:  # stopped while text was on its way
                status = "cancelled"
            else:
                status, how = "failed", {"type": "failed", "error": self._failure(error)}
        finally:
            self._is_waiting = False
        if status in REASONS:
            how = {"type": status, "reason": self._reason or REASONS[status]}
        await self._conclude(status, how)

    def _failure(self, error: Exception) -> dict[str, Any]:
        """What the client is told of an error; of a bug of ours only that there is one."""
        ours = error if isinstance(error, LoquorError) else LoquorError("the response broke off")
        logger.error("response %s broke off: %s", self.id, error, exc_info=error is not ours)
        return details(ours)

    async def _say(self) -> str | None:
        """Say all, or until it is stopped; gives how it ended."""
        await self._saying.ready()
        setting = self._setting
        session = setting.service.session(setting.wish, setting.client, PROTOCOL, start=self._saying.start)
        gone: GoneError | None = None
        async with session as self._live:
            self._is_waiting = False
            try:
                await self._open()
                await self._saying.begin(self._live)
                await self._tell_all(self._live)
            except GoneError as error:  # to the service it was cancelled, and did not fail
                gone = error
            finish = self._live.finish
        if gone:
            raise gone
        self.item.turn = self._saying.turn()
        return finish

    async def _tell_all(self, live: LiveSession) -> None:
        encoder = Encoder(self.plan.format, live.sample_rate_hz) if self.plan.is_spoken else None
        if encoder:
            self.item.aloud = Aloud(Playback(live.sample_rate_hz, room=0), self.plan.speed)
        async for chunk in live:
            if self._reason:
                return
            await self._tell(chunk, encoder)
        if self._reason:
            return
        if encoder and (rest := encoder.finish()):
            await self._delta("response.output_audio.delta", rest)
        if live.finish == "end":
            await self._tell_text(len(self._saying.text))

    async def _tell(self, chunk: Chunk, encoder: Encoder | None) -> None:
        await self._tell_text(chunk.text_end)
        if encoder is None or not len(chunk.waveform):
            return
        self._chunks += 1
        if audio := await asyncio.to_thread(encoder.push, chunk.waveform.numpy()):
            await self._delta("response.output_audio.delta", audio)
        assert self.item.aloud
        self.item.aloud.give(len(chunk.waveform), chunk.start_s, chunk.text_end, time.perf_counter())

    async def _tell_text(self, end: int) -> None:
        """What of the text was not told yet, to its character `end`."""
        part = self.item.content[0]
        assert part.text is not None and self._live
        more = self._saying.text[len(part.text) : end]
        if not more:
            return
        part.text += more
        if self._saying.start:
            self._live.note(more)
        kind = "output_audio_transcript" if self.plan.is_spoken else "output_text"
        await self._delta(f"response.{kind}.delta", more)

    async def _open(self) -> None:
        self._is_open = True
        if self.plan.is_kept:
            self._before = self._setting.dialogue.add(self.item)
        body = {**self.item.body, "content": []}
        await self._emit("response.output_item.added", response_id=self.id, output_index=0, item=body)
        if self.plan.is_kept:
            await self._emit("conversation.item.added", previous_item_id=self._before, item=body)
        await self._emit("response.content_part.added", **self._place, part=self._part)

    async def _conclude(self, status: str, how: dict[str, Any] | None) -> None:
        self.item.status = "completed" if status == "completed" else "incomplete"
        if self._is_open:
            text = self.item.content[0].text
            if self.plan.is_spoken:
                await self._emit("response.output_audio.done", **self._place)
                await self._emit("response.output_audio_transcript.done", **self._place, transcript=text)
            else:
                await self._emit("response.output_text.done", **self._place, text=text)
            await self._emit("response.content_part.done", **self._place, part=self._part)
            if self.plan.is_kept:
                await self._emit("conversation.item.done", previous_item_id=self._before, item=self.item.body)
            await self._emit("response.output_item.done", response_id=self.id, output_index=0, item=self.item.body)
        self._end = {"status_details": how, "usage": self._saying.usage(self._chunks)}
        await self._emit("response.done", response=self._body(status))

    async def _delta(self, kind: str, delta: str) -> None:
        await self._emit(kind, **self._place, delta=delta)

    @property
    def _place(self) -> dict[str, Any]:
        return {"response_id": self.id, "item_id": self.item.id, "output_index": 0, "content_index": 0}

    @property
    def _part(self) -> dict[str, Any]:
        text = self.item.content[0].text
        return {"type": "audio", "transcript": text} if self.plan.is_spoken else {"type": "text", "text": text}

    def _body(self, status: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "realtime.response",
            "status": status,
            "status_details": None,
            "output": [self.item.body] if self._end and self._is_open else [],
            "conversation_id": self._setting.dialogue.id if self.plan.is_kept else None,
            "usage": None,
            **self.plan.body,
            **self._end,
        }
