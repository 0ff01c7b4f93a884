"""`loquor.load` and the package's public names."""

import pytest
import torch

import loquor
from loquor.errors import CheckpointError, ConfigError


def test_every_public_name_is_there():
    assert set(loquor.__all__) <= set(dir(loquor))
    for name in loquor.__all__:
        assert getattr(loquor, name) is getattr(loquor, name)
    with pytest.raises(AttributeError, match="no attribute 'shout'"):
        _ = loquor.shout


def test_a_folder_loads_as_text_or_path_in_float32(toy_folder):
    for model in (toy_folder, str(toy_folder)):
        speaker = loquor.load(model)
        assert isinstance(speaker, loquor.Speaker)
        assert {p.dtype for p in speaker.model.parameters()} == {torch.float32}


def test_another_dtype_is_taken_at_its_word(toy_folder):
    speaker = loquor.load(toy_folder, dtype="bfloat16")
    assert {p.dtype for p in speaker.model.parameters()} == {torch.bfloat16}


def test_auto_takes_what_there_is(toy_folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert loquor.load(toy_folder, device="auto").model.types.weight.device.type == "cpu"
    with pytest.raises(ConfigError, match="no CUDA device"):
        loquor.load(toy_folder, device="cuda")


@pytest.mark.parametrize("wrong", [{"device": "tpu"}, {"dtype": "int8"}])
def test_an_unknown_device_or_dtype_is_an_error(toy_folder, wrong):
    with pytest.raises(ConfigError, match="is not supported"):
        loquor.load(toy_folder, **wrong)


@pytest.mark.parametrize(
    ("model", "name", "revision"),
    [("org/name", "org/name", None), ("org/some.name_2@v1.0", "org/some.name_2", "v1.0"), ("a/b@x/y", "a/b", "x/y")],
)
def test_a_hub_repository_is_fetched_without_pickles(toy_folder, monkeypatch, model, name, revision):
    asked = []

    def snapshot_download(repository, revision, allow_patterns):
        asked.append((repository, revision, allow_patterns))
        return str(toy_folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert loquor.load(model).folder == toy_folder
    assert asked == [(name, revision, ["*.json", "*.safetensors"])]


def test_a_hub_out_of_reach_is_one_error(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        CheckpointError, match="there is no folder org/name, and the hub gives no repository org/name: "
    ) as e:
        loquor.load("org/name")
    assert "HF_HUB_OFFLINE" in e.value.hint and "local folder" in e.value.hint


@pytest.mark.parametrize("model", ["/no/such/folder", "~/no/such", "./a/b", "../a", "name", "a/b/c", "a b/c"])
def test_what_cannot_be_a_repository_is_never_asked_for(monkeypatch, tmp_path, model):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", None)
    with pytest.raises(CheckpointError, match="there is no model folder"):
        loquor.load(model)
