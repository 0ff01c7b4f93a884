"""ElevenLabs' WebSockets: one text a socket (`stream-input`), or several that are said at once (`multi-stream-input`).

A context is a text of its own, with its own sound, and takes a slot of its own. Text is said as soon as it can be,
whatever the schedule of chunks a client asks for; a flush ends an utterance.
"""

from __future__ import annotations

import asyncio
import base64
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import WebSocket
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from loquor.engine.request import MAX_SEED
from loquor.errors import InputError, LoquorError
from loquor.server.elevenlabs.alignment import Alignment
from loquor.server.elevenlabs.formats import DEFAULT, OutputFormat, output_format
from loquor.server.elevenlabs.settings import VoiceSettings, require_model, speed_of
from loquor.server.failures import known, problem
from loquor.server.keys import Client
from loquor.server.refusals import IdleError, TooLargeError, UnauthorisedError
from loquor.server.service import LiveSession, Service
from loquor.server.sockets import POLICY, TOO_BIG, GoneError, JsonSocket, beside, parsed
from loquor.server.synthesis import Wish
from loquor.server.turns import Turn
from loquor.server.wiring import Server

PROTOCOL = "elevenlabs"
ONLY = "default"  # the context of who names none
MOST_CONTEXTS = 5  # at once, as ElevenLabs has it


class Message(BaseModel):
    """All that either socket is sent; what is known and means nothing here is let pass."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    text: str | None = None
    flush: bool | None = None
    context_id: str | None = None
    close_context: bool | None = None
    close_socket: bool | None = None
    voice_settings: VoiceSettings | None = None
    xi_api_key: str | None = Field(None, validation_alias=AliasChoices("xi_api_key", "xi-api-key"))
    authorization: str | None = None

    @property
    def key(self) -> str | None:
        return self.xi_api_key or (self.authorization or "").removeprefix("Bearer ") or None


class Address(BaseModel):
    """What stands in the address of a socket, behind the voice."""

    model_config = ConfigDict(extra="ignore")

    model_id: str | None = None
    output_format: str = DEFAULT
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0
    inactivity_timeout: Annotated[float, Field(gt=0, le=180)] = 20.0


@dataclass(frozen=True)
class Asked:
    """What it means."""

    wish: Wish
    output: OutputFormat
    idle_s: float  # that a text may not go on, then it is given up
    is_multi: bool


class Context(Turn):
    """A text that is being said."""

    def __init__(self, name: str, client: Client, service: Service, asked: Asked, speed: float) -> None:
        super().__init__(service.sample_rate_hz, service.limits.characters, asked.idle_s)
        self.name, self.client, self.wish = name, client, replace(asked.wish, speed=speed)
        self.alignment = Alignment()
        self.is_flushed = False


async def talk(server: Server, socket: WebSocket, voice: str, is_multi: bool) -> None:
    """Serve one socket to its end."""
    await socket.accept()
    opened = JsonSocket(socket, server.service.limits)
    try:
        address = parsed(Address, socket.query_params)
        require_model(server, address.model_id)
        output = output_format(address.output_format)
        output.open(server.service.sample_rate_hz)  # or tells what is not installed
    except LoquorError as error:
        await opened.send(_as_json(error))
        await opened.close(POLICY, str(error))
        return
    asked = Asked(Wish(voice, seed=address.seed), output, address.inactivity_timeout, is_multi)
    await Contexts(server, opened, socket, asked).run()


class Contexts:
    """All texts of one socket."""

    def __init__(self, server: Server, socket: JsonSocket, asking: WebSocket, asked: Asked) -> None:
        self._server, self._service, self._asked = server, server.service, asked
        self._socket, self._asking = socket, asking
        self._open: dict[str, Context] = {}  # take text
        self._saying: dict[Context, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._is_closing = False

    async def run(self) -> None:
        """Talk until either side ends it, or something goes wrong."""
        try:
            await beside(self._say_all(), self._read())
            await self._socket.close()
        except LoquorError as error:
            await self._socket.close(TOO_BIG if isinstance(error, TooLargeError) else POLICY, str(error))
        except GoneError:
            pass

    # What comes

    async def _read(self) -> None:
        while True:
            name = ONLY
            try:
                message = parsed(Message, await self._socket.receive())
                name = (message.context_id or ONLY) if self._asked.is_multi else ONLY
                await self._take(message, name)
            except LoquorError as error:
                await self._tell(error, name)
                self._raise_what_ends_all(error)

    async def _take(self, message: Message, name: str) -> None:
        if message.close_socket or (message.text == "" and not self._asked.is_multi):
            self._is_closing = True
            for context in list(self._open.values()):
                await self._close(context, is_said=True)
            self._changed.set()
        elif message.close_context:
            if name in self._open:
                await self._close(self._open[name], is_said=self._open[name].is_flushed)
        elif self._is_closing:
            raise InputError("text came after the end")
        elif message.text:
            self._push(self._open.get(name) or self._new(name, message), message)
        elif message.flush and name in self._open:
            self._push(self._open[name], message)

    def _new(self, name: str, message: Message) -> Context:
        """A context is a request of its client: RefusedError and UnauthorisedError as the guard says."""
        if len(self._saying) >= MOST_CONTEXTS:
            raise InputError(f"{MOST_CONTEXTS} contexts are there already", hint="close one first")
        client = self._server.client(self._asking, message.key)
        speed = speed_of(message.voice_settings)
        context = self._open[name] = Context(name, client, self._service, self._asked, speed)
        self._saying[context] = asyncio.ensure_future(self._say(context))
        self._changed.set()
        return context

    def _push(self, context: Context, message: Message) -> None:
        if context.is_broken:
            return
        if (settings := message.voice_settings) and settings.speed not in (None, context.wish.speed):
            raise InputError("a text has one speed", hint="send voice_settings with its first message")
        text = message.text or ""
        if text := text if context.text else text.lstrip():  # a client's first text is one space
            context.push(text)
            context.is_flushed = False
        if message.flush and context.text:
            context.flush()
            context.is_flushed = True

    async def _close(self, context: Context, is_said: bool) -> None:
        """Nothing more comes; what is not said yet is said, or dropped."""
        del self._open[context.name]
        context.end()
        task = self._saying.get(context)
        if task and not is_said:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._socket.send(self._final(context))

    # What goes

    async def _say_all(self) -> None:
        """Until all has been said after the end; raises what ends the socket."""
        try:
            while self._saying or not self._is_closing:
                changed = asyncio.ensure_future(self._changed.wait())
                try:
                    done, _ = await asyncio.wait({changed, *self._saying.values()}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
                self._changed.clear()
                self._saying = {context: task for context, task in self._saying.items() if task not in done}
                for task in done - {changed}:
                    if not task.cancelled():
                        task.result()
        finally:
            for task in self._saying.values():
                task.cancel()
            await asyncio.gather(*self._saying.values(), return_exceptions=True)

    async def _say(self, context: Context) -> None:
        try:
            await context.begun.wait()
            if context.text:
                async with self._service.session(context.wish, context.client, PROTOCOL) as live:
                    await beside(self._send(context, live), context.feed(live))
            await self._socket.send(self._final(context))
        except GoneError:
            raise
        except Exception as error:
            context.is_broken, told = True, known(error)
            if isinstance(told, IdleError) and self._open.get(context.name) is context:
                del self._open[context.name]  # text that comes now begins another
            await self._tell(told, context.name)
            self._raise_what_ends_all(told)

    async def _send(self, context: Context, live: LiveSession) -> None:
        encoder, start_s = self._asked.output.open(live.sample_rate_hz), 0.0
        async with aclosing(context.heard(live)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                data = await asyncio.to_thread(encoder.push, piece.waveform)
                alignment = context.alignment.of(context.text, piece.words, start_s)
                if data or alignment:
                    await self._send_sound(context, data, alignment)
                start_s = piece.end_s
        await self._send_sound(context, encoder.finish(), context.alignment.rest(context.text, start_s))

    async def _send_sound(self, context: Context, data: bytes, alignment: dict[str, Any] | None) -> None:
        audio = base64.b64encode(data).decode("ascii")
        values = {"audio": audio, "isFinal": False, "alignment": alignment, "normalizedAlignment": alignment}
        await self._socket.send(values | self._name(context.name))

    def _final(self, context: Context) -> dict[str, Any]:
        return {"audio": None, "isFinal": True} | self._name(context.name)

    def _name(self, name: str) -> dict[str, str]:
        return {"contextId": name} if self._asked.is_multi else {}

    async def _tell(self, error: LoquorError, name: str) -> None:
        await self._socket.send(_as_json(error) | self._name(name))

    def _raise_what_ends_all(self, error: LoquorError) -> None:
        """Several texts outlive the failure of one."""
        if not self._asked.is_multi or isinstance(error, (UnauthorisedError, TooLargeError)):
            raise error


def _as_json(error: LoquorError) -> dict[str, Any]:
    told = problem(error)
    return {"message": told.message, "error": told.code or told.kind, "code": POLICY}
