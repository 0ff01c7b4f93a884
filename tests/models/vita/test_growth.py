"""Models that grow: rows like those there are, and modules begun as copies of what stands before them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from loquor.errors import CheckpointError, ConfigError
from loquor.models.vita.growth import load_base, new_rows, stored_dtype, with_modules, with_rows
from loquor.models.vita.vocabulary import AudioTokens
from loquor.training.vita.base import Shape, write_base
from toy_vita import toy_vita, toy_vita_config

SHAPE = Shape(hidden=16, layers=2, heads=2, context=64, pieces=260)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    write_base(tmp_path / "base", [], AudioTokens("toy", 3), SHAPE)
    return tmp_path / "base"


def test_the_first_module_begins_as_the_last_layer_with_a_fresh_projection() -> None:
    model = toy_vita(config=toy_vita_config(modules=0))
    grown = with_modules(model, 1, generator())
    state = grown.state_dict()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)
        if name.startswith("language_model.layers.1."):
            torch.testing.assert_close(state[name.replace("language_model.layers.1.", "predictors.0.layer.")], tensor)
    projection = state["predictors.0.projection.weight"]
    assert projection.std().item() == pytest.approx(0.02, rel=0.1) and abs(projection.mean().item()) < 0.002
    for norm in ("embedding_norm", "hidden_norm"):
        assert torch.equal(state[f"predictors.0.{norm}.weight"], torch.ones(32))


def test_further_modules_begin_as_the_one_before() -> None:
    model = toy_vita(config=toy_vita_config(modules=2))
    state = with_modules(model, 4, generator()).state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(state[name], tensor)
        if name.startswith("predictors.1."):
            for k in (2, 3):
                copy = state[name.replace("predictors.1.", f"predictors.{k}.")]
                assert torch.equal(copy, tensor) and copy.data_ptr() != tensor.data_ptr()


def test_a_model_does_not_lose_modules() -> None:
    model = toy_vita(config=toy_vita_config(modules=2))
    assert with_modules(model, 2, generator()) is model
    with pytest.raises(ConfigError, match="has 2 modules, more than the 1 wanted"):
        with_modules(model, 1, generator())


def test_new_rows_lie_near_the_mean_of_the_old_in_their_directions() -> None:
    weight = torch.randn(400, 6, generator=generator()) * torch.tensor([4.0, 1, 1, 1, 0, 1]) + torch.arange(6.0)
    rows = new_rows(weight, 3000, generator())
    torch.testing.assert_close(rows.mean(0), weight.mean(0), rtol=0, atol=1e-4)
    spread = weight.std(0) * 1e-9**0.5
    torch.testing.assert_close((rows.double() - weight.mean(0)).std(0).float(), spread, rtol=0.1, atol=1e-6)


def test_a_tied_head_becomes_one_of_its_own_and_both_get_the_missing_rows() -> None:
    model = toy_vita(config=toy_vita_config(modules=1, has_own_token_head=False))
    grown = with_rows(model, 48, generator())
    assert (grown.config.vocab_size, grown.config.has_own_token_head) == (48, True)
    assert grown.token_head is not None
    for weight in (grown.embedding.weight, grown.token_head.weight):
        assert torch.equal(weight[:40], model.embedding.weight) and torch.isfinite(weight).all()
    assert grown.token_head.weight.data_ptr() != grown.embedding.weight.data_ptr()


def test_rows_that_are_there_are_kept() -> None:
    model = toy_vita()
    assert with_rows(model, 40, generator()) is model and with_rows(model, 3, generator()) is model


def test_a_base_is_read_strictly_in_any_type(base: Path) -> None:
    tensors = load_file(base / "model.safetensors")
    save_file({name: t.bfloat16() for name, t in tensors.items()}, base / "model.safetensors")
    model = load_base(base, torch.float32)
    assert model.embedding.weight.dtype is torch.float32 and stored_dtype(base) is torch.bfloat16
    assert (model.config.modules, model.config.has_own_token_head) == (0, False)
    del tensors["model.norm.weight"]
    save_file(tensors, base / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"missing tensor: model\.norm\.weight"):
        load_base(base, torch.float32)


def test_a_base_that_says_it_has_a_head_must_have_it(base: Path) -> None:
    config = json.loads((base / "config.json").read_bytes())
    (base / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    with pytest.raises(CheckpointError, match=r"missing tensor: lm_head\.weight"):
        load_base(base, torch.float32)


def test_a_shape_that_no_model_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="3 heads cannot share 16 channels"):
        write_base(tmp_path, [], AudioTokens("toy", 3), dataclasses.replace(SHAPE, heads=3))
