"""`loquor inspect` and `doctor` on VITA-Audio checkpoints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from loquor.cli.model_checks import model_checks
from loquor.engine.audio_tokenizer import INSIDE
from loquor.models.vita.checkpoint import LICENCE
from loquor.models.vita.vocabulary import TOKENIZER_CONFIG
from toy_converser import write_toy_converser
from toy_vita import toy_vita, write_toy_vita


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_toy_vita(tmp_path / "model")


def test_inspect_shows_the_modules_and_the_licence(folder, loquor):
    facts = loquor("inspect", folder, "--depth", "2", "--json").json
    rows = {row["name"]: row for row in facts["modules"]}
    model = toy_vita()
    assert (facts["family"], facts["licence"]) == ("VITA-Audio", LICENCE)
    assert rows[""]["parameters"] == sum(p.numel() for p in model.parameters())
    assert rows["predictors.3"]["parameters"] == sum(p.numel() for p in model.predictors[3].parameters())
    assert f"licence: {LICENCE}" in loquor("inspect", folder).text


def verdicts(folder: Path) -> dict[str, tuple[str, str]]:
    return {check.name: (check.verdict, check.detail) for check in model_checks(folder)}


def test_doctor_looks_at_what_there_is(folder):
    found = verdicts(folder)
    assert set(found) == {"files", "weights", "tokenizer", "generation", "audio tokenizer", "pickles", "adapters"}
    assert found["files"][0] == found["weights"][0] == found["generation"][0] == "ok"
    assert found["generation"][1] == "4 modules, schedule [1, 4, 2, 3], ends with [1]"
    assert found["tokenizer"][0] == "fail"  # Qwen2.5's text has more ids than a toy


def test_doctor_opens_the_audio_tokenizer(tmp_path):
    talker = write_toy_converser(tmp_path / "talker")
    verdict, detail = verdicts(talker)["audio tokenizer"]
    assert (verdict, detail.split(";")[0]) == ("ok", "glm4voice: tokenizer, decoder")
    shutil.rmtree(talker / INSIDE / "glm-4-voice-tokenizer")
    assert verdicts(talker)["audio tokenizer"][0] == "warn"  # it can speak, and not hear
    shutil.rmtree(talker / INSIDE)
    assert verdicts(talker)["audio tokenizer"] == ("warn", "glm4voice is not here: text only")


def test_doctor_finds_an_audio_tokenizer_of_another_model(tmp_path):
    talker = write_toy_converser(tmp_path / "talker")
    path = talker / TOKENIZER_CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | {"audio_tokenizer_codes": 5}))
    verdict, detail = verdicts(talker)["audio tokenizer"]
    assert verdict == "fail" and detail.startswith("the model speaks in 5 codes, the audio tokenizer in ")


def test_doctor_finds_what_is_wrong(folder, tmp_path):
    sick = shutil.copytree(folder, tmp_path / "sick")
    tensors = load_file(sick / "model.safetensors")
    tensors["mtp_projs.0.weight"].fill_(torch.nan)
    save_file(tensors, sick / "model.safetensors", metadata={"format": "pt"})
    assert verdicts(sick)["weights"] == ("fail", "NaN or infinite numbers in mtp_projs.0.weight")
    (sick / "generation_config.json").write_text('{"mtp_inference_mode": [1, 2, 3]}')
    assert "even number" in verdicts(sick)["generation"][1]
    (sick / "generation_config.json").unlink()
    config = json.loads((sick / "config.json").read_text())
    (sick / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "eos_token_id"}))
    assert verdicts(sick)["generation"][0] == "warn"
