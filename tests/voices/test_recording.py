"""A recording becomes a voice, mended where that can be done, refused where no voice can come of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from loquor.audio.io import Section
from loquor.audio.level import level_dbfs
from loquor.audio.resample import resample
from loquor.errors import AudioError, VoiceError
from loquor.models import EMBEDDED
from loquor.voices.card import Fingerprint, PromptCard, RecordingCard, read_card
from loquor.voices.cleaning import clean
from loquor.voices.recording import RecordedVoice, open_voice, record
from loquor.voices.voice import Voice
from voices import toy_preset as toy

RATE_HZ = 24_000
CARD = {"name": "ada", "language": "en", "consent": "«برای آزمون»", "source": "made by a test", "created": "2026-11-21"}
SHAPES = Fingerprint(text_layers=1, speech_layers=2, kv_heads=2, head_dim=4, hidden_size=8)


def speechlike(seconds: float = 5.0, rate_hz: int = RATE_HZ, seed: int = 0) -> np.ndarray:
    """A buzz with breath that swells and fades, in spectrum and peaks like speech: [T] float32."""
    return np.resize(four_seconds(rate_hz, seed), round(seconds * rate_hz))


@cache
def four_seconds(rate_hz: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(4 * rate_hz) / rate_hz
    pitches = range(130, min(8000, round(0.45 * rate_hz)), 130)
    buzz = sum(130 / hertz * np.cos(2 * np.pi * (hertz * t + rng.random())) for hertz in pitches)
    syllables = np.clip(np.sin(2 * np.pi * 1.5 * t), 0.02, None) ** 2 * (1 + 0.5 * np.sin(2 * np.pi * 0.25 * t))
    return (0.05 * syllables * (buzz + 0.1 * rng.standard_normal(len(t)))).astype(np.float32)


def recorded(**changes: object) -> RecordedVoice:
    return RecordedVoice(**{**CARD, "waveform": torch.from_numpy(speechlike(1.0)), **changes})


def wav(folder: Path, waveform: np.ndarray, rate_hz: int = RATE_HZ, name: str = "ada") -> Path:
    path = folder / f"{name}.wav"
    soundfile.write(path, waveform, rate_hz, subtype="FLOAT")
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "voices" / "ada.safetensors"


def test_a_recording_saved_and_opened_is_the_same(file: Path) -> None:
    voice = recorded()

    voice.save(file)
    opened = open_voice(file)

    assert isinstance(opened, RecordedVoice)
    assert {f: getattr(opened, f) for f in CARD} == CARD
    assert torch.equal(opened.waveform, voice.waveform)
    assert [p.name for p in file.parent.iterdir()] == [file.name]
    assert load_file(file)["waveform"].shape == (RATE_HZ,)


def test_a_card_tells_the_kinds_apart_without_the_tensors(tmp_path: Path) -> None:
    recorded().save(tmp_path / "a.safetensors")
    prompt = Voice(name="b", model=SHAPES, tensors=toy.toy_tensors())
    prompt.save(tmp_path / "b.safetensors")

    recording_card, prompt_card = (read_card(tmp_path / f"{name}.safetensors") for name in "ab")

    assert isinstance(recording_card, RecordingCard) and recording_card.kind == "recording"
    assert isinstance(prompt_card, PromptCard) and prompt_card.kind == "realtime prompt"
    assert isinstance(open_voice(tmp_path / "b.safetensors"), Voice)


def test_voices_saved_before_there_were_two_kinds_are_prompts(tmp_path: Path) -> None:
    header = {"format": 1, "name": "old", "model": dataclasses.asdict(SHAPES)}
    save_file(toy.toy_tensors(), tmp_path / "old.safetensors", {"loquor": json.dumps(header)})

    assert isinstance(open_voice(tmp_path / "old.safetensors"), Voice)
    for shipped in (EMBEDDED / "voices").glob("*.safetensors"):
        assert read_card(shipped).kind == "realtime prompt"


def test_a_recording_fits_long_form_models_and_a_prompt_its_own() -> None:
    prompt = Voice(name="b", model=SHAPES, tensors=toy.toy_tensors())

    assert recorded().misfits(None) == []
    assert recorded().misfits(SHAPES) == ["a Realtime model needs a prompt that it made itself"]
    assert prompt.misfits(SHAPES) == []
    assert prompt.misfits(dataclasses.replace(SHAPES, head_dim=8)) == ["head_dim 4, not 8"]
    assert prompt.misfits(None) == ["a long-form model needs a recording"]


def test_neither_kind_is_opened_as_the_other(tmp_path: Path) -> None:
    recorded().save(tmp_path / "a.safetensors")
    Voice(name="b", model=SHAPES, tensors=toy.toy_tensors()).save(tmp_path / "b.safetensors")

    with pytest.raises(VoiceError, match=r"a\.safetensors is a recording"):
        Voice.open(tmp_path / "a.safetensors")
    with pytest.raises(VoiceError, match=r"b\.safetensors is a realtime prompt") as caught:
        RecordedVoice.open(tmp_path / "b.safetensors")
    assert "voices create" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "drawing"}, "unknown kind 'drawing'"),
        ({"kind": None}, "unknown kind None"),
        ({"kind": ["recording"]}, "unknown kind"),
        ({"created": "yesterday"}, "created must be a date"),
        ({"created": 7}, "created has a value of the wrong type"),
        ({"model": {}}, "unknown key model"),
        ({"name": ""}, "name must be text"),
        ({"format": 2}, "format 1"),
    ],
)
def test_a_header_that_cannot_be_used_is_named(file: Path, changes: dict[str, object], message: str) -> None:
    file.parent.mkdir()
    header = {"format": 1, "kind": "recording", **CARD, **changes}
    save_file({"waveform": torch.ones(10)}, file, {"loquor": json.dumps(header)})

    with pytest.raises(VoiceError, match=message) as caught:
        open_voice(file)
    assert "ada.safetensors" in str(caught.value)


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"sound": torch.ones(10)},
        {"waveform": torch.ones(10), "more": torch.ones(1)},
        {"waveform": torch.ones(0)},
        {"waveform": torch.ones(1, 10)},
        {"waveform": torch.ones(10, dtype=torch.float64)},
        {"waveform": torch.tensor([0.0, float("nan")])},
    ],
)
def test_tensors_that_are_no_waveform_are_refused(file: Path, tensors: dict[str, torch.Tensor]) -> None:
    file.parent.mkdir()
    save_file(tensors, file, {"loquor": json.dumps({"format": 1, "kind": "recording", **CARD})})

    with pytest.raises(VoiceError, match=r"ada\.safetensors"):
        RecordedVoice.open(file)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_opens_or_gives_one_clear_error(tmp_path: Path, data: st.DataObject) -> None:
    file = tmp_path / "damaged.safetensors"
    recorded(waveform=torch.ones(20)).save(file)
    content = bytearray(file.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] = data.draw(st.integers(0, 255))
    file.write_bytes(content[: data.draw(st.sampled_from([len(content), position]))])

    with contextlib.suppress(VoiceError):
        open_voice(file)


def test_a_voice_in_an_audio_file_is_cleaned_and_named_by_it(tmp_path: Path) -> None:
    path = wav(tmp_path, speechlike(), name="en-Ada_woman")

    voice = open_voice(path)

    assert isinstance(voice, RecordedVoice)
    assert (voice.name, voice.language, voice.consent) == ("en-Ada_woman", "en", "")
    assert voice.created == date.today().isoformat()
    assert "en-Ada_woman.wav" in voice.source
    assert voice.level_dbfs == pytest.approx(-25, abs=0.01)


@given(st.integers(0, 100), st.floats(0, 2), st.floats(0, 2), st.floats(0.1, 5), st.floats(-0.5, 0.5))
@settings(max_examples=20)
def test_silence_level_and_offset_make_no_difference(
    seed: int, before_s: float, after_s: float, loudness: float, offset: float
) -> None:
    speech = speechlike(3.5, seed=seed)
    silences = [np.zeros(round(s * RATE_HZ), dtype=np.float32) for s in (before_s, after_s)]
    disguised = loudness * np.concatenate([silences[0], speech, silences[1]]) + np.float32(offset)

    plain, cleaned = clean(speech, "plain"), clean(disguised, "disguised")

    assert cleaned.after_dbfs == pytest.approx(-25, abs=0.05)
    assert len(cleaned.waveform) == pytest.approx(len(plain.waveform), abs=0.15 * RATE_HZ)  # margins and whole blocks
    assert cleaned.start_s == pytest.approx(before_s + plain.start_s, abs=0.1)
    assert np.abs(cleaned.waveform.mean()) < 1e-4


def test_a_section_is_used_and_named(tmp_path: Path) -> None:
    path = wav(tmp_path, np.concatenate([speechlike(30, seed=1), speechlike(30, seed=2), speechlike(30, seed=3)]))

    voice, cleaned = record(path, "ada", "she agreed", section=Section(40, 50))

    assert cleaned.read_s == 10
    assert voice.seconds == pytest.approx(10, abs=0.7)
    assert voice.consent == "she agreed"
    first, last = (float(part) for part in voice.source.split(", ")[1].removesuffix(" s").split(" to "))
    assert 40 <= first < 41 and 49 < last <= 50


def test_stereo_at_8_khz_works_with_a_warning(tmp_path: Path) -> None:
    sound = speechlike(5, 8000)
    path = wav(tmp_path, np.stack([sound, 0.5 * sound], axis=1), 8000)

    voice, cleaned = record(path)

    assert voice.seconds == pytest.approx(5, abs=0.4)
    (warning,) = cleaned.warnings
    assert "nothing above 4 kHz" in warning


@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 44_100])
def test_wide_and_unclipped_recordings_pass_without_a_warning(rate_hz: int) -> None:
    sound = resample(speechlike(5, rate_hz), rate_hz, RATE_HZ)

    assert clean(sound, "sound").warnings == ()


@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 44_100])
@pytest.mark.parametrize("loudness", [0.1, 1.0])
def test_clipping_is_heard_at_any_rate_and_level(rate_hz: int, loudness: float) -> None:
    sound = loudness * speechlike(5, rate_hz)
    half = np.abs(sound).max() / 2

    (warning,) = clean(resample(sound.clip(-half, half), rate_hz, RATE_HZ), "clipped").warnings

    assert "clipped" in warning


def test_from_audio_logs_its_warnings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = wav(tmp_path, speechlike(5, 8000), 8000)
    with caplog.at_level(logging.WARNING, "loquor"):
        RecordedVoice.from_audio(path, consent="she agreed")
    assert f"{path}: its band is narrow" in caplog.text


def bad_recording(folder: Path, kind: str) -> Path:
    """A file that no voice can be made of."""
    t = np.arange(5 * RATE_HZ)
    sounds = {
        "0.2 s": speechlike(0.2),
        "2.9 s": speechlike(2.9),
        "61 s": speechlike(62),
        "silence": np.zeros(len(t), dtype=np.float32),
        "closed microphone": 1e-4 * np.random.default_rng(0).standard_normal(len(t)).astype(np.float32),
        "DC": np.full(len(t), 0.5, dtype=np.float32),
        "a click": (t == 1000).astype(np.float32),
        "NaN": np.where(t == 30_000, np.nan, speechlike()).astype(np.float32),
    }
    path = folder / "bad.wav"
    if kind in sounds:
        wav(folder, sounds[kind], name="bad")
    elif kind == "DC at 16 kHz":
        wav(folder, np.full(5 * 16_000, 0.5, dtype=np.float32), 16_000, name="bad")
    elif kind == "text":
        path.write_text("This is no sound.\n" * 100)
    elif kind == "nothing":
        path.touch()
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("0.2 s", r"has 0\.\d s of sound, a voice needs at least 3"),
        ("2.9 s", r"has 2\.\d s of sound, a voice needs at least 3"),
        ("61 s", r"has 6\d\.\d s of sound, a voice may have at most 60"),
        ("silence", "is silent"),
        ("closed microphone", "is silent"),
        ("DC", "is silent"),
        ("DC at 16 kHz", "is silent"),
        ("a click", r"is silent but for 0\.\d\d of 5\.0 s"),
        ("NaN", r"no number at 1\.25 s"),
        ("text", "holds no audio"),
        ("nothing", "holds no audio"),
        ("absent", "does not exist"),
    ],
)
def test_a_recording_without_a_voice_is_one_clear_error(tmp_path: Path, kind: str, message: str) -> None:
    path = bad_recording(tmp_path, kind)

    with pytest.raises((VoiceError, AudioError), match=message) as caught:
        RecordedVoice.from_audio(path)
    assert str(path) in str(caught.value)


def test_of_a_two_hour_recording_little_is_read(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    soundfile.write(path, speechlike(130, 16_000), 16_000)
    data = bytearray(path.read_bytes())
    hours = 2 * 3600 * 16_000 * 2
    data[4:8], data[40:44] = (hours + 36).to_bytes(4, "little"), hours.to_bytes(4, "little")
    path.write_bytes(data)
    os.truncate(path, 44 + hours)  # a hole: it takes no space, but it can be read

    with pytest.raises(AudioError, match="longer than 120 s") as caught:
        RecordedVoice.from_audio(path)
    assert "start and an end" in caught.value.hint
    voice, _ = record(path, section=Section(100, 110))
    assert voice.seconds == pytest.approx(10, abs=0.7)


def test_levels_are_told_before_and_after(tmp_path: Path) -> None:
    sound = speechlike()

    cleaned = clean(sound, "sound")

    kept = sound[round(cleaned.start_s * RATE_HZ) : round(cleaned.end_s * RATE_HZ)]
    assert cleaned.before_dbfs == pytest.approx(level_dbfs(kept), abs=0.01)
    assert (cleaned.read_s, cleaned.after_dbfs) == (5.0, pytest.approx(-25, abs=0.01))
