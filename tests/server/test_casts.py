"""Scripts over our own WebSocket: a voice for each speaker, all in one pass, where the model can."""

import json

import numpy as np
import pytest
from websockets.sync.client import connect

from loquor.audio import pcm16
from loquor.engine.dialogue import DialogueSpeaker
from loquor.voices.recording import RecordedVoice
from toy_longform import toy_waveform, write_toy

SCRIPT = "Speaker 1: Hello.\nSpeaker 2: And goodbye."


@pytest.fixture(scope="module")
def narrator(tmp_path_factory):
    return DialogueSpeaker.open(write_toy(tmp_path_factory.mktemp("longform") / "model", frames_per_token=0.2))


@pytest.fixture
def cast(tmp_path):
    """Two voices that differ, as recordings of the operator."""
    waveforms = {"ada": toy_waveform(), "bob": toy_waveform().flip(0)}
    voices = {name: RecordedVoice(name=name, created="2026-11-21", waveform=each) for name, each in waveforms.items()}
    for name, voice in voices.items():
        voice.save(tmp_path / "voices of the operator" / f"{name}.safetensors")
    return voices


def say(running, text, **settings):
    """All sound of a turn, and its last message."""
    sound = b""
    with connect(running.url.replace("http", "ws") + "/v1/audio/speech/stream") as socket:
        for message in (
            {"type": "session.config", **settings},
            {"type": "input.text", "text": text},
            {"type": "input.done"},
        ):
            socket.send(json.dumps(message))
        while True:
            got = socket.recv(timeout=60)
            if isinstance(got, bytes):
                sound += got
            elif (told := json.loads(got))["type"] in ("audio.done", "error"):
                return sound, told


def test_a_script_is_said_in_one_pass_by_the_voices_of_its_cast(serve, narrator, cast):
    running, chosen = serve(narrator), {"Speaker 1": "bob", "Speaker 2": "ada"}
    sound, told = say(running, SCRIPT, cast=chosen, seed=3, steps=2)
    expected = narrator.speak(SCRIPT, {name: cast[voice] for name, voice in chosen.items()}, seed=3, steps=2)
    other, _ = say(running, SCRIPT, cast={"Speaker 1": "ada", "Speaker 2": "bob"}, seed=3, steps=2)
    assert told["type"] == "audio.done"
    np.testing.assert_array_equal(np.frombuffer(sound, "<i2"), pcm16(expected.waveform.numpy()))
    assert other != sound
    assert running.audit[0]["voice"] == "bob, ada"


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"Speaker 1": "ada", "Speaker 2": "nobody"}, "nobody"),
        ({"Speaker 1": "ada", "Speaker 2": "default"}, "every speaker has a voice"),
    ],
)
def test_a_cast_with_a_hole_is_refused_before_anything_is_said(serve, narrator, cast, chosen, message):
    sound, told = say(serve(narrator), SCRIPT, cast=chosen)
    assert message in told["error"]["message"]
    assert sound == b""


def test_a_model_with_one_voice_at_a_time_says_so(serve, speaker):
    _, told = say(serve(speaker), SCRIPT, cast={"Speaker 1": "default"})
    assert told["status"] == 400
    assert "one voice at a time" in told["error"]["message"]
