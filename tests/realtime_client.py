"""A client of the Realtime API, and a model in miniature that converses with it."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from openai.resources.realtime.realtime import RealtimeConnection
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from loquor import Converser
from loquor.audio import Waveform, pcm16
from loquor.models.silero import Silero, SileroState
from loquor.server.realtime import ears
from server_fixtures import Running
from toy_converser import toy_talker, write_toy_converser

RATE = 24_000
HANGS_AFTER_S = 120
SHORT = {"max_output_tokens": 24}  # for a toy that does not know when to end
KNOWN = TypeAdapter(RealtimeServerEvent)


@pytest.fixture(scope="session")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Converser:
    return Converser.open(write_toy_converser(tmp_path_factory.mktemp("vita") / "model", toy_talker(modules=10)))


class Loudness(Silero):
    """A detector for which speech is what is loud."""

    def __init__(self) -> None:
        pass

    def __call__(self, waveform: np.ndarray, state: SileroState | None = None) -> np.ndarray:
        return (np.abs(waveform).reshape(-1, self.FRAME).max(1) > 0.05).astype(np.float32)


@pytest.fixture
def by_loudness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ears, "network", Loudness)


class Talk:
    """A client: sends, and collects what comes, every event as the client's own types have it."""

    def __init__(self, connection: RealtimeConnection) -> None:
        self.connection = connection

    def send(self, kind: str, **fields: Any) -> None:
        self.connection.send({"type": kind, **fields})  # type: ignore[typeddict-item]

    def until(self, *kinds: str) -> list[dict[str, Any]]:
        """Events up to the first of one of these kinds, which is the last."""
        found: list[dict[str, Any]] = []
        while not found or found[-1]["type"] not in kinds:
            found.append(json.loads(self.connection._connection.recv(timeout=HANGS_AFTER_S)))
            KNOWN.validate_python(found[-1], strict=False)
            assert "error" in (*kinds, "") or found[-1]["type"] != "error", found[-1]
        return found

    def last(self, kind: str) -> dict[str, Any]:
        return self.until(kind)[-1]

    def write(self, text: str, **fields: Any) -> dict[str, Any]:
        """A message of the user's, as it is in the conversation."""
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        self.send("conversation.item.create", item=item, **fields)
        done: dict[str, Any] = self.last("conversation.item.done")["item"]
        return done

    def ask(self, text: str, **response: Any) -> list[dict[str, Any]]:
        """All events of a response to a text."""
        self.write(text)
        self.send("response.create", response=response)
        return self.until("response.done")

    def say(self, waveform: Waveform, step: int = 4800) -> None:
        """Sound into the buffer, piece by piece."""
        for start in range(0, len(waveform), step):
            self.send("input_audio_buffer.append", audio=base64_of(waveform[start : start + step]))

    def fails(self, kind: str, **fields: Any) -> dict[str, Any]:
        """What the one error says that an event is answered with."""
        self.send(kind, event_id="mine", **fields)
        (event,) = self.until("error")
        assert event["error"]["event_id"] == "mine"
        error: dict[str, Any] = event["error"]
        return error


@contextlib.contextmanager
def talk(running: Running, key: str = "", model: str = "toy") -> Iterator[Talk]:
    with running.client(key).realtime.connect(model=model) as connection:
        one = Talk(connection)
        assert one.last("session.created")["session"]["type"] == "realtime"
        yield one


def base64_of(waveform: Waveform) -> str:
    return base64.b64encode(pcm16(waveform).tobytes()).decode()


def tone(seconds: float, level: float = 0.3) -> Waveform:
    times = np.arange(round(seconds * RATE)) / RATE
    return np.asarray(level * np.sin(2 * np.pi * 220 * times), dtype=np.float32)


def silence(seconds: float) -> Waveform:
    return np.zeros(round(seconds * RATE), dtype=np.float32)


def sound_of(events: list[dict[str, Any]]) -> np.ndarray:
    data = b"".join(base64.b64decode(e["delta"]) for e in events if e["type"] == "response.output_audio.delta")
    return np.frombuffer(data, dtype="<i2")


def kinds_of(events: list[dict[str, Any]]) -> list[str]:
    """Types in order, repeated ones once."""
    kinds = [event["type"] for event in events]
    return [kind for place, kind in enumerate(kinds) if kind not in kinds[:place]]


@pytest.fixture
def slow_talker(talker: Converser, monkeypatch: pytest.MonkeyPatch) -> Converser:
    """As a larger model: there is time to interrupt."""
    step = talker.batch.step

    def slowly() -> Any:
        time.sleep(0.02)
        return step()

    monkeypatch.setattr(talker.batch, "step", slowly)
    return talker
