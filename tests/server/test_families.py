"""Every family of models behind one server: OpenAI's client asks as ever, and gets what the library says."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import soundfile

from loquor import Converser
from loquor.audio import Waveform, pcm16, resample
from loquor.engine.dialogue import DialogueSpeaker
from loquor.voices.recording import RecordedVoice
from server_fixtures import Serve, within
from toy_longform import toy_waveform
from toy_longform import write_toy as write_toy_longform

TEXT = "The rain in Spain."
SERVED_HZ = 24_000


@pytest.fixture(scope="module")
def narrator(tmp_path_factory: pytest.TempPathFactory) -> DialogueSpeaker:
    folder = tmp_path_factory.mktemp("longform") / "model"
    return DialogueSpeaker.open(write_toy_longform(folder, frames_per_token=0.2))


def served(waveform: Waveform, rate_hz: int) -> Waveform:
    """16-bit samples as a client gets them, whatever the model's rate."""
    return pcm16(resample(waveform, rate_hz, SERVED_HZ))


def test_a_vita_model_reads_a_text_at_the_rate_clients_expect(serve: Serve, talker: Converser) -> None:
    running = serve(talker)
    create = running.client().audio.speech.create
    reply = create(model="toy", voice="alloy", input=TEXT, response_format="pcm", extra_body={"seed": 3})
    said = served(talker.speak(TEXT, seed=3).waveform.numpy(), talker.sample_rate_hz)
    got = np.frombuffer(reply.content, dtype=np.int16)
    assert talker.sample_rate_hz != SERVED_HZ
    assert len(got) == len(said) and np.abs(got.astype(int) - said).max() <= 1  # rounded twice
    assert within(10, lambda: bool(running.audit)) and running.audit[0]["seconds"]
    assert running.audit[0]["characters"] == len(TEXT)


def test_its_speech_fits_every_container(serve: Serve, talker: Converser) -> None:
    create = serve(talker).client().audio.speech.create
    for form in ("mp3", "opus"):
        audio = create(model="toy", voice="alloy", input=TEXT, response_format=form).content  # type: ignore[arg-type]
        assert soundfile.info(io.BytesIO(audio)).duration > 0.5


def test_what_it_does_not_know_is_one_clear_error(serve: Serve, talker: Converser) -> None:
    refused = httpx2.post(
        f"{serve(talker).url}/v1/audio/speech", json={"model": "toy", "input": TEXT, "steps": 3}, timeout=60
    )
    assert refused.status_code == 400
    assert "knows no guidance and no steps" in refused.json()["error"]["message"]


@pytest.mark.parametrize("text", [TEXT, "Ada: Hello.\nAda: And goodbye."])
def test_a_long_form_model_reads_a_text_or_a_script(
    serve: Serve, narrator: DialogueSpeaker, tmp_path: Path, text: str
) -> None:
    voice = RecordedVoice(name="ada", created="2026-11-21", waveform=toy_waveform())
    voice.save(tmp_path / "voices of the operator" / "ada.safetensors")
    create = serve(narrator).client().audio.speech.create
    extra: dict[str, Any] = {"seed": 3, "steps": 2}
    reply = create(model="toy", voice="ada", input=text, response_format="pcm", extra_body=extra)
    assert reply.content == pcm16(narrator.speak(text, voice, **extra).waveform.numpy()).tobytes()
