"""ElevenLabs' own client, and its WebSockets as its documentation has them."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import Any

import av
import httpx
import numpy as np
import pytest
from elevenlabs import VoiceSettings
from elevenlabs.client import ElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.types import AudioOutput, AudioOutputMulti, FinalOutput
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from loquor.audio import pcm16, resample
from loquor.engine.speaker import Speaker
from loquor.server.service import Limits
from server_fixtures import LONG, SENTENCE, Running, Serve, within

ClientOf = Callable[..., ElevenLabs]


def expected(speaker: Speaker, text: str = SENTENCE, **sampling: Any) -> bytes:
    return pcm16(speaker.speak(text, "Toy", **sampling).waveform.numpy()).tobytes()


@pytest.fixture
def client_of() -> Iterator[ClientOf]:
    """Their client, for a running server and perhaps a key."""
    with httpx.Client(timeout=60) as http:
        yield lambda running, key="none": ElevenLabs(base_url=running.url, api_key=key, httpx_client=http)


@contextmanager
def opened(running: Running, rest: str, **options: Any) -> Iterator[ClientConnection]:
    with connect(f"{running.url.replace('http', 'ws')}/v1/text-to-speech/{rest}", **options) as socket:
        yield socket


def all_of(socket: ClientConnection) -> tuple[list[dict[str, Any]], int]:
    """Everything until the server closes, and how it does."""
    messages = list[dict[str, Any]]()
    with suppress(ConnectionClosedError):
        messages.extend(json.loads(message) for message in socket)
    assert socket.close_code is not None
    return messages, socket.close_code


def sound_of(messages: list[dict[str, Any]], context: str | None = None) -> bytes:
    return b"".join(
        base64.b64decode(message["audio"])
        for message in messages
        if message.get("audio") and message.get("contextId") == context
    )


# HTTP


def test_their_client_converts_and_streams(serve: Serve, speaker: Speaker, client_of: ClientOf) -> None:
    speech = client_of(serve(speaker)).text_to_speech
    said = expected(speaker, seed=4)
    for method in (speech.convert, speech.stream):
        parts = method("Toy", text=SENTENCE, model_id="eleven_flash_v2_5", output_format="pcm_24000", seed=4)
        assert b"".join(parts) == said


@pytest.mark.parametrize(
    "name", ["mp3_22050_32", "mp3_44100_128", "opus_48000_64", "wav_16000", "pcm_16000", "pcm_44100", "ulaw_8000"]
)
def test_every_kind_of_format_holds_the_speech(serve: Serve, speaker: Speaker, client_of: ClientOf, name: str) -> None:
    data = b"".join(client_of(serve(speaker)).text_to_speech.convert("Toy", text=SENTENCE, output_format=name))
    codec, rate = name.split("_", maxsplit=1)[0], int(name.split("_")[1])
    waveform = speaker.speak(SENTENCE, "Toy").waveform.numpy()
    seconds = len(waveform) / 24_000
    if codec == "pcm":
        heard = np.frombuffer(data, "<i2") / 32767
        assert np.abs(heard - resample(waveform, 24_000, rate).clip(-1, 1)).max() < 2e-3
    elif codec == "ulaw":
        assert len(data) == pytest.approx(seconds * rate, abs=2)
    else:
        with av.open(io.BytesIO(data), "r") as container:
            frames = list(container.decode(audio=0))
        assert sum(frame.samples / frame.sample_rate for frame in frames) == pytest.approx(seconds, abs=0.15)
        assert frames[0].sample_rate == rate


def test_voices_are_listed_as_they_list_them(serve: Serve, speaker: Speaker, client_of: ClientOf) -> None:
    voices = client_of(serve(speaker)).voices
    assert [(voice.voice_id, voice.category) for voice in voices.get_all().voices] == [("Toy", "premade")]
    found = voices.search(search="to", page_size=1)
    assert [voice.name for voice in found.voices] == ["Toy"] and not found.has_more and found.total_count == 1
    assert not voices.search(search="tom").voices
    assert voices.get("Toy").name == "Toy"
    with pytest.raises(ApiError) as caught:
        voices.get("Tom")
    assert caught.value.status_code == 404


@pytest.mark.parametrize(
    ("voice", "change", "status"),
    [
        ("Tom", {}, 404),
        ("Toy", {"model_id": "gpt-9"}, 404),
        ("Toy", {"output_format": "wma_44100"}, 400),
        ("Toy", {"output_format": "mp3_44101_128"}, 400),
        ("Toy", {"text": "?"}, 400),
        ("Toy", {"voice_settings": VoiceSettings(speed=9)}, 400),
    ],
)
def test_what_cannot_be_has_its_status(
    serve: Serve, speaker: Speaker, client_of: ClientOf, voice: str, change: dict[str, Any], status: int
) -> None:
    with pytest.raises(ApiError) as caught:
        list(client_of(serve(speaker)).text_to_speech.convert(voice, **({"text": SENTENCE} | change)))
    assert caught.value.status_code == status and "message" in caught.value.body["error"]


def test_their_header_carries_our_keys(serve: Serve, speaker: Speaker, client_of: ClientOf) -> None:
    running = serve(speaker, keys={"ada": {}})
    with pytest.raises(ApiError) as caught:
        client_of(running).voices.get_all()
    assert caught.value.status_code == 401
    assert client_of(running, running.keys["ada"]).voices.get_all().voices


# One text a socket


@pytest.mark.filterwarnings("ignore:ConnectionClosed.code is deprecated")  # they still read it
def test_their_client_streams_text_in_and_speech_out(serve: Serve, speaker: Speaker, client_of: ClientOf) -> None:
    running = serve(speaker, keys={"ada": {}})
    client = client_of(running, running.keys["ada"])
    client.text_to_speech._ws_base_url = running.url.replace("http", "ws")  # the client knows only wss
    words = iter(["One two, ", "three four."])
    settings = VoiceSettings(stability=0.5)
    said = client.text_to_speech.convert_realtime(
        "Toy", text=words, model_id="eleven_turbo_v2_5", output_format="pcm_24000", voice_settings=settings
    )
    assert b"".join(said) == expected(speaker, "One two, three four. ")
    assert within(10, lambda: bool(running.audit))
    assert (running.audit[0]["protocol"], running.audit[0]["client"]) == ("elevenlabs", "ada")


def test_a_text_is_said_and_its_characters_have_times(serve: Serve, talkative: Speaker) -> None:
    with opened(serve(talkative), "Toy/stream-input?output_format=pcm_24000&seed=2") as socket:
        socket.send(json.dumps({"text": " ", "generation_config": {"chunk_length_schedule": [50]}}))
        for word in SENTENCE.split():
            socket.send(json.dumps({"text": f"{word} ", "try_trigger_generation": True}))
        socket.send(json.dumps({"text": ""}))
        messages, code = all_of(socket)
    *pieces, last = messages
    assert code == 1000 and FinalOutput.model_validate(last).is_final and last["audio"] is None
    assert sound_of(pieces) == expected(talkative, f"{SENTENCE} ", seed=2)
    outputs = [AudioOutput.model_validate(piece) for piece in pieces]
    told = [output.alignment for output in outputs if output.alignment]
    assert "".join("".join(alignment.chars or []) for alignment in told) == f"{SENTENCE} "
    for alignment in told:
        assert (
            len(alignment.chars or [])
            == len(alignment.char_start_times_ms or [])
            == len(alignment.char_durations_ms or [])
        )
    starts, at_ms = [], 0.0
    for output in outputs:
        if output.alignment and output.audio:
            starts += [at_ms + start for start in output.alignment.char_start_times_ms or []]
        at_ms += len(base64.b64decode(output.audio)) / 48
    assert all(later >= earlier - 40 for earlier, later in pairwise(starts))
    assert starts[-1] <= at_ms


def test_a_flush_says_what_there_is_and_the_socket_stays(serve: Serve, speaker: Speaker) -> None:
    with opened(serve(speaker), "Toy/stream-input?output_format=pcm_24000") as socket:
        socket.send(json.dumps({"text": "One two. ", "flush": True}))
        assert json.loads(socket.recv(30))["audio"]
        socket.send(json.dumps({"text": "Three four. "}))
        socket.send(json.dumps({"text": ""}))
        messages, code = all_of(socket)
    assert code == 1000 and messages[-1]["isFinal"]


@pytest.mark.parametrize(
    ("rest", "sent", "says", "code"),
    [
        ("Tom/stream-input", {"text": "Hello. "}, "no voice 'Tom'", 1008),
        ("Toy/stream-input?model_id=gpt-9", None, "no model 'gpt-9'", 1008),
        ("Toy/stream-input?output_format=ogg", None, "no output_format 'ogg'", 1008),
        ("Toy/stream-input?inactivity_timeout=1000", None, "inactivity_timeout", 1008),
        ("Toy/stream-input", "{", "no JSON", 1008),
        ("Toy/stream-input", {"text": 3}, "text: ", 1008),
        ("Toy/stream-input", {"text": " ", "voice_settings": {"speed": 9}}, "voice_settings.speed", 1008),
        ("Toy/stream-input", {"text": "a" * 400}, "may have 300 characters", 1008),
        ("Toy/stream-input", {"text": "a" * 2000}, "may have 1000 bytes", 1009),
        ("Toy/stream-input", {"text": "?! ", "flush": True}, "no text came", 1008),
    ],
)
def test_a_mistake_is_told_once_and_ends_the_socket(
    serve: Serve, speaker: Speaker, rest: str, sent: Any, says: str, code: int
) -> None:
    limits = Limits(characters=300, body_bytes=1000)
    if says == "no text came":
        rest += "?inactivity_timeout=0.2"
    with opened(serve(speaker, limits), rest) as socket:
        if sent is not None:
            socket.send(sent if isinstance(sent, str) else json.dumps(sent))
        messages, closed = all_of(socket)
    assert [set(message) for message in messages] == [{"message", "error", "code"}]
    assert says in messages[0]["message"] and closed == code


@pytest.mark.parametrize("field", ["xi_api_key", "xi-api-key", "authorization"])
def test_a_key_may_come_in_the_first_message(serve: Serve, speaker: Speaker, field: str) -> None:
    running = serve(speaker, keys={"ada": {}})
    secret = f"Bearer {running.keys['ada']}" if field == "authorization" else running.keys["ada"]
    for first, is_known in (({field: secret}, True), ({}, False)):
        with opened(running, "Toy/stream-input?output_format=pcm_24000") as socket:
            socket.send(json.dumps({"text": " ", **first}))
            if is_known:
                socket.send(json.dumps({"text": "Yes. "}))
                socket.send(json.dumps({"text": ""}))
            messages, code = all_of(socket)
        assert code == (1000 if is_known else 1008)
        assert is_known or messages[0]["error"] == "invalid_api_key"


# Several


def test_several_texts_share_a_socket_and_each_has_its_own_sound(serve: Serve, speaker: Speaker) -> None:
    running = serve(speaker)
    texts = {"one": "One two, three four.", "other": "Yes and no, and so on."}
    with opened(running, "Toy/multi-stream-input?output_format=pcm_24000") as socket:
        for name, text in texts.items():
            socket.send(json.dumps({"text": " ", "context_id": name}))
            for word in text.split(" "):
                socket.send(json.dumps({"text": f"{word} ", "context_id": name}))
        socket.send(json.dumps({"text": "", "context_id": "one"}))  # keeps it alive
        socket.send(json.dumps({"close_socket": True}))
        messages, code = all_of(socket)
    assert code == 1000 and all(AudioOutputMulti.model_validate(m).context_id in texts for m in messages if m["audio"])
    assert sorted(message["contextId"] for message in messages if message["isFinal"]) == sorted(texts)
    for name, text in texts.items():
        heard, alone = (np.frombuffer(data, "<i2") for data in (sound_of(messages, name), expected(speaker, text)))
        assert len(heard) == len(alone) and np.abs(heard / 32767 - alone / 32767).max() < 1e-2  # they share a batch


def test_a_context_that_is_closed_stops_and_frees_its_slot(
    serve: Serve, talkative: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = talkative._worker.batch.step
    monkeypatch.setattr(talkative._worker.batch, "step", lambda: (time.sleep(0.05), step())[1])
    running = serve(talkative)
    with opened(running, "Toy/multi-stream-input?output_format=pcm_24000") as socket:
        socket.send(json.dumps({"text": LONG[:400], "context_id": "a"}))
        assert json.loads(socket.recv(30))["contextId"] == "a"
        (stream,) = talkative._worker.batch.streams
        before = stream.frames
        socket.send(json.dumps({"context_id": "a", "close_context": True}))
        while not json.loads(socket.recv(30))["isFinal"]:
            pass
        assert within(5, lambda: not running.service.admission.running) and stream.frames <= before + 4
        socket.send(json.dumps({"text": "Tom ", "context_id": "b"}))
        socket.send(json.dumps({"context_id": "b", "flush": True}))
        socket.send(json.dumps({"context_id": "b", "close_context": True}))  # what is flushed is said to its end
        socket.send(json.dumps({"close_socket": True}))
        messages, _ = all_of(socket)
    assert sound_of(messages, "b") == expected(talkative, "Tom ")


def test_one_text_that_cannot_be_said_leaves_the_others(serve: Serve, speaker: Speaker) -> None:
    with opened(serve(speaker), "Toy/multi-stream-input?output_format=pcm_24000") as socket:
        socket.send(json.dumps({"text": "?! ", "context_id": "bad"}))
        socket.send(json.dumps({"text": "Yes. ", "context_id": "good"}))
        socket.send(json.dumps({"text": 3, "context_id": "good"}))
        for number in range(4):
            socket.send(json.dumps({"text": "No. ", "context_id": f"more {number}"}))
        socket.send(json.dumps({"close_socket": True}))
        messages, code = all_of(socket)
    errors = {message["contextId"]: message["message"] for message in messages if "message" in message}
    assert code == 1000 and "nothing that can be spoken" in errors["bad"]
    assert "text: " in errors["default"] and "5 contexts" in errors["more 3"] and len(errors) == 3
    heard, alone = (np.frombuffer(data, "<i2") for data in (sound_of(messages, "good"), expected(speaker, "Yes. ")))
    assert len(heard) == len(alone)


def test_a_client_that_leaves_frees_all_its_slots(serve: Serve, talkative: Speaker) -> None:
    running = serve(talkative)
    with opened(running, "Toy/multi-stream-input") as socket:
        for name in "abc":
            socket.send(json.dumps({"text": LONG, "context_id": name}))
        assert within(30, lambda: len(running.service.admission.running) == 3)
    assert within(10, lambda: not running.service.admission.running)
    assert within(10, lambda: [note["outcome"] for note in running.audit] == ["cancelled"] * 3)


def test_a_context_given_up_for_want_of_text_can_be_begun_again(serve: Serve, speaker: Speaker) -> None:
    rest = "Toy/multi-stream-input?output_format=pcm_24000&inactivity_timeout=0.3"
    with opened(serve(speaker), rest) as socket:
        socket.send(json.dumps({"text": "?! ", "context_id": "a", "flush": True}))
        assert "no text came" in json.loads(socket.recv(60))["message"]
        socket.send(json.dumps({"text": f"{SENTENCE} ", "context_id": "a"}))
        socket.send(json.dumps({"close_socket": True}))
        messages, code = all_of(socket)
    assert code == 1000 and sound_of(messages, "a") == expected(speaker, f"{SENTENCE} ")
