"""`--adapter`: a fine-tuned adapter becomes part of a checkpoint, or of a model as it is loaded, or one clear error."""

import json

import numpy as np
import pytest
import soundfile as sf
import torch

import loquor as package
from loquor.errors import CheckpointError, InputError
from loquor.models.longform.adapter import apply_adapter
from loquor.models.longform.checkpoint import export_longform, load_longform
from models.toy_adapter import small_model, write_adapter
from toy_longform import write_toy

CLOSE = 1e-4  # samples of 16 bits are 3e-5 apart; sums differ with where in memory the weights lie


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A long-form model, as a folder."""
    folder = tmp_path_factory.mktemp("longform") / "base"
    export_longform(small_model(), folder)
    return folder


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    return write_adapter(tmp_path_factory.mktemp("adapters") / "mine", load_longform(base))


def assert_same(one, other):
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_an_adapter_becomes_part_of_the_checkpoint(loquor, base, adapter, tmp_path):
    done = loquor("convert", base, tmp_path / "out", "--adapter", f"{adapter}@0.8")
    expected = load_longform(base)
    apply_adapter(expected, adapter, 0.8)
    assert done.code == 0
    assert_same(load_longform(tmp_path / "out"), expected)
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == json.loads((base / "config.json").read_text())


def test_adapters_are_merged_one_after_the_other(loquor, base, adapter, tmp_path):
    done = loquor("convert", base, tmp_path / "out", "--adapter", f"{adapter}@0.5", "--adapter", adapter / "lora")
    expected = load_longform(base)
    apply_adapter(expected, adapter, 0.5)
    apply_adapter(expected, adapter)
    assert done.code == 0
    assert_same(load_longform(tmp_path / "out"), expected)


def test_what_was_merged_can_be_told(loquor, base, adapter, tmp_path):
    done = loquor("-v", "convert", base, tmp_path / "out", "--adapter", adapter)
    told = [line for line in done.err.splitlines() if "tensors changed, by at most" in line]
    assert len(told) == 4
    assert str(adapter / "lora" / "diffusion_head" / "model.safetensors") in told[1]


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("{adapter}@much", "'much' is no strength"),
        ("{adapter}@0", "{adapter}: at strength 0.0 this adapter changes nothing"),
        ("nowhere", "nowhere holds no adapter"),
        ("{base}", "{base} holds no adapter"),
    ],
)
def test_an_adapter_that_cannot_be_merged_is_one_error_and_nothing_is_written(
    loquor, base, adapter, tmp_path, value, error
):
    done = loquor("convert", base, tmp_path / "out", "--adapter", value.format(adapter=adapter, base=base))
    assert done.code == 1
    assert done.err.startswith(f"error: {error.format(adapter=adapter, base=base)}")
    assert len(done.err.splitlines()) == 2
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_another_family_is_refused(loquor, toy_folder, adapter, tmp_path):
    done = loquor("convert", toy_folder, tmp_path / "out", "--adapter", adapter)
    assert done.code == 1
    error = f"error: {adapter} is an adapter of another family of models: it holds semantic_connector"
    assert done.err.splitlines()[0] == error
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def speaking(tmp_path_factory):
    """A long-form model with a tokenizer's vocabulary, and an adapter of it."""
    folder = tmp_path_factory.mktemp("speaking")
    write_toy(folder / "base")
    return folder / "base", write_adapter(folder / "mine", load_longform(folder / "base"))


def test_speaking_with_an_adapter_is_speaking_with_it_merged(loquor, speaking, tmp_path):
    base, adapter = speaking
    words = ("Good morning.", "--seed", "3")
    runs = {
        "plain.wav": ("-m", base),
        "adapted.wav": ("-m", base, "--adapter", f"{adapter}@0.1"),
        "merged.wav": ("-m", tmp_path / "merged"),
    }
    assert loquor("convert", base, tmp_path / "merged", "--adapter", f"{adapter}@0.1").code == 0
    for name, model in runs.items():
        done = loquor("speak", *words, *model, "-o", tmp_path / name)
        assert (done.code, done.err) == (0, "")
    plain, adapted, merged = (sf.read(tmp_path / name)[0] for name in runs)
    np.testing.assert_allclose(adapted, merged, rtol=0, atol=CLOSE)
    assert plain.shape != merged.shape or np.abs(plain - merged).max() > 10 * CLOSE


def test_adapters_are_given_to_load_as_one_or_as_several(speaking):
    base, adapter = speaking
    once, twice = load_longform(base), load_longform(base)
    apply_adapter(once, adapter)
    apply_adapter(twice, adapter)
    apply_adapter(twice, adapter, 0.5)
    assert_same(package.load(base, adapter=adapter).model, once)
    assert_same(package.load(base, adapter=[str(adapter), f"{adapter}@0.5"]).model, twice)
    with pytest.raises(CheckpointError, match="changes nothing"):
        package.load(base, adapter=f"{adapter}@0")


def test_a_strength_that_is_none_is_found_before_the_model_is_read(tmp_path):
    with pytest.raises(InputError, match="'much' is no strength"):
        package.load(tmp_path, adapter="mine@much")
