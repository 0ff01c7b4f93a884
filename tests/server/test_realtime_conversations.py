"""The Realtime API with OpenAI's own client: conversations with a model that listens."""

from __future__ import annotations

import base64
import importlib.util

import numpy as np
import pytest

from loquor import Converser
from loquor.audio import read
from loquor.evaluation.transcriber import PACKAGE as RECOGNISER
from loquor.models.vita.prompt import LUKE
from realtime_client import RATE, SHORT, Talk, kinds_of, silence, sound_of, talk, tone
from server_fixtures import Serve, within

needs_silero = pytest.mark.skipif(
    not (importlib.util.find_spec("silero_vad") and importlib.util.find_spec("onnxruntime")),
    reason="the voice activity detector is not installed",
)

pytestmark = pytest.mark.filterwarnings(r"ignore:connect\(\) must be used as a context manager")  # OpenAI's client does


def test_a_session_tells_what_it_is_set_to_and_is_changed_in_part(serve: Serve, talker: Converser) -> None:
    with serve(talker).client().realtime.connect(model="gpt-realtime") as connection:
        client = Talk(connection)
        session = client.last("session.created")["session"]
        assert session["instructions"] == LUKE and session["model"] == "toy"
        assert session["audio"]["input"]["turn_detection"]["type"] == "server_vad"
        vad = {"type": "server_vad", "threshold": 0.7, "silence_duration_ms": 300, "create_response": False}
        client.send(
            "session.update", session={"instructions": "Be brief.", "audio": {"input": {"turn_detection": vad}}}
        )
        session = client.last("session.updated")["session"]
        assert session["instructions"] == "Be brief."
        assert session["audio"]["input"]["turn_detection"] == {
            **vad,
            "prefix_padding_ms": 300,
            "interrupt_response": True,
            "idle_timeout_ms": None,
        }
        assert session["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": RATE}


def test_a_question_is_answered_in_text_and_sound(serve: Serve, talker: Converser) -> None:
    running = serve(talker)
    with talk(running) as client:
        events = client.ask("Hello there.", **SHORT)
    response = events[-1]["response"]
    assert response["status"] == "incomplete" and response["status_details"]["reason"] == "max_output_tokens"
    transcript = "".join(e["delta"] for e in events if e["type"] == "response.output_audio_transcript.delta")
    reply = talker.chat("Hello there.", max_new_tokens=24)
    seconds = sum(chunk.end_s - chunk.start_s for chunk in reply)
    assert transcript == reply.text == response["output"][0]["content"][0]["transcript"]
    assert len(sound_of(events)) == pytest.approx(seconds * RATE, abs=8)
    usage = response["usage"]
    assert usage["output_tokens"] == 24 and usage["output_token_details"]["audio_tokens"] == len(reply.codes)
    assert usage["input_tokens"] == len(reply.stream.prompt)
    assert within(10, lambda: bool(running.audit))
    assert running.audit[0]["characters"] == len(reply.text) and running.audit[0]["first_audio_ms"]


def test_it_can_answer_in_text_alone(serve: Serve, talker: Converser) -> None:
    with talk(serve(talker)) as client:
        events = client.ask("Hello there.", output_modalities=["text"], **SHORT)
    assert "response.output_text.delta" in kinds_of(events) and not len(sound_of(events))
    part = events[-1]["response"]["output"][0]["content"][0]
    assert part["type"] == "output_text"
    assert part["text"] == "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")


def test_every_answer_knows_what_was_said_before(serve: Serve, talker: Converser) -> None:
    with talk(serve(talker)) as client:
        events = client.ask("Hello there.", **SHORT)
        first, answer = events[-1]["response"]["usage"], events[-1]["response"]["output"][0]
        second = client.ask("Hello there.", **SHORT)[-1]["response"]["usage"]
        assert second["input_tokens"] > first["input_tokens"] + first["output_tokens"]
        client.send("conversation.item.delete", item_id=answer["id"])
        assert client.last("conversation.item.deleted")["item_id"] == answer["id"]
        assert client.fails("conversation.item.retrieve", item_id=answer["id"])["code"] == "item_not_found"
        third = client.ask("Hello there.", **SHORT)[-1]["response"]["usage"]
        assert third["input_tokens"] < second["input_tokens"] + second["output_tokens"]


def test_items_stand_where_the_client_puts_them(serve: Serve, talker: Converser) -> None:
    with talk(serve(talker)) as client:
        last = client.write("And then?")
        item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "the rain"}]}
        client.send("conversation.item.create", item={**item, "id": "before"}, previous_item_id="root")
        added = client.last("conversation.item.added")
        assert added["previous_item_id"] is None and added["item"]["id"] == "before"
        client.until("conversation.item.done")
        error = client.fails("conversation.item.create", item={**item, "id": "before"})
        assert error["code"] == "item_exists"
        assert client.fails("conversation.item.create", item=item, previous_item_id="x")["param"] == "previous_item_id"
        client.send("response.create", response=SHORT)
        events = client.until("response.done")
        assert events[2]["previous_item_id"] == last["id"]
        client.send("conversation.item.retrieve", item_id="before")
        assert client.last("conversation.item.retrieved")["item"]["content"][0]["text"] == "the rain"


def test_committed_sound_is_listened_to(serve: Serve, talker: Converser) -> None:
    with talk(serve(talker)) as client:
        client.send("session.update", session={"audio": {"input": {"turn_detection": None}}})
        client.until("session.updated")
        client.say(tone(1.0))
        client.send("input_audio_buffer.commit")
        events = client.until("conversation.item.done")
        assert kinds_of(events)[0] == "input_audio_buffer.committed"
        assert events[-1]["item"]["id"] == events[0]["item_id"]
        assert events[-1]["item"]["content"] == [{"type": "input_audio", "transcript": None}]
        client.send("response.create", response=SHORT)
        usage = client.until("response.done")[-1]["response"]["usage"]
        assert usage["input_token_details"]["audio_tokens"] == 13  # of 80 ms, the last begun
        assert client.fails("input_audio_buffer.commit")["code"] == "input_audio_buffer_commit_empty"
        client.say(tone(0.5))
        client.send("input_audio_buffer.clear")
        client.until("input_audio_buffer.cleared")
        assert client.fails("input_audio_buffer.commit")["code"] == "input_audio_buffer_commit_empty"


def test_who_speaks_and_pauses_is_answered(serve: Serve, talker: Converser, by_loudness: None) -> None:
    with talk(serve(talker)) as client:
        client.send("session.update", session=SHORT)
        client.until("session.updated")
        client.say(np.concatenate([silence(0.5), tone(0.8), silence(0.9)]))
        events = client.until("response.done")
    kinds = [kind for kind in kinds_of(events) if not kind.startswith("response.")]
    assert kinds == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    started, stopped = events[0], events[1]
    assert started["audio_start_ms"] == pytest.approx(200, abs=40)  # with 300 ms before it
    assert stopped["audio_end_ms"] == pytest.approx(1300, abs=40)
    assert started["item_id"] == stopped["item_id"] == events[2]["item_id"]
    assert len(sound_of(events)) and events[-1]["response"]["usage"]["input_token_details"]["audio_tokens"] >= 10


def test_a_telephone_is_listened_to(serve: Serve, talker: Converser) -> None:
    with talk(serve(talker)) as client:
        form = {"format": {"type": "audio/pcmu"}, "turn_detection": None}
        client.send("session.update", session={"audio": {"input": form}})
        client.until("session.updated")
        client.send("input_audio_buffer.append", audio=base64.b64encode(bytes(range(256)) * 32).decode())  # 1.024 s
        client.send("input_audio_buffer.commit")
        client.send("response.create", response=SHORT)
        usage = client.until("response.done")[-1]["response"]["usage"]
    assert usage["input_token_details"]["audio_tokens"] == 13


def test_who_speaks_meanwhile_interrupts_and_the_rest_was_never_said(
    serve: Serve, slow_talker: Converser, by_loudness: None
) -> None:
    running = serve(slow_talker)
    with talk(running) as client:
        client.write("Tell me a story.")
        client.send("response.create")
        client.until("response.output_audio.delta")
        client.say(np.concatenate([silence(0.1), tone(0.5)]))
        events = client.until("response.done")
        assert "input_audio_buffer.speech_started" in kinds_of(events)
        response = events[-1]["response"]
        assert response["status"] == "cancelled"
        assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        assert response["output"][0]["status"] == "incomplete"
        assert within(10, lambda: not running.service.admission.running)
        cut = client.last("conversation.item.truncated")
        assert cut["item_id"] == response["output"][0]["id"]
        client.send("conversation.item.truncate", item_id=cut["item_id"], content_index=0, audio_end_ms=0)
        assert client.last("conversation.item.truncated")["audio_end_ms"] == 0
        client.send("conversation.item.retrieve", item_id=cut["item_id"])
        assert client.last("conversation.item.retrieved")["item"]["content"][0]["transcript"] == ""
        client.send("session.update", session=SHORT)
        client.say(silence(0.9))  # the turn that interrupted is answered in its turn
        assert client.until("response.done")[-1]["response"]["status"] == "incomplete"
    assert within(10, lambda: [note["outcome"] for note in running.audit] == ["cancelled", "limit"])


def test_an_answer_still_playing_is_interrupted_too(serve: Serve, talker: Converser, by_loudness: None) -> None:
    with talk(serve(talker)) as client:
        events = client.ask("Tell me a story.", max_output_tokens=140)
        seconds = len(sound_of(events)) / RATE
        assert seconds > 0.8
        client.say(tone(0.4))
        events = client.until("conversation.item.truncated")
        assert [e["type"] for e in events] == ["input_audio_buffer.speech_started", "conversation.item.truncated"]
        assert 0 <= events[-1]["audio_end_ms"] < 1000 * seconds


def test_history_holds_what_was_heard(serve: Serve, talker: Converser) -> None:
    with talk(serve(talker)) as client:
        events = client.ask("Hello there.", max_output_tokens=140)
        usage, item = events[-1]["response"]["usage"], events[-1]["response"]["output"][0]
        lasts_ms = 1000 * len(sound_of(events)) // RATE
        late = {"item_id": item["id"], "content_index": 0, "audio_end_ms": lasts_ms + 500}
        assert "were sent" in client.fails("conversation.item.truncate", **late)["message"]
        client.send("conversation.item.truncate", **{**late, "audio_end_ms": 160})
        assert client.last("conversation.item.truncated")["audio_end_ms"] == 160
        client.send("conversation.item.retrieve", item_id=item["id"])
        short = client.last("conversation.item.retrieved")["item"]["content"][0]["transcript"]
        assert item["content"][0]["transcript"].startswith(short) and len(short) < len(item["content"][0]["transcript"])
        heard = client.ask("Hello there.", **SHORT)[-1]["response"]["usage"]
        assert heard["input_token_details"]["audio_tokens"] == 2  # codes of 80 ms
        assert heard["input_tokens"] < usage["input_tokens"] + usage["output_tokens"]
        assert (
            "only spoken answers"
            in client.fails("conversation.item.truncate", **{**late, "item_id": client.write("x")["id"]})["message"]
        )


def test_a_client_cancels(serve: Serve, slow_talker: Converser) -> None:
    running = serve(slow_talker)
    with talk(running) as client:
        client.write("Tell me a story.")
        client.send("response.create")
        client.until("response.output_audio_transcript.delta")
        client.send("response.create", event_id="again")
        error = client.until("error")[-1]["error"]
        assert error["code"] == "conversation_already_has_active_response" and error["event_id"] == "again"
        client.send("response.cancel")
        response = client.until("response.done")[-1]["response"]
        assert response["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
        assert within(10, lambda: not running.service.admission.running)
        assert client.fails("response.cancel")["code"] == "response_cancel_not_active"
        assert client.ask("Go on.", **SHORT)[-1]["response"]["status"] == "incomplete"


@needs_silero
@pytest.mark.skipif(not RECOGNISER.is_installed, reason="the recording is in the recogniser's package")
def test_real_speech_is_found_and_answered(serve: Serve, talker: Converser) -> None:
    speech = read(RECOGNISER.file("assets", "beckett.wav"), RATE)[: 4 * RATE]
    with talk(serve(talker)) as client:
        vad = {"type": "server_vad", "silence_duration_ms": 1500}
        client.send("session.update", session={**SHORT, "audio": {"input": {"turn_detection": vad}}})
        client.until("session.updated")
        client.say(np.concatenate([speech, silence(2.0)]))
        events = client.until("response.done")
    assert events[0]["type"] == "input_audio_buffer.speech_started"
    assert events[-1]["response"]["usage"]["input_token_details"]["audio_tokens"] > 10
