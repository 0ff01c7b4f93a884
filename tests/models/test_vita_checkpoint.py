"""VITA-Audio checkpoints: strict both ways, licence, family."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from loquor.cli.conversion import convert
from loquor.engine.load import load as load_speaker
from loquor.errors import CheckpointError, ConfigError
from loquor.models import VITA, family_of
from loquor.models.vita import checkpoint
from loquor.models.vita.checkpoint import LICENCE, load_vita, outline_vita
from loquor.models.vita.sensevoice import SenseVoiceConfig
from parity.exports import assert_same_tensors
from toy_vita import toy_vita, toy_vita_config, write_toy_vita


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_toy_vita(tmp_path / "model")


def change_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_tensors(folder: Path, change: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_model_comes_back_as_it_was_written(folder):
    model, loaded = toy_vita(), load_vita(folder)
    assert loaded.config == model.config
    mine, theirs = model.state_dict(), loaded.state_dict()
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_model_in_shards_is_the_same_and_needs_all_of_them(tmp_path):
    model = toy_vita()
    checkpoint.export_vita(model, tmp_path, shard_bytes=20_000)
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 2 and (tmp_path / "model.safetensors.index.json").is_file()
    loaded = load_vita(tmp_path).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in model.state_dict().items())
    shards[1].unlink()
    with pytest.raises(CheckpointError, match=shards[1].name):
        load_vita(tmp_path)


def test_layers_of_modules_are_counted_after_those_of_the_backbone(folder):
    values = json.loads((folder / "config.json").read_text())
    config = toy_vita_config()
    assert values["num_nextn_predict_layers"] == config.modules
    assert values["num_hidden_layers"] == config.decoder.num_hidden_layers + config.modules
    layers = {name.split(".")[2] for name in load_file(folder / "model.safetensors") if "layers." in name}
    assert layers == {str(i) for i in range(values["num_hidden_layers"])}


def test_a_base_whose_head_is_its_embedding_has_no_other(tmp_path):
    folder = write_toy_vita(tmp_path / "tied", toy_vita(config=toy_vita_config(has_own_token_head=False)))
    model = load_vita(folder)
    assert model.token_head is None and model.token_weights is model.embedding.weight
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")


@pytest.mark.parametrize("modules", [0, 1])
def test_there_may_be_few_modules_or_none(tmp_path, modules):
    folder = write_toy_vita(tmp_path / "few", toy_vita(config=toy_vita_config(modules=modules)))
    assert len(load_vita(folder).predictors) == modules


@pytest.mark.parametrize(
    "name",
    ["mtp_projs.2.weight", "model.layers.5.mlp.up_proj.weight", "model.norm.weight", "lm_head.weight"],
)
def test_a_missing_tensor_is_named(folder, name):
    change_tensors(folder, lambda tensors: tensors.pop(name))
    for read in (load_vita, outline_vita):
        with pytest.raises(CheckpointError, match=f"1 missing tensor: {name}"):
            read(folder)


def test_a_file_that_ends_early_is_an_error(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_vita(folder)


def test_a_wrong_number_of_modules_is_an_error_that_names_tensors(folder):
    change_config(folder, num_nextn_predict_layers=3)
    with pytest.raises(CheckpointError, match=r"unexpected tensors: mtp_embed_norms\.3\.weight"):
        load_vita(folder)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"num_nextn_predict_layers": 6}, "num_hidden_layers 6 counts the layers of backbone and"),
        ({"num_nextn_predict_layers": -1}, "num_nextn_predict_layers -1"),
        ({"num_nextn_predict_layers": "4"}, "num_nextn_predict_layers has a value of the wrong type: '4'"),
        ({"num_hidden_layers": None}, "num_hidden_layers has a value of the wrong type"),
        ({"mtp_loss_weight": "much"}, "mtp_loss_weight has a value of the wrong type"),
        ({"use_sliding_window": True}, "only silu, plain rotary positions and full attention"),
        ({"quantization": 4}, "unknown key quantization"),
    ],
)
def test_a_config_that_no_model_has_is_an_error_that_names_the_file(folder, values, words):
    change_config(folder, **values)
    with pytest.raises(ConfigError, match=words) as caught:
        load_vita(folder)
    assert str(folder / "config.json") in str(caught.value)


def test_keys_that_publishers_write_without_meaning_are_no_error(folder):
    auto_map = {"AutoModelForCausalLM": "modeling_qwen2.Qwen2MTPForCausalLM"}
    change_config(folder, speech_token_offset=151685, auto_map=auto_map, max_window_layers=28, sliding_window=None)
    load_vita(folder)


def test_a_plus_model_lacks_its_encoder_when_only_config_says_so(folder):
    change_config(folder, model_type="qwen2_mtp_sensevoice")
    with pytest.raises(CheckpointError, match=r"missing tensors: model\.audio_model"):
        load_vita(folder)


def test_the_published_plus_config_means_the_published_encoder(folder):
    values = json.loads((folder / "config.json").read_text()) | {"model_type": "qwen2_mtp_sensevoice"}
    assert checkpoint.from_published(values, "here", True).encoder == SenseVoiceConfig()


def test_the_licence_is_told_once_when_weights_are_loaded(folder, caplog):
    checkpoint._tell_licence.cache_clear()
    with caplog.at_level(logging.WARNING):
        outline_vita(folder)
        assert caplog.messages == []
        load_vita(folder)
        load_vita(folder)
    assert caplog.messages == [f"licence: {LICENCE}"]


@pytest.mark.parametrize("kind", ["qwen2_mtp", "qwen2_mtp_sensevoice"])
def test_the_registry_knows_the_family_and_its_licence(folder, kind):
    change_config(folder, model_type=kind)
    assert family_of(folder) is VITA
    assert VITA.licence is not None and "research" in VITA.licence


def test_adapters_are_refused(folder):
    with pytest.raises(ConfigError, match="take no adapters"):
        VITA.merge(load_vita(folder), "some/folder")


def test_a_model_of_another_vocabulary_does_not_converse(folder):
    with pytest.raises(ConfigError, match=r"text and audio have 1\d{5} ids, the model \d+"):
        load_speaker(folder)
    with pytest.raises(ConfigError, match="VITA-Audio models take no adapters"):
        load_speaker(folder, adapter="somewhere")


def test_conversion_keeps_every_byte_and_what_lies_beside(folder, tmp_path):
    convert(folder, tmp_path / "out", None, 40_000)
    assert_same_tensors(folder, tmp_path / "out")
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 1
    for name in ("config.json", "generation_config.json"):
        assert json.loads((tmp_path / "out" / name).read_text()) == json.loads((folder / name).read_text())
