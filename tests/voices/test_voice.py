"""A saved voice is the voice; a broken file is an error and never half a file."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from loquor.errors import VoiceError
from loquor.voices.card import Fingerprint, read_card
from loquor.voices.voice import Voice, fingerprint, import_preset
from voices import toy_preset as toy

SHAPES = Fingerprint(text_layers=1, speech_layers=2, kv_heads=2, head_dim=4, hidden_size=8)
CARD = {"name": "en-Toy_woman", "language": "en", "consent": "«برای آزمون»", "source": "made by a test"}


def toy_voice(**changes: object) -> Voice:
    return Voice(**{**CARD, "model": SHAPES, "tensors": toy.toy_tensors(), **changes})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "voices" / "en-Toy_woman.safetensors"


def test_a_voice_saved_and_opened_is_the_same(file: Path) -> None:
    voice = toy_voice(model=dataclasses.replace(SHAPES, weights="sha256:abc"))

    voice.save(file)
    opened = Voice.open(file)

    assert {f: getattr(opened, f) for f in CARD} == CARD
    assert opened.model == voice.model
    assert set(opened.tensors) == set(voice.tensors)
    assert all(torch.equal(opened.tensors[name], tensor) for name, tensor in voice.tensors.items())
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_a_card_is_read_without_the_tensors(file: Path) -> None:
    toy_voice().save(file)

    card = read_card(file)

    assert card.name == "en-Toy_woman"
    assert card.consent == "«برای آزمون»"
    assert card.model == SHAPES


def test_an_imported_preset_takes_name_and_language_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "it-Spk0_woman.pt").write_bytes(toy.toy_preset())
    (tmp_path / "narrator.pt").write_bytes(toy.toy_preset())

    voice = import_preset(tmp_path / "it-Spk0_woman.pt", consent="published under MIT")

    assert (voice.name, voice.language, voice.consent) == ("it-Spk0_woman", "it", "published under MIT")
    assert voice.model == SHAPES
    assert voice.length("tts_lm") == 5
    assert [key.shape for key, _ in voice.layers("neg_tts_lm")] == [(1, 2, 1, 4)] * 2
    assert len(voice.layers("lm")) == 1
    assert import_preset(tmp_path / "narrator.pt").language == ""


def test_a_voice_of_another_model_is_refused_with_every_difference() -> None:
    voice = toy_voice(model=dataclasses.replace(SHAPES, weights="a"))

    voice.require_model(SHAPES)  # a model that does not know its hash
    voice.require_model(dataclasses.replace(SHAPES, weights="a"))
    with pytest.raises(VoiceError, match="speech_layers 2, not 20; head_dim 4, not 64"):
        voice.require_model(dataclasses.replace(SHAPES, speech_layers=20, head_dim=64))
    with pytest.raises(VoiceError, match="weights a, not b"):
        voice.require_model(dataclasses.replace(SHAPES, weights="b"))


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("lm.key.0", None),
        ("tts_lm.value.1", None),
        ("neg_lm.last_hidden_state", None),
        ("lm.key.0", torch.zeros(1, 2, 9, 4)),
        ("lm.key.0", torch.zeros(3)),
        ("neg_tts_lm.value.0", torch.zeros(1, 3, 1, 4)),
        ("lm.last_hidden_state", torch.zeros(2, 3, 8)),
        ("lm.last_hidden_state", torch.zeros(1, 3, 9)),
        ("lm.value.0", torch.zeros(1, 2, 3, 4, dtype=torch.int64)),
        ("lm.key.7", torch.zeros(1, 2, 3, 4)),
        ("extra", torch.zeros(1)),
    ],
)
def test_tensors_that_are_no_voice_are_refused(name: str, tensor: torch.Tensor | None) -> None:
    tensors = toy.toy_tensors()
    tensors.pop(name, None)
    if tensor is not None:
        tensors[name] = tensor

    with pytest.raises(VoiceError):
        fingerprint(tensors)


def test_a_voice_cannot_claim_shapes_it_does_not_have() -> None:
    with pytest.raises(VoiceError, match="kv_heads 8, not 2"):
        toy_voice(model=dataclasses.replace(SHAPES, kv_heads=8))


def test_a_failed_save_leaves_what_was_there(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy_voice().save(file)
    before = file.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(VoiceError, match="No space left"):
        toy_voice(name="other").save(file)

    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "no voice"),
        ("{", "cannot be used"),
        ("[]", "format 1"),
        (json.dumps({**CARD, "format": 2}), "format 1"),
        (json.dumps({**CARD, "format": 1}), "missing keys"),
        (json.dumps({**CARD, "format": 1, "model": dataclasses.asdict(SHAPES), "mood": "sad"}), "unknown key mood"),
        (
            json.dumps({**CARD, "format": 1, "name": 7, "model": dataclasses.asdict(SHAPES)}),
            "name has a value of the wrong type: 7",
        ),
        (json.dumps({**CARD, "format": 1, "model": {**dataclasses.asdict(SHAPES), "kv_heads": "2"}}), "kv_heads"),
        (json.dumps({**CARD, "format": 1, "model": {**dataclasses.asdict(SHAPES), "kv_heads": 3}}), "declares"),
    ],
)
def test_a_header_that_cannot_be_used_is_named(tmp_path: Path, header: str | None, message: str) -> None:
    file = tmp_path / "odd.safetensors"
    save_file(toy.toy_tensors(), file, {"loquor": header} if header is not None else {"format": "pt"})

    with pytest.raises(VoiceError, match=message) as caught:
        Voice.open(file)

    assert "odd.safetensors" in str(caught.value)


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(toy.toy_preset())

    with pytest.raises(VoiceError, match="is no voice") as caught:
        Voice.open(tmp_path / "a.pt")
    assert "import" in caught.value.hint
    with pytest.raises(VoiceError, match="does not exist"):
        Voice.open(tmp_path / "b.safetensors")
    with pytest.raises(VoiceError):
        Voice.open(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_voice_file_opens_or_gives_one_clear_error(tmp_path: Path, data: st.DataObject) -> None:
    file = tmp_path / "damaged.safetensors"
    toy_voice().save(file)
    content = bytearray(file.read_bytes())
    header = int.from_bytes(content[:8], "little")
    position = data.draw(st.integers(0, header + 16))
    content[position] = data.draw(st.integers(0, 255))
    file.write_bytes(content[: data.draw(st.sampled_from([len(content), position]))])

    with contextlib.suppress(VoiceError):
        Voice.open(file)


def test_any_tool_can_read_the_tensors(file: Path) -> None:
    toy_voice().save(file)

    assert torch.equal(load_file(file)["lm.key.0"], toy.toy_tensors()["lm.key.0"])
