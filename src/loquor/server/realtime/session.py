"""A Realtime session: a client's events, one after the other, and what they change.

Reading goes on while a response is given, so it can be interrupted: by the client, or by somebody who begins to speak.
What then stays of the answer is what can have been played by that moment; a client that knows better says so with
`conversation.item.truncate`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from loquor.engine.converser import Converser
from loquor.engine.turn_detector import SpeechBegan, TurnEvent
from loquor.errors import LoquorError, MissingExtra
from loquor.models.silero import PACKAGE as DETECTOR
from loquor.server.keys import Client
from loquor.server.realtime import events
from loquor.server.realtime.ears import Ears
from loquor.server.realtime.events import EventError, new_id, read_event, told, validated
from loquor.server.realtime.formats import FORMATS, Format, decode
from loquor.server.realtime.items import Item, deaf, heard, item_of
from loquor.server.realtime.record import Record
from loquor.server.realtime.response import CLIENT_CANCELLED, TURN_DETECTED, Response, Setting
from loquor.server.realtime.saying import Conversing, Family, Reading
from loquor.server.realtime.settings import Plan, ResponseFields, ServerVad, Settings, Transcription
from loquor.server.service import Service
from loquor.server.sockets import GoneError, JsonSocket, beside
from loquor.server.synthesis import Wish


class RealtimeSession:
    """One client's."""

    def __init__(self, service: Service, client: Client, who: Callable[[], Client], socket: JsonSocket) -> None:
        """`client` was let in; `who` says who that is, and counts a request, each time a response is asked for."""
        self._service, self._client, self._who, self._socket = service, client, who, socket
        speaker = service.speaker
        self._family: Family = Conversing(speaker) if isinstance(speaker, Converser) else Reading()
        self._id, self._record = new_id("sess"), Record(service, self._family, client, self._emit)
        self._adopt(self._first_settings())
        self._ears = Ears(self._settings.audio.input)
        self._upcoming = new_id("item")  # of what is being said to us
        self._response: Response | None = None
        self._gone = asyncio.Event()

    async def run(self) -> None:
        """Until the client hangs up, or takes nothing for too long."""
        try:
            await beside(self._read(), self._until_gone())
        except GoneError:
            pass
        finally:
            self._record.close()
            if self._response:
                await self._response.close()

    async def _read(self) -> None:
        await self._emit("session.created", session=self._settings.body(self._id))
        while True:
            event_id = None
            try:
                values = await self._socket.receive()
                event_id = values["event_id"] if isinstance(values.get("event_id"), str) else None
                event = read_event(values)
                await HANDLERS[event.type](self, event)
            except LoquorError as error:  # the session goes on
                await self._tell(error, event_id)

    async def _tell(self, error: LoquorError, event_id: str | None) -> None:
        await self._emit("error", error=told(error, event_id))

    async def _until_gone(self) -> None:
        await self._gone.wait()
        raise GoneError

    async def _emit(self, kind: str, /, **fields: Any) -> None:
        try:
            await self._socket.send({"type": kind, "event_id": new_id("event"), **fields})
        except GoneError:
            self._gone.set()
            raise

    # ---- settings

    def _first_settings(self) -> Settings:
        settings = Settings(type="realtime", model=self._service.name, instructions=self._family.instructions)
        hearing, can_write_down = settings.audio.input, self._service.transcriber is not None
        if not self._family.listens and can_write_down:
            hearing.transcription = Transcription()
        if DETECTOR.is_installed and (self._family.listens or can_write_down):
            hearing.turn_detection = ServerVad(type="server_vad")
        return settings

    def _adopt(self, settings: Settings) -> None:
        self._settings = settings
        self._record.transcribes = settings.audio.input.transcription is not None

    async def _update(self, event: events.SessionUpdate) -> None:
        settings, before = self._settings.updated(event.session), self._settings.audio.input
        if settings.audio.input.transcription and self._service.transcriber is None:
            raise MissingExtra("this server has no transcriber", hint="its operator chooses one: --transcriber")
        await asyncio.to_thread(self._require_possible, Plan.of(settings, ResponseFields()))
        now = settings.audio.input
        if (now.format, now.turn_detection) != (before.format, before.turn_detection):
            await asyncio.to_thread(self._ears.attend, now)
        self._adopt(settings)
        await self._emit("session.updated", session=settings.body(self._id))

    def _require_possible(self, plan: Plan) -> None:
        """NotFoundError for a voice there is not; EventError for what the model cannot do."""
        if not plan.is_spoken and not self._family.writes:
            raise EventError("this model speaks and writes nothing", "ask for audio", param="output_modalities")
        most = self._service.limits.characters
        if len(plan.instructions) > most:
            raise EventError(f"instructions may have {most} characters", param="instructions")
        voice = self._service.voices.find(plan.voice, self._client)
        if voice and self._family.listens:
            raise EventError("this model answers in its own voice", "leave out `voice`", param="audio.output.voice")

    @property
    def _hears(self) -> bool:
        return self._family.listens or self._record.transcribes

    @property
    def _format(self) -> Format:
        return FORMATS[self._settings.audio.input.format.type]

    # ---- what is heard

    async def _append(self, event: events.Append) -> None:
        self._require_ears()
        waveform = await asyncio.to_thread(decode, event.audio, self._format)
        for found in await asyncio.to_thread(self._ears.push, waveform):
            try:
                await self._turn(found)
            except LoquorError as error:  # the next turn is not lost with this one
                await self._tell(error, event.event_id)

    async def _turn(self, found: TurnEvent) -> None:
        """Somebody began to speak, or has finished."""
        vad = self._settings.audio.input.turn_detection
        assert vad, "without it nothing is found"
        if isinstance(found, SpeechBegan):
            start_ms = self._ears.at_ms(found.at_s - vad.prefix_padding_ms / 1000)
            await self._emit("input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=self._upcoming)
            if vad.interrupt_response:
                await self._interrupt()
            return
        end_ms = self._ears.at_ms(found.end_s)
        await self._emit("input_audio_buffer.speech_stopped", audio_end_ms=end_ms, item_id=self._upcoming)
        await self._hear(heard((found.waveform, found.sample_rate_hz), self._upcoming))
        if vad.create_response:
            await self._respond(ResponseFields())

    async def _commit(self, event: events.Bare) -> None:
        self._require_ears()
        await self._hear(heard(self._ears.take(), self._upcoming))

    async def _hear(self, item: Item) -> None:
        self._upcoming = new_id("item")
        await self._record.add(item, is_committed=True)

    async def _clear(self, event: events.Bare) -> None:
        self._require_ears()
        self._ears.clear()
        await self._emit("input_audio_buffer.cleared")

    def _require_ears(self) -> None:
        if not self._hears:
            raise deaf()

    async def _interrupt(self) -> None:
        """Somebody speaks: stop, and forget what of the answer cannot have been played yet."""
        response, self._response = self._response, None
        if response is None:
            return
        if not response.is_over:
            await response.stop(TURN_DETECTED)
        aloud = response.item.aloud
        if aloud and response.plan.is_kept and (heard_s := aloud.heard_s(time.perf_counter())) < aloud.playback.given_s:
            await self._record.cut(response.item, heard_s)

    # ---- what is written

    async def _create_item(self, event: events.CreateItem) -> None:
        item = await asyncio.to_thread(self._item, event.item)
        await self._record.add(item, event.previous_item_id)

    def _item(self, fields: events.MessageFields) -> Item:
        return item_of(fields, self._format, self._service.limits.characters, self._hears)

    # ---- responses

    async def _create_response(self, event: events.CreateResponse) -> None:
        await self._respond(validated(ResponseFields, event.response or {}, "response"))

    async def _respond(self, own: ResponseFields) -> None:
        if self._response and not self._response.is_over:
            raise EventError(
                f"{self._response.id} is still being given",
                "cancel it first",
                "conversation_already_has_active_response",
            )
        plan, dialogue = Plan.of(self._settings, own), self._record.dialogue
        await asyncio.to_thread(self._require_possible, plan)
        items = list(dialogue)
        if own.input is not None:
            items = [
                dialogue.find(one.id, "response.input")
                if isinstance(one, events.ReferenceFields)
                else await asyncio.to_thread(self._item, one)
                for one in own.input
            ]
        saying = self._family.saying(items, plan)
        wish = Wish(speed=plan.speed) if self._family.listens else Wish(plan.voice, speed=plan.speed)
        setting = Setting(self._service, self._who(), dialogue, self._emit, wish)
        self._response = Response(setting, saying, plan)
        await self._response.created()

    async def _cancel(self, event: events.CancelResponse) -> None:
        response = self._response
        if response is None or response.is_over or event.response_id not in (None, response.id):
            raise EventError(
                "there is no such response being given", "it may have ended just now", "response_cancel_not_active"
            )
        await response.stop(CLIENT_CANCELLED)


HANDLERS: dict[str, Callable[[RealtimeSession, Any], Awaitable[None]]] = {
    "session.update": RealtimeSession._update,
    "input_audio_buffer.append": RealtimeSession._append,
    "input_audio_buffer.commit": RealtimeSession._commit,
    "input_audio_buffer.clear": RealtimeSession._clear,
    "conversation.item.create": RealtimeSession._create_item,
    "conversation.item.retrieve": lambda session, event: session._record.retrieve(event),
    "conversation.item.delete": lambda session, event: session._record.delete(event),
    "conversation.item.truncate": lambda session, event: session._record.truncate(event),
    "response.create": RealtimeSession._create_response,
    "response.cancel": RealtimeSession._cancel,
}
