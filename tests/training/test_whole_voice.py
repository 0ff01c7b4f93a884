"""`loquor train embedded`: from an empty folder to a model that speaks, with its figures and its card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import loquor
from loquor.errors import ConfigError, InputError
from loquor.models.codec import Codec
from loquor.training import embedded, speakers, whole_voice
from loquor.training.sentences import everyday_sentences
from loquor.training.texts import words
from loquor.training.whole_voice import FIGURES, Said, read_plan, train_voice


@dataclass(frozen=True)
class Hummer:
    """A teacher who hums every text, as long as it has letters."""

    voice: str
    install: str = "nothing to install"

    def check(self) -> None:
        pass

    def say(self, folder: Path, pieces: Mapping[str, str]) -> None:
        for key, piece in pieces.items():
            seconds = 0.2 + 0.07 * len(piece)
            hum = 0.1 * np.sin(2 * np.pi * 150 * np.arange(round(seconds * 16_000)) / 16_000)
            soundfile.write(folder / f"{key}.wav", hum, 16_000)
            (folder / f"{key}.lab").write_text(f"#\n0.1 100 pau\n{seconds:.3f} 100 m\n", encoding="ascii")


@dataclass(frozen=True)
class Heard:
    wer: float
    interval: tuple[float, float]


def listen(said: Said) -> Heard:
    """Every word is misheard where there is sound."""
    loud = [np.abs(np.asarray(waveform)).max() > 0 for _, waveform, rate in said if rate == 24_000]
    return Heard(float(np.mean(loud)), (0.0, 1.0))


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model of the recipe in miniature; its codec makes frames as long as the real one."""
    codec = replace(
        embedded.CODEC,
        vae_dim=8,
        encoder_depths=(1, 1, 1, 1),
        decoder_depths="1-1-1-1",
        encoder_widths=(16, 8, 8, 16),
        decoder_widths=(16, 8, 8, 16),
    )
    stack = replace(embedded.DECODER, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    stack = replace(stack, num_key_value_heads=1)
    head = replace(embedded.MODEL.head, hidden_size=16, latent_size=8, head_layers=1)
    model = replace(embedded.MODEL, text=stack, speech=stack, codec=codec, head=head)
    for name, value in (("CODEC", codec), ("DECODER", stack), ("MODEL", model)):
        monkeypatch.setattr(embedded, name, value)
    monkeypatch.setattr(speakers, "SPEEDS", (0.9, 1.1))
    monkeypatch.setattr(whole_voice, "LEAST_SENTENCES", 240)
    monkeypatch.setattr(whole_voice, "synthesiser", lambda name: Hummer(name.partition(":")[2]))


@pytest.fixture
def changes(tmp_path: Path) -> list[str]:
    known = sorted({w for text in islice(everyday_sentences(0), 2000) for w in words(text)})
    (tmp_path / "dictionary.js").write_text("".join(f'  "{w}": "AH0",\n' for w in known))
    few = "scale=0.0001", "test_sentences=2", "workers=1", "teachers=[hum:one, hum:two]", "sentences=[70, 65]"
    return [f"out={tmp_path / 'voice'}", f"dictionary={tmp_path / 'dictionary.js'}", *few]


def test_a_voice_is_made_from_nothing_and_a_second_call_only_looks_at_it(
    tiny: None, changes: list[str], tmp_path: Path
) -> None:
    told: list[str] = []

    model = train_voice(read_plan(changes), listen, told.append)

    assert [line.split(":")[0].split(" ")[0] for line in told] == [
        "corpus", "corpus", "codec", "latents", "speech", "decoder", "model", "figures",
    ]  # fmt: skip
    speaker = loquor.load(model)
    assert speaker.voices == ["en-Clara_woman", "en-Martin_man"]
    assert len(speaker.speak("Yes.", "en-Martin_man").waveform) >= 3200
    codec, mean = Codec(embedded.CODEC).eval(), torch.zeros(1, 2, 8)
    embedded._load_codec(codec, tmp_path / "voice" / "latents", tmp_path / "voice" / "decoder")
    said, learned = speaker.model.codec.decoder(mean), codec.decoder(mean)  # type: ignore[misc]
    torch.testing.assert_close(said, learned * 10**0.2, rtol=0, atol=0.05 * float(learned.abs().max()))  # 4 dB louder
    figures = json.loads((tmp_path / "voice" / FIGURES).read_text())
    assert figures["voices"]["en-Martin_man"]["teacher"]["wer"] == 1.0
    card = (model / "README.md").read_text()
    assert "| `hum:two` | 240 |" in card
    assert "$" not in card

    weights = (model / "model.safetensors").read_bytes()
    train_voice(read_plan(changes), listen, told.append)
    assert (model / "model.safetensors").read_bytes() == weights
    assert json.loads((tmp_path / "voice" / FIGURES).read_text())["hours"] > figures["hours"]


def test_a_plan_that_cannot_be_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="where to write"):
        read_plan(["scale=0.1"])
    with pytest.raises(ConfigError, match="there is no key teacher"):
        read_plan(["out=x", "teacher=flite:rms"])
    with pytest.raises(ConfigError, match="1 teachers and 3 numbers"):
        read_plan(["out=x", "teachers=[flite:rms]"])
    with pytest.raises(ConfigError, match="scale must be above 0"):
        read_plan(["out=x", "scale=2"])
    with pytest.raises(InputError, match="no synthesiser 'sing:me'"):
        train_voice(read_plan([f"out={tmp_path / 'v'}", "teachers=[sing:me]", "sentences=[9]"]), listen, print)
    assert not (tmp_path / "v").exists()
