"""The server's half of the WebSocket: says one turn after the other, each in a session of its own."""

from __future__ import annotations

import asyncio
import base64
import time
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from loquor.audio.streaming import StreamEncoder, open_encoder
from loquor.engine.word_times import TimedWord
from loquor.errors import LoquorError
from loquor.server.failures import known, problem
from loquor.server.keys import Client
from loquor.server.refusals import UnauthorisedError
from loquor.server.service import LiveSession, Service
from loquor.server.sockets import GoneError, JsonSocket, beside
from loquor.server.speech_stream.messages import Settings
from loquor.server.turns import Heard, Turn

PROTOCOL = "websocket"
MOST_KEPT = 16  # turns that were said: their listener may still play them, and interrupt


class NumberedTurn(Turn):
    """A turn as its client knows it."""

    def __init__(self, number: int, settings: Settings, service: Service) -> None:
        super().__init__(service.sample_rate_hz, service.limits.characters, service.limits.idle_s)
        self.number, self.settings = number, settings
        self.sent_at: float | None = None  # the first of its sound, `time.monotonic`
        self.is_said = False  # all of it was sent
        self.cut_s: float | None = None  # so much of it was played when it was cancelled


class Speaking:
    """Turns that wait, the one that is said, and those that were."""

    def __init__(self, service: Service, socket: JsonSocket, client: Callable[[], Client]) -> None:
        """`client` says whose turn the next is, and raises if they may not."""
        self._service, self._socket, self._client = service, socket, client
        self.waiting: deque[NumberedTurn] = deque()
        self.said: deque[NumberedTurn] = deque(maxlen=MOST_KEPT)  # the last may be speaking
        self._task: asyncio.Task[None] | None = None  # says it
        self._fresh, self._is_closing = asyncio.Event(), False

    def add(self, turn: NumberedTurn) -> None:
        self.waiting.append(turn)
        self._fresh.set()

    def close(self) -> None:
        """`run` returns when all that waits has been said."""
        self._is_closing = True
        self._fresh.set()

    async def run(self) -> None:
        """Say turn after turn. GoneError if nobody listens, UnauthorisedError if whoever asks may not any more."""
        while not (self._is_closing and not self.waiting):
            if not self.waiting:
                await self._fresh.wait()
                self._fresh.clear()
                continue
            turn = self.waiting.popleft()
            if self.said and self.said[-1].settings.wish == turn.settings.wish:
                turn.times.pace = self.said[-1].times.pace
            self.said.append(turn)
            self._task = asyncio.ensure_future(self._say(turn))
            try:
                await asyncio.wait({self._task})
                if not self._task.cancelled():
                    self._task.result()
            finally:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)
                self._task = None

    def played_s(self) -> dict[int, float]:
        """Seconds of each turn that a listener has heard by now who plays them as they come, one after the other."""
        played, free_at, now = dict[int, float](), 0.0, time.monotonic()
        for turn in self.said:
            if turn.sent_at is not None:
                begins_at = max(turn.sent_at, free_at)
                free_at = begins_at + (turn.times.end_s if turn.cut_s is None else turn.cut_s)
                played[turn.number] = min(max(0.0, now - begins_at), turn.times.end_s)
        return played

    async def stop(self, number: int) -> list[int]:
        """Stop saying that turn and all later ones, which it gives; none of their sound follows."""
        dropped = [turn.number for turn in self.waiting if turn.number >= number]
        for _ in dropped:
            self.waiting.pop()
        if self._task and self.said[-1].number >= number:
            dropped.insert(0, self.said[-1].number)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        return dropped

    async def tell(self, error: LoquorError, turn: NumberedTurn | None = None) -> None:
        """An error, in the shape all our protocols have; if it is of a turn, that has ended."""
        told = problem(error)
        if turn:
            turn.is_broken = True
        facts = {"turn": turn and turn.number, "status": told.status, "retry_after_s": told.retry_after_s}
        await self._socket.send({"type": "error", **facts, **told.body})

    async def _say(self, turn: NumberedTurn) -> None:
        places = asyncio.Queue[int]()
        try:
            await beside(self._hold(turn, places), self._tell_places(turn, places))
        except GoneError:
            raise
        except Exception as error:
            await self.tell(known(error), turn)
            if isinstance(error, UnauthorisedError):
                raise

    async def _hold(self, turn: NumberedTurn, places: asyncio.Queue[int]) -> None:
        """Have a slot until the turn has been said."""
        wish = turn.settings.wish
        async with self._service.session(wish, self._client(), PROTOCOL, places.put_nowait) as live:
            await places.join()
            await beside(self._send(turn, live), turn.feed(live))

    async def _tell_places(self, turn: NumberedTurn, places: asyncio.Queue[int]) -> None:
        while True:
            place = await places.get()
            await self._socket.send({"type": "queue.position", "turn": turn.number, "position": place})
            places.task_done()

    async def _send(self, turn: NumberedTurn, live: LiveSession) -> None:
        encoder = open_encoder(turn.settings.format, live.sample_rate_hz)
        async with aclosing(turn.heard(live)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                if turn.sent_at is None:
                    turn.sent_at = time.monotonic()
                    await self._socket.send(_started(turn, live))
                await self._send_piece(turn, piece, encoder)
        await self._send_sound(turn, encoder.finish())
        turn.is_said = True
        await self._socket.send(_done(turn, live))

    async def _send_piece(self, turn: NumberedTurn, piece: Heard, encoder: StreamEncoder) -> None:
        is_cheap = turn.settings.format == "pcm"
        push = encoder.push
        data = push(piece.waveform) if is_cheap else await asyncio.to_thread(push, piece.waveform)
        if turn.settings.words and piece.words:
            await self._socket.send(_words(turn, piece.words, is_final=False))
        await self._send_sound(turn, data)
        if turn.settings.words and piece.settled:
            await self._socket.send(_words(turn, piece.settled, is_final=True))

    async def _send_sound(self, turn: NumberedTurn, data: bytes) -> None:
        if data and turn.settings.encoding == "base64":
            audio = base64.b64encode(data).decode("ascii")
            await self._socket.send({"type": "audio.delta", "turn": turn.number, "audio": audio})
        elif data:
            await self._socket.send(data)


def _started(turn: NumberedTurn, live: LiveSession) -> dict[str, Any]:
    assert live.first_audio_s is not None
    return {
        "type": "audio.start",
        "turn": turn.number,
        "id": live.request.id,
        "format": turn.settings.format,
        "sample_rate": live.sample_rate_hz,
        "channels": 1,
        "queue_ms": _ms(live.queue_wait_s),
        "first_audio_ms": _ms(live.first_audio_s),
    }


def _done(turn: NumberedTurn, live: LiveSession) -> dict[str, Any]:
    assert live.first_audio_s is not None
    return {
        "type": "audio.done",
        "turn": turn.number,
        "finish": live.finish,
        "characters": live.characters,
        "audio_ms": _ms(turn.times.end_s),
        "first_audio_ms": _ms(live.first_audio_s),
        "rtf": round(live.playback.compute_s / live.playback.given_s, 3),
        "queue_ms": _ms(live.queue_wait_s),
        "gaps": live.playback.gaps,
    }


def _words(turn: NumberedTurn, words: list[TimedWord], is_final: bool) -> dict[str, Any]:
    timed = [
        {
            "text": word.text,
            "start": word.start,
            "end": word.end,
            "start_ms": _ms(word.start_s),
            "end_ms": _ms(word.end_s),
        }
        for word in words
    ]
    return {"type": "audio.words", "turn": turn.number, "words": timed, "final": is_final}


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
