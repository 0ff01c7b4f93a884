"""The Realtime API when something goes wrong, and when others want to be heard too."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from loquor import Converser
from loquor.engine.speaker import Speaker
from loquor.server import running as running_module
from loquor.server.service import Limits
from realtime_client import RATE, SHORT, base64_of, silence, talk
from server_fixtures import LONG, Serve, within

pytestmark = pytest.mark.filterwarnings(r"ignore:connect\(\) must be used as a context manager")  # OpenAI's client does


MISTAKES: list[tuple[Any, str | None, str]] = [
    ("not json", None, "no JSON"),
    ("[1]", None, "JSON object"),
    (b"\x00\x01", None, "binary"),
    ({"type": "response.dance"}, "unknown_event_type", "there is no event 'response.dance'"),
    ({}, "unknown_event_type", "there is no event None"),
    ({"type": "input_audio_buffer.append"}, "invalid_value", "audio: Field required"),
    ({"type": "input_audio_buffer.append", "audio": "%%%"}, None, "not base64"),
    ({"type": "input_audio_buffer.append", "audio": "AAAA"}, None, "whole number of samples"),
    ({"type": "conversation.item.create", "item": {"type": "function_call"}}, "invalid_value", "item.type"),
    ({"type": "session.update", "session": {"modalities": ["text"]}}, "unknown_parameter", "session.modalities"),
    ({"type": "session.update", "session": {"half a pair: \ud800": 1}}, "invalid_value", "valid string"),
    ({"type": "session.update", "session": {"type": "transcription"}}, "invalid_value", "no sessions of type"),
    ({"type": "session.update", "session": {"tools": [{}]}}, "invalid_value", "call no tools"),
    ({"type": "session.update", "session": {"audio": {"output": {"speed": 5}}}}, "invalid_value", "audio.output.speed"),
    ({"type": "session.update", "session": {"audio": 3}}, "invalid_value", "session.audio"),
    (
        {"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/opus"}}}}},
        "invalid_value",
        "session.audio.input.format",
    ),
    (
        {"type": "session.update", "session": {"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}},
        "invalid_value",
        "session.audio.input.turn_detection.type",
    ),
    ({"type": "response.create"}, "nothing_to_say", "nothing to answer"),
]


def test_a_mistake_is_one_error_and_the_session_goes_on(serve: Serve, talker: Converser) -> None:
    with talk(serve(talker)) as client:
        client.send("session.update", session={"instructions": ""})
        client.until("session.updated")
        for sent, code, says in MISTAKES:
            if isinstance(sent, dict):
                client.connection.send({**sent, "event_id": "mine"})  # type: ignore[arg-type]
            else:
                client.connection._connection.send(sent)
            (event,) = client.until("error")
            error = event["error"]
            assert says in error["message"] and error["code"] == code
            assert error["event_id"] == ("mine" if isinstance(sent, dict) else None)
            assert error["type"] == "invalid_request_error"
        assert client.write("Still there?")["status"] == "completed"


def test_the_buffer_has_an_end(serve: Serve, talker: Converser) -> None:
    with talk(serve(talker)) as client:
        client.send("session.update", session={"audio": {"input": {"turn_detection": None}}})
        client.until("session.updated")
        client.say(silence(120.0), step=60 * RATE)
        error = client.fails("input_audio_buffer.append", audio=base64_of(silence(0.1)))
        assert error["code"] == "input_audio_buffer_full" and "commit or clear it" in error["message"]
        client.send("input_audio_buffer.clear")
        client.until("input_audio_buffer.cleared")


def test_a_message_has_an_end(serve: Serve, talker: Converser) -> None:
    with talk(serve(talker, Limits(upload_bytes=10_000))) as client:
        client.send("input_audio_buffer.append", audio="A" * 10_000)
        assert "10000 bytes" in client.until("error")[-1]["error"]["message"]
        client.write("Still there?")


def test_what_breaks_in_a_response_is_told_and_the_session_goes_on(
    serve: Serve, talker: Converser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def burn() -> Any:
        raise RuntimeError("the machine is on fire")

    running = serve(talker)
    with talk(running) as client:
        with monkeypatch.context() as broken:
            broken.setattr(talker.batch, "step", burn)
            response = client.ask("Hello.")[-1]["response"]
        assert response["status"] == "failed" and "fire" not in json.dumps(response)
        assert response["status_details"]["error"]["type"] == "server_error"
        assert within(10, lambda: not running.service.admission.running)
        assert client.ask("Hello again.", **SHORT)[-1]["response"]["status"] != "failed"


def test_a_conversation_that_fills_the_context_is_told(serve: Serve, talker: Converser) -> None:
    with talk(serve(talker)) as client:
        response = client.ask("rain " * 1000)[-1]["response"]
        assert response["status"] == "failed" and response["output"] == response["output"][:1]
        assert "context" in response["status_details"]["error"]["message"]


def test_idle_sessions_hold_no_slot_and_dropped_ones_let_go(serve: Serve, slow_talker: Converser) -> None:
    running = serve(slow_talker, Limits(slots=1))
    with talk(running) as idle, contextlib.ExitStack() as leaving:
        client = leaving.enter_context(talk(running))
        client.write("Tell me a story.")
        client.send("response.create")
        client.until("response.output_audio_transcript.delta")
        idle.write("Hello.")
        idle.send("response.create", response=SHORT)
        idle.until("response.created")
        assert within(10, lambda: len(running.service.admission.waiting) == 1)
        client.connection._connection.socket.close()  # no goodbye
        assert idle.until("response.done")[-1]["response"]["status"] == "incomplete"
    assert within(10, lambda: not running.service.admission.running and len(running.audit) == 2)
    assert running.audit[0]["outcome"] == "cancelled"


def test_a_client_that_takes_nothing_is_hung_up_on(
    serve: Serve, talkative: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_module, "SEND_BUFFER_BYTES", 1 << 12)
    running = serve(talkative, Limits(stall_s=0.3))
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
    deaf.connect(running.address)
    address = f"{running.url.replace('http', 'ws')}/v1/realtime"
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": LONG}]}
    with connect(address, sock=deaf, max_queue=1, close_timeout=0.1) as client:
        client.send(json.dumps({"type": "conversation.item.create", "item": item}))
        client.send(json.dumps({"type": "response.create"}))
        assert within(30, lambda: bool(running.service.admission.running))
        assert within(30, lambda: not running.service.admission.running)
        assert within(10, lambda: bool(running.audit)) and running.audit[0]["outcome"] == "cancelled"


def test_who_waits_for_a_slot_may_cancel_or_be_refused(serve: Serve, slow_talker: Converser) -> None:
    running = serve(slow_talker, Limits(slots=1, queue=1))
    with talk(running) as first, talk(running) as second, talk(running) as third:
        for client in (first, second, third):
            client.write("Tell me a story.")
        first.send("response.create")
        first.until("response.output_audio_transcript.delta")
        second.send("response.create")
        second.until("response.created")
        assert within(10, lambda: len(running.service.admission.waiting) == 1)
        third.send("response.create")
        response = third.until("response.done")[-1]["response"]
        assert response["status"] == "failed" and response["status_details"]["error"]["code"] == "overloaded"
        second.send("response.cancel")
        response = second.until("response.done")[-1]["response"]
        assert response["status"] == "cancelled" and response["output"] == []
        assert not running.service.admission.waiting


def test_a_key_opens_it_in_a_header_or_as_pages_send_it(serve: Serve, speaker: Speaker) -> None:
    running = serve(speaker, keys={"ada": {"per_minute": 3}})
    with pytest.raises(InvalidStatus) as refused, talk(running, "wrong"):
        pass
    assert refused.value.response.status_code == 401
    with talk(running, "ada") as client:  # a request
        client.ask("Hello.")  # and another
    address = f"{running.url.replace('http', 'ws')}/v1/realtime?model=toy"
    protocols: Any = ["realtime", f"openai-insecure-api-key.{running.keys['ada']}"]
    with connect(address, subprotocols=protocols) as page:  # and one more
        assert page.subprotocol == "realtime"
        assert json.loads(page.recv())["type"] == "session.created"
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello."}]}
        page.send(json.dumps({"type": "conversation.item.create", "item": item}))
        page.send(json.dumps({"type": "response.create"}))
        error = [json.loads(page.recv()) for _ in range(3)][-1]["error"]
        assert error["code"] == "rate_limit_exceeded"


def test_a_model_that_is_not_here_is_refused_at_the_door(serve: Serve, speaker: Speaker) -> None:
    with pytest.raises(InvalidStatus) as refused, talk(serve(speaker), model="gpt-9"):
        pass
    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body)["error"]["code"] == "model_not_found"
