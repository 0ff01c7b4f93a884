"""The client's half of the WebSocket: takes messages, and does what they ask.

From others it takes what worked: settings once and for good (vllm-omni), control in text frames and sound in binary
ones, and an interruption that says how much was played, so that the server, which knows when each word sounds, answers
with what was heard (Deepgram).
"""

from __future__ import annotations

import asyncio

from fastapi import WebSocket

from loquor.audio.streaming import open_encoder
from loquor.errors import InputError, LoquorError
from loquor.server.keys import Client
from loquor.server.refusals import NotFoundError, TooLargeError, UnauthorisedError
from loquor.server.sockets import POLICY, TOO_BIG, GoneError, JsonSocket, beside
from loquor.server.speech_stream.messages import Cancel, Close, Done, Flush, Message, Settings, Text, message_of
from loquor.server.speech_stream.speaking import NumberedTurn, Speaking
from loquor.server.wiring import Server

MOST_WAITING = 16  # turns of one socket that wait to be said


class Conversation:
    """One accepted socket: one task reads what comes, another says turn after turn."""

    def __init__(self, server: Server, socket: WebSocket) -> None:
        self._server, self._service, self._asking = server, server.service, socket
        self._socket = JsonSocket(socket, server.service.limits)
        self._speaking = Speaking(server.service, self._socket, self._next_client)
        self._settings = Settings()
        self._key: str | None = None
        self._known: Client | None = None
        self._is_counted = False  # the next turn, against its client's rate
        self._turns = 0
        self._open: NumberedTurn | None = None  # takes text
        self._is_closing = False

    async def run(self) -> None:
        """Talk until either side ends it."""
        try:
            await beside(self._speaking.run(), self._read())
            await self._socket.send({"type": "session.closed"})
            await self._socket.close()
        except UnauthorisedError as error:
            await self._socket.close(POLICY, str(error))
        except TooLargeError as error:
            await self._socket.close(TOO_BIG, str(error))
        except GoneError:
            pass

    async def _read(self) -> None:
        """Take messages until the client leaves; what is wrong with one is told, and only some of it ends all."""
        while True:
            try:
                await self._take(await self._socket.receive())
            except LoquorError as error:
                await self._speaking.tell(error)
                if isinstance(error, (UnauthorisedError, TooLargeError)):
                    raise

    async def _take(self, values: dict[str, object]) -> None:
        message = message_of(values)
        if isinstance(message, Settings):
            self._key = message.api_key or self._key
        if self._known is None:
            self._known, self._is_counted = self._server.client(self._asking, self._key), True
        await self._obey(message, self._known)

    async def _obey(self, message: Message, client: Client) -> None:
        match message:
            case Settings():
                await self._configure(message, client)
            case Text(text=text):
                await self._push(text)
            case Flush():
                self._opened("input.flush").flush()
            case Done():
                self._opened("input.done").end()
                self._open = None
            case Cancel():
                await self._cancel(message)
            case Close():
                self._is_closing = True
                if self._open:
                    self._open.end()
                self._speaking.close()

    def _next_client(self) -> Client:
        """Who asks for the next turn. Every turn is a request; the first was counted when it was asked who is there."""
        assert self._known is not None
        if not self._is_counted:
            self._known = self._server.client(self._asking, self._key)
        self._is_counted = False
        return self._known

    async def _configure(self, message: Settings, client: Client) -> None:
        settings, limits = self._settings.changed_by(message), self._service.limits
        if settings.model is not None and not self._server.knows_model(settings.model):
            hint = "GET /v1/models lists them"
            raise NotFoundError(f"there is no model {settings.model!r}", hint, "model_not_found")
        open_encoder(settings.format, self._service.sample_rate_hz)  # or tells what is not installed
        await asyncio.to_thread(self._service.files, settings.wish, client)
        self._settings = settings
        facts = {
            "type": "session.configured",
            "model": self._service.name,
            "sample_rate": self._service.sample_rate_hz,
            "limits": {"characters": limits.characters, "message_bytes": limits.body_bytes},
        }
        await self._socket.send(settings.model_dump() | facts)

    async def _push(self, text: str) -> None:
        if self._is_closing:
            raise InputError("text came after session.close")
        if not text:
            return
        if self._open is None:
            if len(self._speaking.waiting) >= MOST_WAITING:
                raise InputError(f"{MOST_WAITING} turns wait already", hint="wait for audio.done of one")
            self._open = NumberedTurn(self._turns, self._settings, self._service)
            self._turns += 1
            self._speaking.add(self._open)
        turn = self._open
        if turn.is_broken:
            return
        try:
            turn.push(text)
        except InputError as error:
            await self._speaking.stop(turn.number)
            await self._speaking.tell(error, turn)

    def _opened(self, kind: str) -> NumberedTurn:
        if self._open is None:
            raise InputError(f"{kind} without text before it", hint="send input.text first")
        return self._open

    async def _cancel(self, message: Cancel) -> None:
        """Stop, and tell what was heard."""
        known = {turn.number: turn for turn in (*self._speaking.said, *self._speaking.waiting)}
        if message.turn is not None and message.turn not in known:
            raise InputError(f"there is no turn {message.turn} to cancel", hint="it is not begun, or long over")
        if not known:
            told: dict[str, object] = {"turn": None, "played_ms": 0, "heard": "", "remaining": "", "dropped": []}
        else:
            played = self._speaking.played_s()
            playing = next((n for n, turn in known.items() if _is_to_come(turn, played.get(n, 0.0))), max(known))
            turn = known[playing if message.turn is None else message.turn]
            asked_s = played.get(turn.number, 0.0) if message.played_ms is None else message.played_ms / 1000
            told = await self._interrupt(turn, min(asked_s, turn.times.end_s))
        await self._socket.send({"type": "audio.cancelled", **told})

    async def _interrupt(self, turn: NumberedTurn, played_s: float) -> dict[str, object]:
        if self._open and self._open.number >= turn.number:
            self._open = None
        dropped = await self._speaking.stop(turn.number)
        for cut in self._speaking.said:
            if cut.number >= turn.number:
                cut.cut_s = played_s if cut is turn else 0.0
        end = turn.times.heard_until(played_s)
        return {
            "turn": turn.number,
            "played_ms": round(1000 * played_s),
            "heard": turn.text[:end],
            "remaining": turn.text[end:],
            "dropped": [number for number in dropped if number != turn.number],
        }


def _is_to_come(turn: NumberedTurn, played_s: float) -> bool:
    """Whether some of a turn has not been played and will be."""
    if turn.cut_s is not None or turn.is_broken:
        return False
    return not turn.is_said or played_s < turn.times.end_s
