"""The conversation as both sides have it: items come, go and are cut, and the client is told."""

from __future__ import annotations

import asyncio
import logging

from loquor.errors import LoquorError
from loquor.models.vita.prompt import Said
from loquor.server.keys import Client
from loquor.server.realtime import events
from loquor.server.realtime.events import EventError, details
from loquor.server.realtime.items import Content, Dialogue, Item
from loquor.server.realtime.response import Emit
from loquor.server.realtime.saying import Conversing, Family
from loquor.server.service import Service
from loquor.server.sockets import GoneError

logger = logging.getLogger(__name__)

TRANSCRIPTION = "conversation.item.input_audio_transcription"


class Record:
    """Of one session."""

    def __init__(self, service: Service, family: Family, client: Client, emit: Emit) -> None:
        self.dialogue = Dialogue()
        self.transcribes = False  # what is heard is written down
        self._service, self._family, self._client, self._emit = service, family, client, emit
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def add(self, item: Item, after: str | None = None, is_committed: bool = False) -> None:
        """An item of the client's, written or said; raises as `Dialogue.add`."""
        before = self.dialogue.add(item, after)
        if is_committed:
            await self._emit("input_audio_buffer.committed", previous_item_id=before, item_id=item.id)
        await self._emit("conversation.item.added", previous_item_id=before, item=item.body)
        await self._emit("conversation.item.done", previous_item_id=before, item=item.body)
        sounding = next((place for place, part in enumerate(item.content) if part.sound), None)
        if self.transcribes and sounding is not None:
            item.transcribing = asyncio.create_task(self._transcribe(item, sounding))
            self._tasks.add(item.transcribing)
            item.transcribing.add_done_callback(self._tasks.discard)

    async def _transcribe(self, item: Item, place: int) -> None:
        """What is said in a part of an item, told when it is known. Takes a slot, as speaking does."""
        part, where = item.content[place], {"item_id": item.id, "content_index": place}
        try:
            text, seconds = await self._written(part)
            usage = {"type": "duration", "seconds": seconds}
            await self._emit(f"{TRANSCRIPTION}.completed", **where, transcript=text, usage=usage)
        except GoneError:
            return
        except Exception as error:
            logger.error("item %s could not be transcribed: %s", item.id, error, exc_info=True)
            ours = error if isinstance(error, LoquorError) else LoquorError("the transcriber failed")
            await self._emit(f"{TRANSCRIPTION}.failed", **where, error=details(ours))

    async def _written(self, part: Content) -> tuple[str, float]:
        """The words of a part and how long they took; a model that only reads needs its sound no longer."""
        transcriber = self._service.transcriber
        assert part.sound and transcriber, "only then it is asked for"
        waveform, rate_hz = part.sound
        try:
            async with self._service.admission.slot(self._client):
                work = asyncio.ensure_future(asyncio.to_thread(transcriber.transcribe, waveform, rate_hz))
                try:
                    part.text = await asyncio.shield(work)
                finally:
                    await asyncio.wait([work])  # a thread cannot be cancelled: its slot is taken until it ends
        finally:
            if not self._family.listens:
                part.sound = None
        return part.text, round(len(waveform) / rate_hz, 3)

    async def retrieve(self, event: events.NamesItem) -> None:
        await self._emit("conversation.item.retrieved", item=self.dialogue.find(event.item_id).body)

    async def delete(self, event: events.NamesItem) -> None:
        self.dialogue.remove(event.item_id)
        await self._emit("conversation.item.deleted", item_id=event.item_id)

    async def truncate(self, event: events.Truncate) -> None:
        """Of a spoken answer, so much was heard, as the client says. EventError if that cannot be."""
        item = self.dialogue.find(event.item_id)
        if item.aloud is None:
            raise EventError("only spoken answers can be truncated", code="item_not_spoken", param="item_id")
        if item.status == "in_progress":
            raise EventError("it is still being said", "cancel the response first", param="item_id")
        given_ms = round(1000 * item.aloud.playback.given_s)
        if event.audio_end_ms > given_ms:
            raise EventError(f"only {given_ms} ms of it were sent", code="invalid_value", param="audio_end_ms")
        await self.cut(item, event.audio_end_ms / 1000)

    async def cut(self, item: Item, heard_s: float) -> None:
        """Of a spoken answer, the rest was never said."""
        assert item.aloud and item.content[0].text is not None
        item.content[0].text = item.content[0].text[: item.aloud.characters(heard_s)]
        if isinstance(self._family, Conversing) and isinstance(item.turn, Said):
            item.turn = self._family.cut(item.turn, heard_s * item.aloud.speed)
        where = {"item_id": item.id, "content_index": 0, "audio_end_ms": round(1000 * heard_s)}
        await self._emit("conversation.item.truncated", **where)
