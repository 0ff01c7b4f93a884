"""The Realtime API with OpenAI's own client: texts read aloud."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest

from loquor.audio import Waveform, pcm16
from loquor.engine.speaker import Speaker
from realtime_client import SHORT, base64_of, kinds_of, sound_of, talk, tone
from server_fixtures import SENTENCE, Serve, within

pytestmark = pytest.mark.filterwarnings(r"ignore:connect\(\) must be used as a context manager")  # OpenAI's client does


def test_a_text_is_read_aloud(serve: Serve, speaker: Speaker) -> None:
    running = serve(speaker)
    with talk(running) as client:
        events = client.ask(SENTENCE)
    assert kinds_of(events) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    assert sound_of(events).tobytes() == pcm16(speaker.speak(SENTENCE).waveform.numpy()).tobytes()
    response = events[-1]["response"]
    assert response["status"] == "completed" and response["output"][0]["content"][0]["transcript"] == SENTENCE
    deltas = [e["delta"] for e in events if e["type"] == "response.output_audio_transcript.delta"]
    assert "".join(deltas) == SENTENCE and len(deltas) > 1  # as it is said, not at once
    assert response["usage"]["input_tokens"] == len(SENTENCE)
    assert within(10, lambda: bool(running.audit))
    note = running.audit[0]
    assert note["protocol"] == "openai-realtime" and note["outcome"] == "end" and note["characters"] == len(SENTENCE)


def test_the_program_of_the_guide_works(
    serve: Serve, speaker: Speaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = Path(__file__).resolve().parents[2] / "docs" / "realtime-api.md"
    (code,) = re.findall(r"```python\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code.replace("http://127.0.0.1:8000", serve(speaker).url), names)
    names["client"].close()
    said = pcm16(speaker.speak("Good morning.").waveform.numpy()).tobytes()
    assert (tmp_path / "speech.pcm").read_bytes() == said


def test_each_response_reads_what_is_new(serve: Serve, speaker: Speaker) -> None:
    with talk(serve(speaker)) as client:
        client.ask("Hello.")
        client.write("How are you?")
        events = client.ask("Fine?")
        assert events[-1]["response"]["output"][0]["content"][0]["transcript"] == "How are you?\nFine?"
        error = client.fails("response.create")
        assert error["code"] == "nothing_to_say" and "create an item with text first" in error["message"]


def test_a_response_may_bring_its_own_text_and_voice(serve: Serve, speaker: Speaker) -> None:
    given = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Beside the point."}]}]
    with talk(serve(speaker)) as client:
        client.send("response.create", response={"input": given, "conversation": "none", "metadata": {"a": "b"}})
        events = client.until("response.done")
        assert "conversation.item.added" not in kinds_of(events)
        response = events[-1]["response"]
        assert response["conversation_id"] is None and response["metadata"] == {"a": "b"}
        assert response["output"][0]["content"][0]["transcript"] == "Beside the point."
        error = client.fails("response.create", response={"input": given, "audio": {"output": {"voice": "Tom"}}})
        assert error["code"] == "voice_not_found"


def test_what_a_reading_model_cannot_do_is_said(serve: Serve, speaker: Speaker) -> None:
    with talk(serve(speaker)) as client:
        error = client.fails("input_audio_buffer.append", audio=base64_of(tone(0.1)))
        assert error["code"] == "no_audio_input" and "reads text aloud" in error["message"]
        error = client.fails("session.update", session={"type": "realtime", "output_modalities": ["text"]})
        assert error["param"] == "output_modalities"
        error = client.fails("session.update", session={"audio": {"input": {"transcription": {"model": "whisper-1"}}}})
        assert "this server has no transcriber" in error["message"]
        client.write("Hello.")
        assert client.fails("response.create", response=SHORT)["param"] == "max_output_tokens"


class Parrot:
    """A transcriber that always hears the same."""

    def transcribe(self, waveform: Waveform, sample_rate_hz: int) -> str:
        assert len(waveform)
        return "Polly wants a cracker."


def test_with_a_transcriber_it_says_what_it_heard(serve: Serve, speaker: Speaker) -> None:
    with talk(serve(speaker, transcriber=Parrot())) as client:
        client.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
        client.say(tone(0.5))
        client.send("input_audio_buffer.commit")
        client.send("response.create")
        events = client.until("response.done")
        (heard,) = (e for e in events if e["type"] == "conversation.item.input_audio_transcription.completed")
        assert heard["transcript"] == "Polly wants a cracker." and heard["usage"] == {
            "type": "duration",
            "seconds": 0.5,
        }
        assert events[-1]["response"]["output"][0]["content"][0]["transcript"] == heard["transcript"]


@pytest.mark.parametrize("name", ["audio/pcmu", "audio/pcma"])
def test_telephone_formats_are_spoken(serve: Serve, speaker: Speaker, name: str) -> None:
    with talk(serve(speaker)) as client:
        client.send("session.update", session={"audio": {"output": {"format": {"type": name}}}})
        told = client.last("session.updated")["session"]["audio"]["output"]["format"]
        assert told == {"type": name}
        events = client.ask("Hello.")
    data = b"".join(base64.b64decode(e["delta"]) for e in events if e["type"] == "response.output_audio.delta")
    said = speaker.speak("Hello.")
    assert len(data) == pytest.approx(said.seconds * 8000, abs=1)
