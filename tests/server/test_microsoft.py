"""The demo's protocol: the text in the address, sound in binary frames, a log between them."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from loquor.audio import pcm16
from loquor.engine.speaker import Speaker
from loquor.server.service import Limits
from server_fixtures import LONG, SENTENCE, Running, Serve, within


def address(running: Running, **asked: object) -> str:
    return f"{running.url.replace('http', 'ws')}/stream?{urlencode(asked)}"


def said(running: Running, **asked: object) -> tuple[bytes, list[dict[str, Any]], int | None]:
    """Its sound, its log, and how the socket was closed."""
    sound, log = b"", list[dict[str, Any]]()
    with connect(address(running, **asked)) as socket, suppress(ConnectionClosedError):
        for message in socket:
            if isinstance(message, bytes):
                sound += message
            else:
                log.append(json.loads(message))
    return sound, log, socket.close_code


def test_a_text_is_said_with_what_goes_on_beside_it(serve: Serve, speaker: Speaker) -> None:
    running = serve(speaker)
    sound, log, code = said(running, text=SENTENCE, voice="Toy", cfg=2.0, steps=3)
    assert sound == pcm16(speaker.speak(SENTENCE, "Toy", guidance=2.0, steps=3).waveform.numpy()).tobytes()
    assert code == 1000 and all(set(entry) == {"type", "event", "data", "timestamp"} for entry in log)
    events = [entry["event"] for entry in log]
    assert events[:3] == ["backend_request_received", "model_progress", "backend_first_chunk_sent"]
    assert set(events[3:-1]) == {"model_progress"} and events[-1] == "backend_stream_complete"
    assert log[0]["data"] == {"text_length": len(SENTENCE), "cfg_scale": 2.0, "inference_steps": 3, "voice": "Toy"}
    assert log[-2]["data"]["generated_sec"] == pytest.approx(len(sound) / 48_000)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", log[0]["timestamp"])
    assert within(10, lambda: bool(running.audit)) and running.audit[0]["protocol"] == "microsoft"


def test_what_is_left_out_or_not_positive_is_the_models_own(serve: Serve, speaker: Speaker) -> None:
    whole = pcm16(speaker.speak(SENTENCE).waveform.numpy()).tobytes()
    for asked in ({}, {"cfg": 0, "steps": 0}, {"cfg": -1, "steps": -5, "voice": ""}):
        assert said(serve(speaker), text=SENTENCE, **asked)[0] == whole


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"text": " "}, "the text is empty"),
        ({}, "the text is empty"),
        ({"text": "?!"}, "nothing that can be spoken"),
        ({"text": "a" * 400}, "may have 300 characters"),
        ({"text": "Yes.", "voice": "Tom"}, "no voice 'Tom'"),
        ({"text": "Yes.", "voice": "/etc/passwd"}, "no voice '/etc/passwd'"),
        ({"text": "Yes.", "cfg": "loud"}, "cfg: "),
        ({"text": "Yes.", "cfg": "nan"}, "guidance must lie in"),
        ({"text": "Yes.", "steps": 100_000}, "steps must be"),
    ],
)
def test_what_cannot_be_is_one_error(serve: Serve, speaker: Speaker, asked: dict[str, Any], says: str) -> None:
    sound, log, code = said(serve(speaker, Limits(characters=300)), **asked)
    errors = [entry["data"]["message"] for entry in log if entry["event"] == "backend_error"]
    assert len(errors) == 1 and says in errors[0] and not sound and code == 1000


def test_a_busy_server_says_so_and_to_come_later(serve: Serve, paced: Speaker) -> None:
    running = serve(paced, Limits(slots=1, queue=0))
    with connect(address(running, text=LONG)) as first:
        while not isinstance(first.recv(30), bytes):
            pass
        _, log, code = said(running, text="Yes.")
        assert log[-1]["event"] == "backend_busy" and code == 1013
    assert within(10, lambda: not running.service.admission.running)  # who leaves frees the slot


def test_a_key_is_asked_for_where_the_server_has_keys(serve: Serve, speaker: Speaker) -> None:
    running = serve(speaker, keys={"ada": {}})
    _, log, _ = said(running, text="Yes.")
    assert "API key" in log[0]["data"]["message"]
    assert httpx2.get(f"{running.url}/config", timeout=60).status_code == 401
    headers = {"Authorization": f"Bearer {running.keys['ada']}"}
    with connect(address(running, text="Yes."), additional_headers=headers) as socket:
        assert any(isinstance(message, bytes) for message in socket)


def test_the_voices_are_told(serve: Serve, speaker: Speaker) -> None:
    config = httpx2.get(f"{serve(speaker).url}/config", timeout=60).json()
    assert config == {"voices": ["default", "Toy"], "default_voice": "default"}
