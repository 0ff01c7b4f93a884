"""The verification matrix: sound checkpoints pass, and each way in which one is damaged is found and named."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import toy
from loquor.checkpoints import INDEX, save
from loquor.errors import ConfigError
from loquor.evaluation.verification.checks import compare, difference
from loquor.evaluation.verification.files import SUMS
from loquor.evaluation.verification.verify import Verification, verify
from loquor.models.longform.checkpoint import export_longform, load_longform
from loquor.voices.voice import Voice, fingerprint
from parity.goldens import ROOT, case_folder
from parity.vita import vita_folder

WEIGHTS = "model.safetensors"
MINIS = sorted(path.parent for path in ROOT.rglob("config.json") if (path.parent / WEIGHTS).is_file())
REALTIME, LONGFORM = case_folder("vibevoice", "e_realtime"), case_folder("vibevoice", "f_longform")
VITA = vita_folder() / "mini_mtp"

needs_minis = pytest.mark.skipif(not all(f.is_dir() for f in (REALTIME, LONGFORM, VITA)), reason="no mini checkpoints")


def is_a_model(folder: Path) -> bool:
    """Some recorded parts are of no published kind: their config does not say what they are."""
    return "model_type" in json.loads((folder / "config.json").read_text(encoding="utf-8"))


def blamed(found: Verification) -> set[str]:
    return {check.component for check in found.failed}


def copied(folder: Path, to: Path) -> Path:
    """The checkpoint itself, without what was recorded of it."""
    to.mkdir()
    for name in ("config.json", WEIGHTS):
        shutil.copy(folder / name, to)
    return to


def change(folder: Path, part: str, edit: Callable[[Tensor], Tensor]) -> str:
    """Edit the first tensor with `part` in its name."""
    tensors = load_file(folder / WEIGHTS)
    name = next(name for name in sorted(tensors) if part in name)
    tensors[name] = edit(tensors[name].clone()).contiguous()
    save_file(tensors, folder / WEIGHTS)
    return name


@pytest.mark.parametrize("folder", [f for f in MINIS if is_a_model(f)], ids=lambda folder: folder.name)
def test_every_recorded_checkpoint_passes(folder):
    assert verify(folder).failed == []


@needs_minis
def test_the_layout_of_the_transformers_library_passes_and_equals_the_original(tmp_path):
    try:
        export_longform(load_longform(LONGFORM), tmp_path / "hf", LONGFORM, layout="hf")
    except ConfigError:
        pytest.skip("the transformers layout cannot express this recorded model")
    assert verify(tmp_path / "hf", reference=LONGFORM).failed == []


def test_a_model_with_tokenizer_and_voice_is_verified_to_the_last_sound(tmp_path):
    found = verify(toy.write_toy(tmp_path / "toy"))
    assert found.failed == []
    assert {"tokenizer", "voice Toy", "text_model", "codec.decoder", "end to end"} <= {
        c.component for c in found.checks
    }
    assert any(check.what.startswith("says") for check in found.checks)


def test_what_fails_can_be_told_to_machines(tmp_path):
    folder = toy.write_toy(tmp_path / "toy")
    change(folder, "prediction_head.cond_proj.weight", poke)
    told = json.loads(json.dumps(verify(folder).as_dict()))
    assert told["fail"] == sum(check["verdict"] == "fail" for check in told["checks"]) >= 1


def poke(tensor: Tensor) -> Tensor:
    tensor.view(-1)[tensor.numel() // 2] = float("nan")
    return tensor


def spike(tensor: Tensor) -> Tensor:
    """One flipped bit of an exponent."""
    tensor.view(-1)[tensor.numel() // 3] = 1e25
    return tensor


def unwritten(tensor: Tensor) -> Tensor:
    tensor[len(tensor) // 2 :] = 0
    return tensor


@needs_minis
@pytest.mark.parametrize(
    ("folder", "part", "edit", "component"),
    [
        (REALTIME, "prediction_head.layers.1.ffn.gate_proj.weight", poke, "head"),
        (REALTIME, "tts_eos_classifier.fc1.weight", poke, "end_classifier"),
        (REALTIME, "tts_language_model.layers.1.mlp.down_proj.weight", torch.zeros_like, "speech_model"),
        (REALTIME, "language_model.layers.0.self_attn.o_proj.weight", unwritten, "text_model"),
        (REALTIME, "speech_scaling_factor", lambda t: t * float("nan"), "latent_scale"),
        (REALTIME, "speech_scaling_factor", torch.zeros_like, "latent_scale"),
        (REALTIME, "acoustic_connector.norm.weight", lambda t: t * 1e3, "connector"),
        (REALTIME, "acoustic_tokenizer.decoder.stages.3.0.ffn.linear1.weight", spike, "codec.decoder"),
        (LONGFORM, "semantic_tokenizer.encoder.stages.2.0.gamma", torch.zeros_like, "semantic_codec.encoder"),
        (LONGFORM, "semantic_connector.fc2.weight", lambda t: t * 1e4, "semantic_connector"),
        (LONGFORM, "acoustic_tokenizer.encoder.stages.0.0.ffn.linear1.weight", torch.zeros_like, "codec.encoder"),
        (VITA, "mtp_hidden_norms.1.weight", lambda t: t * 1e3, "predictors.1"),
        (VITA, "mtp_projs.2.weight", poke, "predictors.2"),
        (VITA, "lm_head.weight", lambda t: t * 1e6, "token_head"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_damaged_tensor_is_found_and_its_component_blamed(folder, part, edit, component, tmp_path):
    broken = copied(folder, tmp_path / "model")
    name = change(broken, part, edit)
    found = verify(broken)
    assert component in blamed(found)
    assert blamed(found) <= {component, "config"}, "and nothing else is"
    assert any(name in check.detail for check in found.failed), "the tensor is named"


@needs_minis
def test_a_missing_tensor_a_strange_one_and_a_wrong_shape_are_told_of_at_once(tmp_path):
    broken = copied(REALTIME, tmp_path / "model")
    tensors = load_file(broken / WEIGHTS)
    tensors.pop("model.acoustic_connector.fc1.bias")
    tensors["model.attic"] = torch.ones(1)
    tensors["tts_eos_classifier.fc2.bias"] = torch.ones(3)
    save_file(tensors, broken / WEIGHTS)
    found = verify(broken)
    assert blamed(found) >= {"connector", "end_classifier", "files"}
    told = " ".join(check.detail for check in found.failed)
    assert "model.acoustic_connector.fc1.bias is missing" in told
    assert "model.attic belongs to nothing" in told
    assert "tts_eos_classifier.fc2.bias is torch.float32 [3], config.json asks for [1]" in told


@needs_minis
@pytest.mark.parametrize(
    ("folder", "section", "key", "component"),
    [
        (REALTIME, "diffusion_head_config", "head_layers", "head"),
        (REALTIME, "decoder_config", "intermediate_size", "speech_model"),
        (LONGFORM, "decoder_config", "num_hidden_layers", "language_model"),
        (LONGFORM, "semantic_tokenizer_config", "encoder_n_filters", "semantic_codec.encoder"),
        (VITA, None, "vocab_size", "embedding"),
        (VITA, None, "num_attention_heads", "config"),  # no multiple of the heads of keys
    ],
)
def test_a_wrong_number_in_the_config_blames_what_it_describes(folder, section, key, component, tmp_path):
    broken = copied(folder, tmp_path / "model")
    config = json.loads((broken / "config.json").read_text(encoding="utf-8"))
    (config[section] if section else config)[key] += 1
    (broken / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert component in blamed(verify(broken))


def sharded(folder: Path, to: Path) -> Path:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    save(to, config, load_file(folder / WEIGHTS), shard_bytes=150_000)
    return to


@needs_minis
def test_a_checkpoint_in_shards_passes(tmp_path):
    assert verify(sharded(VITA, tmp_path / "model")).failed == []


@needs_minis
def test_a_shard_that_was_cut_short_is_named(tmp_path):
    broken = sharded(REALTIME, tmp_path / "model")
    shard = sorted(broken.glob("model-*"))[1]
    shard.write_bytes(shard.read_bytes()[:-1000])
    found = verify(broken)
    assert blamed(found) == {"files"}
    assert shard.name in found.failed[0].detail


@needs_minis
def test_bytes_that_were_mixed_up_in_a_shard_are_found(tmp_path):
    broken = sharded(REALTIME, tmp_path / "model")
    shard = sorted(broken.glob("model-*"))[-1]
    data = bytearray(shard.read_bytes())
    tail = data[-4096:]
    random.Random(0).shuffle(tail)
    data[-4096:] = tail
    shard.write_bytes(data)
    last = list(json.loads((broken / INDEX).read_text(encoding="utf-8"))["weight_map"])[-1]
    found = verify(broken)
    assert found.failed
    assert any(last in check.detail for check in found.failed)


@needs_minis
def test_stated_checksums_are_held_against_the_files(tmp_path):
    folder = copied(REALTIME, tmp_path / "model")
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    (folder / SUMS).write_text(f"{digest}  {WEIGHTS}\n", encoding="utf-8")
    assert verify(folder).failed == []
    change(folder, "fc1.weight", lambda t: t * 1.01)  # too little to see
    found = verify(folder)
    assert blamed(found) == {"files"}
    assert WEIGHTS in found.failed[0].detail


@needs_minis
def test_beside_a_model_it_should_equal_two_swapped_tensors_are_found(tmp_path):
    broken = copied(LONGFORM, tmp_path / "model")
    tensors = load_file(broken / WEIGHTS)
    keys, values = (f"model.language_model.layers.0.self_attn.{x}_proj.weight" for x in "kv")
    tensors[keys], tensors[values] = tensors[values].clone(), tensors[keys].clone()
    save_file(tensors, broken / WEIGHTS)
    assert blamed(verify(broken, reference=LONGFORM)) == {"language_model"}


def test_a_voice_of_another_model_is_found_even_if_it_has_the_same_shapes(tmp_path):
    folder = toy.write_toy(tmp_path / "toy")
    other = toy.toy_model(seed=1)
    toy.named_voice(other, "Stranger").save(folder / "voices" / "Stranger.safetensors")
    found = verify(folder)
    assert blamed(found) == {"voice Stranger"}
    assert "was made by another model" in found.failed[0].detail


def test_a_voice_for_another_shape_of_model_is_found(tmp_path):
    folder = toy.write_toy(tmp_path / "toy")
    voice = folder / "voices" / "Toy.safetensors"
    tensors = {name: t[..., :1, :, :] if t.dim() == 4 else t for name, t in toy.toy_voice(toy.toy_model()).items()}
    Voice(name="Toy", language="en", source="made up", model=fingerprint(tensors), tensors=tensors).save(voice)
    assert "voice Toy" in blamed(verify(folder))


def test_two_swapped_tensors_are_found_by_the_voice_that_the_model_made(tmp_path):
    folder = toy.write_toy(tmp_path / "toy")
    tensors = load_file(folder / WEIGHTS)
    keys, values = (f"model.tts_language_model.layers.0.self_attn.{x}_proj.weight" for x in "kv")
    tensors[keys], tensors[values] = tensors[values].clone(), tensors[keys].clone()
    save_file(tensors, folder / WEIGHTS)
    found = verify(folder)
    assert blamed(found) == {"voice Toy"}
    assert "speech_model changed" in found.failed[0].detail


@pytest.mark.parametrize("fault", ["two ids swapped", "an id too few", "no symbols"])
def test_wrong_ids_of_the_tokenizer_are_found(fault, tmp_path):
    folder = toy.write_toy(tmp_path / "toy")
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    symbols = values["symbols"]
    if fault == "two ids swapped":
        symbols[20], symbols[21] = symbols[21], symbols[20]
    elif fault == "an id too few":
        symbols.pop()
    else:
        del values["symbols"]
    path.write_text(json.dumps(values), encoding="utf-8")
    assert "tokenizer" in blamed(verify(folder))


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(ConfigError, match="bert"):
        verify(tmp_path)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_number_is_infinitely_far_from_anything(number):
    assert difference(torch.tensor([1.0, number]), torch.tensor([1.0, 2.0])) == float("inf")
    assert compare("head", "", "", [("", torch.tensor([number]), torch.tensor([number]))], 1e9).verdict == "fail"


def test_progress_tells_each_component(tmp_path):
    seen = []
    verify(toy.write_toy(tmp_path / "toy"), report=lambda component, done, total: seen.append((component, done, total)))
    counts = [done for _, done, total in seen if total]
    assert counts == sorted(counts)
    assert seen[-1][1] == seen[-1][2] > 10
