"""Speaking over HTTP, with OpenAI's own client: every format, streams, events, and what is told of mistakes."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import av
import httpx2
import openai
import pytest

from loquor.audio import pcm16
from loquor.audio.streaming import FORMATS
from loquor.engine.speaker import Speaker
from loquor.server.service import Limits
from server_fixtures import HOP, SENTENCE, Serve, within

RATE = 24_000


def expected(speaker: Speaker, text: str = SENTENCE, **sampling: Any) -> bytes:
    """What the library says, as 16-bit samples."""
    return pcm16(speaker.speak(text, **sampling).waveform.numpy()).tobytes()


def duration_s(data: bytes) -> float:
    with av.open(io.BytesIO(data)) as container:
        frames = container.decode(audio=0)
        return sum(frame.samples / frame.sample_rate for frame in frames)


@pytest.mark.parametrize("name", FORMATS)
def test_openais_client_gets_every_format(serve: Serve, speaker: Speaker, name: str) -> None:
    audio = serve(speaker).client().audio
    reply = audio.speech.create(model="tts-1", voice="alloy", input=SENTENCE, response_format=name)  # type: ignore[arg-type]
    assert reply.response.headers["content-type"] == FORMATS[name].media_type
    said = expected(speaker)
    if name == "pcm":
        assert reply.content == said
    else:
        assert duration_s(reply.content) == pytest.approx(len(said) / 2 / RATE, abs=0.15)


def test_openais_client_streams_while_speech_is_made(serve: Serve, talkative: Speaker) -> None:
    running = serve(talkative)
    create = running.client().audio.speech.with_streaming_response.create
    with create(model="loquor", voice="Toy", input=SENTENCE, response_format="pcm") as reply:
        parts = reply.iter_bytes()
        got = next(parts)
        assert running.service.admission.running  # it still speaks
        assert len(reply.headers["x-request-id"]) == 16 and reply.headers["x-queue-wait-ms"].isdigit()
        got += b"".join(parts)
    assert got == expected(talkative)


def test_events_carry_the_same_sound(serve: Serve, speaker: Speaker) -> None:
    body = {"model": "toy", "voice": "Toy", "input": SENTENCE, "response_format": "pcm", "stream_format": "sse"}
    reply = httpx2.post(f"{serve(speaker).url}/v1/audio/speech", json=body, timeout=60)
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in reply.text.split("\n\n") if line]
    *deltas, done = events
    assert {event["type"] for event in deltas} == {"speech.audio.delta"}
    said = b"".join(base64.b64decode(event["audio"]) for event in deltas)
    assert said == expected(speaker)
    frames = len(said) // 2 // HOP
    usage = {"input_tokens": len(SENTENCE), "output_tokens": frames, "total_tokens": len(SENTENCE) + frames}
    assert done == {"type": "speech.audio.done", "usage": usage}


def test_seed_guidance_and_steps_are_followed(serve: Serve, speaker: Speaker) -> None:
    create = serve(speaker).client().audio.speech.create
    extra = {"seed": 7, "cfg_scale": 2.0, "steps": 3}
    reply = create(model="toy", voice={"id": "Toy"}, input=SENTENCE, response_format="pcm", extra_body=extra)
    assert reply.content == expected(speaker, seed=7, guidance=2.0, steps=3)


def test_a_whole_file_has_its_length_in_its_header(serve: Serve, speaker: Speaker) -> None:
    create = serve(speaker).client().audio.speech.create
    reply = create(model="toy", voice="Toy", input=SENTENCE, response_format="wav", extra_body={"stream": False})
    assert int.from_bytes(reply.content[4:8], "little") == len(reply.content) - 8


def test_what_is_not_followed_is_named(serve: Serve, speaker: Speaker) -> None:
    create = serve(speaker).client().audio.speech.create
    reply = create(model="toy", voice="Toy", input="Hello.", instructions="whisper", extra_body={"mood": "blue"})
    assert reply.response.headers["x-ignored-fields"] == "instructions, mood"


@pytest.mark.parametrize(
    ("change", "status", "says", "param"),
    [
        ({"input": ""}, 400, "input", "input"),
        ({"input": "  "}, 400, "the text is empty", None),
        ({"input": "x" * 301}, 400, "may have 300 characters", None),
        ({"model": "gpt-9"}, 404, "there is no model 'gpt-9'", None),
        ({"voice": "Tom"}, 404, "there is no voice 'Tom'", None),
        ({"response_format": "wma"}, 400, "response_format", "response_format"),
        ({"speed": 9}, 400, "speed", "speed"),
        ({"seed": -1}, 400, "seed", "seed"),
        ({"seed": False}, 400, "seed: Input should be a valid integer", "seed"),
        ({"ref_audio": "http://127.0.0.1/x.wav"}, 400, "ref_audio is not opened here", None),
    ],
)
def test_a_mistake_is_told_as_openai_tells_it(
    serve: Serve, speaker: Speaker, change: dict[str, Any], status: int, says: str, param: str | None
) -> None:
    body = {"model": "toy", "voice": "Toy", "input": SENTENCE} | change
    reply = httpx2.post(f"{serve(speaker, Limits(characters=300)).url}/v1/audio/speech", json=body, timeout=60)
    assert reply.status_code == status
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert says in error["message"] and error["type"] == "invalid_request_error" and error["param"] == param


def test_no_file_is_opened_because_a_request_names_it(serve: Serve, speaker: Speaker, toy_folder: Path) -> None:
    """The voice exists, and its path is right."""
    url = f"{serve(speaker).url}/v1/audio/speech"
    path = toy_folder / "voices" / "Toy.safetensors"
    assert path.is_file()
    for voice in (str(path), f"../{path.parent.name}/Toy", f"file://{path}"):
        reply = httpx2.post(url, json={"model": "toy", "voice": voice, "input": "Hello."}, timeout=60)
        assert reply.status_code == 404 and reply.json()["error"]["code"] == "voice_not_found"


def test_speech_that_breaks_off_does_not_pass_for_whole(
    serve: Serve, talkative: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, batch = serve(talkative), talkative._worker.batch
    step, calls = batch.step, [0]

    def break_down() -> Any:
        calls[0] += 1
        if calls[0] > 5:
            raise RuntimeError("the machine is on fire")
        return step()

    monkeypatch.setattr(batch, "step", break_down)
    with pytest.raises((openai.APIConnectionError, httpx2.RemoteProtocolError)):
        running.client().audio.speech.create(model="toy", voice="Toy", input=SENTENCE, response_format="pcm")
    calls[0] = 0
    body = {"model": "toy", "voice": "Toy", "input": SENTENCE, "response_format": "pcm", "stream_format": "sse"}
    last = httpx2.post(f"{running.url}/v1/audio/speech", json=body, timeout=60).text.split("\n\n")[-2]
    event = json.loads(last.removeprefix("data: "))
    assert event["type"] == "speech.audio.error" and "fire" not in last  # nothing of our insides
    assert within(10, lambda: not running.service.admission.running)


def test_every_synthesis_leaves_a_line_and_figures(serve: Serve, speaker: Speaker) -> None:
    running = serve(speaker)
    running.client().audio.speech.create(model="toy", voice="Toy", input=SENTENCE, response_format="pcm")
    assert within(10, lambda: bool(running.audit))
    note = running.audit[0]
    assert note["client"] == "anonymous" and note["voice"] == "Toy" and note["outcome"] == "end"
    assert note["characters"] == len(SENTENCE) and len(str(note["text_sha256"])) == 64
    assert SENTENCE not in str(note)
    metrics = httpx2.get(f"{running.url}/metrics", timeout=60).text
    assert 'loquor_requests_total{outcome="end",protocol="openai"} 1.0' in metrics
    assert f"loquor_audio_seconds_total {note['seconds']}" in metrics
    for name in ("first_audio_seconds_count 1.0", "real_time_factor_count 1.0", "slots 8.0", "slots_in_use 0.0"):
        assert f"loquor_{name}" in metrics
    assert httpx2.get(f"{running.url}/health", timeout=60).json()["model"] == "toy"
    assert httpx2.get(f"{running.url}/ready", timeout=60).json() == {"ready": True}


def test_models_are_listed_with_their_other_names(serve: Serve, speaker: Speaker) -> None:
    client = serve(speaker).client()
    assert [model.id for model in client.models.list()][:2] == ["toy", "loquor"]
    assert client.models.retrieve("tts-1").owned_by == "loquor"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-9")


def test_pages_elsewhere_may_not_ask_unless_the_operator_says_so(serve: Serve, speaker: Speaker) -> None:
    headers = {"Origin": "https://example.org"}
    closed = httpx2.get(f"{serve(speaker).url}/health", headers=headers, timeout=60)
    opened = httpx2.get(f"{serve(speaker, origins=('https://example.org',)).url}/health", headers=headers, timeout=60)
    assert "access-control-allow-origin" not in closed.headers
    assert opened.headers["access-control-allow-origin"] == "https://example.org"


def test_pages_elsewhere_may_not_send_forms_either_which_browsers_let_them(serve: Serve, speaker: Speaker) -> None:
    running = serve(speaker)

    def form(origin: str) -> int:
        files = {"audio_sample": ("a.wav", b"RIFF", "audio/wav")}
        said = {"name": "a", "consent": "mine"}
        sent = httpx2.post(
            f"{running.url}/v1/audio/voices", data=said, files=files, headers={"Origin": origin}, timeout=60
        )
        return sent.status_code

    assert form("https://evil.example") == 403
    assert form(running.url) == 400  # our own page may; this is no recording


@pytest.mark.parametrize("is_declared", [True, False], ids=["declared", "in pieces"])
def test_a_body_that_is_too_large_is_turned_away(serve: Serve, speaker: Speaker, is_declared: bool) -> None:
    running = serve(speaker, Limits(body_bytes=1000))
    body = json.dumps({"model": "toy", "voice": "Toy", "input": "a" * 2000}).encode()
    content = body if is_declared else iter([body[:600], body[600:]])
    reply = httpx2.post(
        f"{running.url}/v1/audio/speech", content=content, headers={"content-type": "application/json"}, timeout=60
    )
    assert reply.status_code == 413
