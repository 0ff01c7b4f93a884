"""`speed`, in every protocol that has it: the same speech, faster or slower at its own pitch, and marked afterwards."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import httpx
import numpy as np
import pytest
from elevenlabs import VoiceSettings
from elevenlabs.client import ElevenLabs
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from loquor import Converser
from loquor.audio import pcm16
from loquor.audio.watermark import detect
from loquor.engine.pace import Paced, at_pace
from loquor.engine.speaker import Speaker
from realtime_client import SHORT, sound_of, talk
from server_fixtures import LONG, SENTENCE, Running, Serve, within

TWO = f"{SENTENCE} And then it wakes."  # utterances


def expected(speaker: Speaker, speed: float, text: str = SENTENCE) -> bytes:
    """What the library says at its own speed, changed as a whole, and marked then."""
    with speaker.session("Toy") as session:
        assert session.leave_unmarked()
        session.push(text)
        session.end()
        chunks = list(at_pace(iter(session), Paced(speed, speaker.sample_rate_hz, is_marked=True)))
    assert chunks[0].start_s == 0 and all(len(chunk.waveform) for chunk in chunks)
    return b"".join(pcm16(chunk.waveform.numpy()).tobytes() for chunk in chunks)


def elevenlabs_socket(running: Running) -> ClientConnection:
    address = running.url.replace("http", "ws")
    return connect(f"{address}/v1/text-to-speech/Toy/stream-input?output_format=pcm_24000")


def all_of(socket: ClientConnection) -> list[dict[str, Any]]:
    """Every message until the server closes."""
    messages = list[dict[str, Any]]()
    with suppress(ConnectionClosedError):
        messages.extend(json.loads(message) for message in socket)
    return messages


@pytest.mark.parametrize("speed", [0.25, 0.9, 1.2, 4])
def test_openai_s_client_is_spoken_to_as_fast_as_it_asks(serve: Serve, speaker: Speaker, speed: float) -> None:
    running = serve(speaker)
    create = running.client().audio.speech.create
    said = create(model="tts-1", voice="Toy", input=TWO, response_format="pcm", speed=speed).content
    assert said == expected(speaker, speed, TWO)
    plain = create(model="tts-1", voice="Toy", input=TWO, response_format="pcm").content
    assert len(said) * speed == pytest.approx(len(plain), rel=0.05)
    assert within(10, lambda: len(running.audit) == 2)
    seconds = [note["seconds"] for note in running.audit]
    assert seconds[0] == pytest.approx(seconds[1] / speed, rel=0.01), "what a listener hears of it"


def test_what_is_said_faster_is_known_for_generated(serve: Serve, talkative: Speaker) -> None:
    create = serve(talkative).client().audio.speech.create
    said = create(model="toy", voice="Toy", input=LONG[:800], response_format="pcm", speed=1.25).content
    sound = np.frombuffer(said, "<i2").astype(np.float32) / 32767
    assert detect(sound, 24_000).present


def test_elevenlabs_client_is_too_over_http_and_over_its_websocket(serve: Serve, speaker: Speaker) -> None:
    running = serve(speaker)
    with httpx.Client(timeout=60) as http:
        speech = ElevenLabs(base_url=running.url, api_key="none", httpx_client=http).text_to_speech
        settings = VoiceSettings(speed=0.8)
        parts = speech.stream("Toy", text=SENTENCE, output_format="pcm_24000", voice_settings=settings)
        assert b"".join(parts) == expected(speaker, 0.8)
    with elevenlabs_socket(running) as socket:
        socket.send(json.dumps({"text": " ", "voice_settings": {"speed": 0.8, "stability": 0.5}}))
        for text in (SENTENCE + " ", ""):
            socket.send(json.dumps({"text": text}))
        sound = b"".join(base64.b64decode(message["audio"] or "") for message in all_of(socket))
    assert sound == expected(speaker, 0.8, SENTENCE + " ")


def test_in_elevenlabs_protocol_a_text_has_one_speed(serve: Serve, speaker: Speaker) -> None:
    with elevenlabs_socket(serve(speaker)) as socket:
        for speed in (0.8, 0.9):
            socket.send(json.dumps({"text": "Hello ", "voice_settings": {"speed": speed}}))
        assert "a text has one speed" in all_of(socket)[-1]["message"]


@pytest.mark.filterwarnings(r"ignore:connect\(\) must be used as a context manager")  # OpenAI's client does
def test_a_realtime_session_reads_aloud_as_fast_as_it_is_set(serve: Serve, speaker: Speaker) -> None:
    with talk(serve(speaker)) as client:
        client.send("session.update", session={"type": "realtime", "audio": {"output": {"speed": 1.2, "voice": "Toy"}}})
        assert client.last("session.updated")["session"]["audio"]["output"]["speed"] == 1.2
        events = client.ask(TWO)
    assert sound_of(events).tobytes() == expected(speaker, 1.2, TWO)
    assert events[-1]["response"]["output"][0]["content"][0]["transcript"] == TWO


@pytest.mark.filterwarnings(r"ignore:connect\(\) must be used as a context manager")
def test_an_answer_is_given_faster_with_all_its_words(serve: Serve, talker: Converser) -> None:
    def answer(speed: float) -> tuple[int, str]:
        with talk(serve(talker)) as client:
            client.send("session.update", session={"type": "realtime", "audio": {"output": {"speed": speed}}})
            client.last("session.updated")
            events = client.ask("Hello.", **SHORT)
        return len(sound_of(events)), events[-1]["response"]["output"][0]["content"][0]["transcript"]

    (slow, words), (fast, same) = answer(1), answer(2)
    assert same == words and 2 * fast == pytest.approx(slow, rel=0.1)


def test_on_our_own_websocket_words_are_told_when_they_are_heard(serve: Serve, speaker: Speaker) -> None:
    def said(running: Running, **config: Any) -> tuple[bytes, list[dict[str, Any]], int]:
        sound, words = b"", list[dict[str, Any]]()
        with connect(f"{running.url.replace('http', 'ws')}/v1/audio/speech/stream") as socket:
            for message in (
                {"type": "session.config", "voice": "Toy", **config},
                {"type": "input.text", "text": SENTENCE},
            ):
                socket.send(json.dumps(message))
            socket.send('{"type": "input.done"}')
            while True:
                told = socket.recv(60)
                if isinstance(told, bytes):
                    sound += told
                elif (known := json.loads(told))["type"] == "audio.words" and known["final"]:
                    words += known["words"]
                elif known["type"] == "audio.done":
                    return sound, words, known["audio_ms"]

    running = serve(speaker)
    _, words, audio_ms = said(running)
    sound, sooner, shorter_ms = said(running, speed=2)
    assert sound == expected(speaker, 2)
    assert shorter_ms == pytest.approx(audio_ms / 2, abs=40)
    assert [word["text"] for word in sooner] == [word["text"] for word in words]
    assert all(a["start_ms"] == pytest.approx(b["start_ms"] / 2, abs=150) for a, b in zip(sooner, words, strict=True))
