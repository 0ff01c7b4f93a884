"""Adapters change what they say, by as much as asked; one that cannot be merged, or does nothing, is an error."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from loquor.errors import CheckpointError, ConfigError, InputError
from loquor.models.adapter import AppliedAdapter, read_adapter
from loquor.models.adapter_choice import AdapterChoice
from loquor.models.longform.adapter import LAYOUT, apply_adapter
from loquor.models.longform.checkpoint import export_longform, load_longform
from loquor.models.longform.model import LongformModel
from models.toy_adapter import (
    CONNECTORS,
    HEAD,
    HEAD_TARGETS,
    LANGUAGE_MODEL,
    TARGETS,
    low_rank,
    moved,
    part_of,
    small_model,
    weights,
    write_adapter,
    write_low_rank,
    write_state_dict,
)

CLOSE = {"rtol": 1e-5, "atol": 1e-6}  # weights are below 1: sums of a few products in float32
STRENGTHS = st.floats(-2, 2).filter(lambda s: abs(s) > 1e-3)


@pytest.fixture(scope="module")
def base() -> LongformModel:
    return small_model()


@pytest.fixture(scope="module")
def adapter(base: LongformModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole one, to read."""
    return write_adapter(tmp_path_factory.mktemp("adapters") / "whole", base)


@pytest.fixture
def copied(adapter: Path, tmp_path: Path) -> Path:
    """A whole one, to break; the folder itself."""
    return shutil.copytree(adapter / "lora", tmp_path / "copied")


def merged(base: LongformModel, folder: Path, strength: float = 1.0) -> tuple[dict[str, Tensor], AppliedAdapter]:
    """The published weights after the adapter, and its report; the model itself stays."""
    model = copy.deepcopy(base)
    report = apply_adapter(model, folder, strength)
    return weights(model), report


def product(tensors: dict[str, Tensor], module: str) -> Tensor:
    return tensors[f"{module}.lora_B.weight"].double() @ tensors[f"{module}.lora_A.weight"].double()


@given(
    numbers=st.tuples(st.integers(1, 5), st.one_of(st.integers(1, 64), st.floats(0.5, 9))),
    targets=st.sets(st.sampled_from(TARGETS), min_size=1),
    strength=STRENGTHS,
    is_rank_stabilised=st.booleans(),
)
@settings(max_examples=25)
def test_a_matrix_changes_by_strength_times_alpha_over_r_times_the_product_of_its_two_thin_ones(
    base: LongformModel,
    tmp_path_factory: pytest.TempPathFactory,
    numbers: tuple[int, float],
    targets: set[str],
    strength: float,
    is_rank_stabilised: bool,
) -> None:
    (rank, alpha), before = numbers, weights(base)
    thin = low_rank(part_of(before, LANGUAGE_MODEL), tuple(targets), rank)
    folder = write_low_rank(tmp_path_factory.mktemp("adapter"), thin, lora_alpha=alpha, use_rslora=is_rank_stabilised)

    after, _ = merged(base, folder, strength)

    scale = alpha / (rank**0.5 if is_rank_stabilised else rank)
    for name, weight in before.items():
        module = name.removeprefix(LANGUAGE_MODEL).removesuffix(".weight")
        if f"{module}.lora_A.weight" in thin:
            expected = weight.double() + strength * scale * product(thin, module)
            torch.testing.assert_close(after[name].double(), expected, **CLOSE)
            assert not torch.equal(after[name], weight)
        else:
            assert torch.equal(after[name], weight), name


@given(strength=STRENGTHS)
@settings(max_examples=10)
def test_weights_that_are_there_in_full_are_approached_as_far_as_the_strength_says(
    base: LongformModel, adapter: Path, strength: float
) -> None:
    before, (after, _) = weights(base), merged(base, adapter, strength)

    for prefix in (HEAD, *(f"model.{connector}." for connector in CONNECTORS)):
        for name, trained in moved(before, prefix).items():
            weight = before[prefix + name].double()
            expected = weight + strength * (trained.double() - weight)
            torch.testing.assert_close(after[prefix + name].double(), expected, **CLOSE)


def test_at_full_strength_they_are_the_adapter_s_to_the_last_bit(base: LongformModel, adapter: Path) -> None:
    after, _ = merged(base, adapter)

    for prefix in (HEAD, *(f"model.{connector}." for connector in CONNECTORS)):
        for name, trained in moved(weights(base), prefix).items():
            assert torch.equal(after[prefix + name], trained)


def test_single_modules_may_have_a_rank_and_an_alpha_of_their_own(base: LongformModel, tmp_path: Path) -> None:
    before = weights(base)
    part = part_of(before, LANGUAGE_MODEL)
    thin = low_rank(part, ("q_proj", "o_proj"), 2) | low_rank(part, ("layers.1.self_attn.q_proj",), 4)
    patterns = {"rank_pattern": {"layers.1.self_attn.q_proj": 4}, "alpha_pattern": {"o_proj": 3}}
    write_low_rank(tmp_path, thin, r=2, lora_alpha=8, **patterns)

    after, _ = merged(base, tmp_path)

    scales = {"0.self_attn.q_proj": 4.0, "1.self_attn.q_proj": 2.0, "0.self_attn.o_proj": 1.5}
    for module, scale in scales.items():
        name = f"{LANGUAGE_MODEL}layers.{module}.weight"
        expected = before[name].double() + scale * product(thin, f"layers.{module}")
        torch.testing.assert_close(after[name].double(), expected, **CLOSE)


def test_the_report_says_what_changed_and_by_how_much(base: LongformModel, adapter: Path) -> None:
    before, (after, report) = weights(base), merged(base, adapter, 0.5)

    assert (report.folder, report.strength) == (adapter, 0.5)
    assert [part.name for part in report.parts] == [
        "language model", "diffusion head", "acoustic connector", "semantic connector"
    ]  # fmt: skip
    prefixes = [LANGUAGE_MODEL, HEAD, *(f"model.{connector}." for connector in CONNECTORS)]
    for part, prefix in zip(report.parts, prefixes, strict=True):
        changed = [n for n in before if n.startswith(prefix) and not torch.equal(before[n], after[n])]
        assert part.tensors == len(changed) > 0
        largest = max(
            float((after[n] - before[n]).abs().max() / max(before[n].abs().max(), after[n].abs().max()))
            for n in changed
        )
        assert part.largest_change == pytest.approx(largest, rel=1e-5)


def test_a_model_merged_and_exported_is_the_model_merged_when_it_is_loaded(
    base: LongformModel, adapter: Path, tmp_path: Path
) -> None:
    export_longform(copy.deepcopy(base).bfloat16(), tmp_path / "base")
    model = load_longform(tmp_path / "base")
    apply_adapter(model, adapter, 0.7)
    export_longform(model, tmp_path / "merged", tmp_path / "base")

    exported, loaded = load_longform(tmp_path / "merged"), load_longform(tmp_path / "base")
    apply_adapter(loaded, adapter, 0.7)

    assert exported.state_dict().keys() == loaded.state_dict().keys()
    assert all(
        torch.equal(a, b) for a, b in zip(exported.state_dict().values(), loaded.state_dict().values(), strict=True)
    )


def test_sums_are_taken_in_float32_and_rounded_once(base: LongformModel, adapter: Path) -> None:
    half = copy.deepcopy(base).bfloat16()
    before = weights(half)

    after, _ = merged(half, adapter)

    in_float32, _ = merged(copy.deepcopy(half).float(), adapter)
    for name, tensor in after.items():
        assert tensor.dtype == torch.bfloat16
        assert torch.equal(tensor, in_float32[name].bfloat16()), name
    assert not all(torch.equal(after[name], before[name]) for name in before)


def test_merging_leaves_the_checkpoint_s_file_alone(base: LongformModel, adapter: Path, tmp_path: Path) -> None:
    export_longform(base, tmp_path)
    file = tmp_path / "model.safetensors"
    digest = hashlib.sha256(file.read_bytes()).digest()
    model = load_longform(tmp_path)

    apply_adapter(model, adapter)
    for parameter in model.parameters():
        assert not parameter.requires_grad

    assert hashlib.sha256(file.read_bytes()).digest() == digest
    assert torch.equal(load_longform(tmp_path).head.latent_in.weight, base.head.latent_in.weight)


def test_the_folder_may_be_given_with_or_without_its_lora_level(base: LongformModel, adapter: Path) -> None:
    above, inside = merged(base, adapter)[0], merged(base, adapter / "lora")[0]

    assert all(torch.equal(above[name], inside[name]) for name in above)


def test_a_lora_of_the_head_comes_before_its_full_weights(base: LongformModel, copied: Path) -> None:
    before = weights(base)
    thin = low_rank(part_of(before, HEAD), HEAD_TARGETS, 2)
    assert any(name.startswith("final_layer.linear.") for name in thin)
    write_low_rank(copied / "diffusion_head", thin, wrapper="base.")

    after, report = merged(base, copied)

    assert report.parts[1].source == copied / "diffusion_head"
    for name in ("noisy_images_proj", "cond_proj", "layers.0.ffn.up_proj", "final_layer.linear"):
        expected = before[f"{HEAD}{name}.weight"].double() + 2 * product(thin, name)
        torch.testing.assert_close(after[f"{HEAD}{name}.weight"].double(), expected, **CLOSE)
    assert torch.equal(after[f"{HEAD}layers.0.norm.weight"], before[f"{HEAD}layers.0.norm.weight"])


@pytest.mark.parametrize("gone", [1, 2])
def test_full_weights_of_the_head_are_looked_for_beside_it_and_above(
    base: LongformModel, copied: Path, gone: int
) -> None:
    head = {name: tensor + 1 for name, tensor in moved(weights(base), HEAD).items()}
    places = ["diffusion_head/model.safetensors", "diffusion_head/diffusion_head_full.bin", "diffusion_head_full.bin"]
    for place in places[:gone]:
        (copied / place).unlink(missing_ok=True)
    write_state_dict(copied / places[gone], head)

    after, report = merged(base, copied)

    assert report.parts[1].source == copied / places[gone]
    assert torch.equal(after[f"{HEAD}cond_proj.weight"], head["cond_proj.weight"])


def test_thin_matrices_may_be_pickled(base: LongformModel, copied: Path) -> None:
    expected, _ = merged(base, copied)
    file = copied / "adapter_model.safetensors"
    write_state_dict(copied / "adapter_model.bin", load_file(file))
    file.unlink()

    after, _ = merged(base, copied)

    assert all(torch.equal(after[name], expected[name]) for name in after)


def idle_adapter(folder: Path, base: LongformModel) -> Path:
    """As an adapter that was never trained is saved: lora_B is zero, the head the model's own."""
    before = weights(base)
    thin = low_rank(part_of(before, LANGUAGE_MODEL), TARGETS, 2)
    write_low_rank(folder, {name: t * ("lora_A" in name) for name, t in thin.items()})
    write_state_dict(folder / "diffusion_head_full.bin", part_of(before, HEAD))
    return folder


def test_an_adapter_that_changes_nothing_is_an_error_that_says_what_was_read(
    base: LongformModel, tmp_path: Path
) -> None:
    folder = idle_adapter(tmp_path, base)

    with pytest.raises(CheckpointError, match="changes nothing") as caught:
        merged(base, folder)

    assert f"language model from {folder}" in str(caught.value)
    assert f"diffusion head from {folder / 'diffusion_head_full.bin'}" in str(caught.value)


def test_strength_zero_changes_nothing_and_is_an_error(base: LongformModel, adapter: Path) -> None:
    with pytest.raises(CheckpointError, match=r"at strength 0\.0 this adapter changes nothing"):
        merged(base, adapter, 0.0)


def test_a_change_too_small_for_the_model_s_numbers_is_an_error(base: LongformModel, adapter: Path) -> None:
    merged(base, adapter, 1e-9)
    with pytest.raises(CheckpointError, match="changes nothing"):
        merged(copy.deepcopy(base).bfloat16(), adapter, 1e-9)


def test_a_part_that_changes_nothing_beside_others_that_do_is_a_warning(
    base: LongformModel, copied: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_state_dict(
        copied / "semantic_connector" / "pytorch_model.bin", part_of(weights(base), "model.semantic_connector.")
    )

    with caplog.at_level(logging.WARNING):
        _, report = merged(base, copied)

    assert [part.tensors > 0 for part in report.parts] == [True, True, True, False]
    assert [record.getMessage().split(" in ")[0] for record in caplog.records] == ["the semantic connector"]


def with_config(folder: Path, **values: object) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"use_dora": True}, "use_dora is True, which is not supported"),
        ({"bias": "lora_only"}, "bias is 'lora_only', which is not supported"),
        ({"modules_to_save": ["norm"]}, "modules_to_save is"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out is True"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'"),
        ({"peft_type": "LOHA"}, "peft_type is 'LOHA'"),
        ({"r": 0}, "adapter.r must be an integer from 1"),
        ({"lora_alpha": "8"}, "lora_alpha has a value of the wrong type"),
        ({"lora_alpha": None}, "missing key lora_alpha"),
        ({"rank_pattern": {r"layers\.\d+\.q_proj": 4}}, "rank_pattern .* cannot be read"),
        ({"rank_pattern": {"q_proj": 0}}, "adapter.rank_pattern.q_proj must be an integer from 1"),
        ({"rank_pattern": {"owner": 0}}, "adapter.rank_pattern.owner must be an integer from 1"),
        ({"lora_alpha": 10**400}, "adapter.lora_alpha must be a number of at most"),
        ({"alpha_pattern": {"q_proj": "much"}}, "adapter.alpha_pattern.q_proj must be a number"),
    ],
)
def test_a_configuration_that_is_no_plain_lora_is_refused(
    base: LongformModel, copied: Path, values: dict[str, object], message: str
) -> None:
    with_config(copied, **values)

    with pytest.raises(ConfigError, match=message) as caught:
        merged(base, copied)

    assert str(copied / "adapter_config.json") in str(caught.value)


def rename(folder: Path, old: str, new: str) -> None:
    rewrite(folder, lambda tensors: tensors.update({new: tensors.pop(old)}))


def rewrite(folder: Path, change) -> None:  # type: ignore[no-untyped-def]
    file = folder / "adapter_model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    change(tensors)
    save_file(tensors, file)


A = "base_model.model.layers.0.self_attn.q_proj.lora_A.weight"
B = A.replace("lora_A", "lora_B")
HEAD_FILE = "diffusion_head/model.safetensors"


def break_head(folder: Path, name: str, tensor: Tensor | None) -> None:
    tensors = load_file(folder / HEAD_FILE) | ({name: tensor} if tensor is not None else {})
    if tensor is None:
        del tensors[name]
    save_file(tensors, folder / HEAD_FILE)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda f: rename(f, A, "base_model.model.layers.0.self_attn.q_proj.lora_magnitude_vector"),
            "is no matrix of a",
        ),
        (lambda f: rename(f, A, A.replace("base_model.model.", "")), "is no matrix of a LoRA"),
        (lambda f: rewrite(f, lambda t: t.pop(B)), "layers.0.self_attn.q_proj has lora_A without lora_B"),
        (lambda f: rewrite(f, lambda t: t.update({A: t[A][:2]})), "gives it rank 3"),
        (lambda f: with_config(f, r=4), "gives it rank 4"),
        (lambda f: rewrite(f, lambda t: t.update({B: t[B][:8]})), r"q_proj.weight changes .*\[8, 16\], .*\[16, 16\]"),
        (lambda f: rewrite(f, lambda t: t[A].fill_(float("nan"))), "q_proj.weight holds NaN or infinite"),
        (
            lambda f: (
                rename(f, A, A.replace("layers.0", "layers.7")),
                rename(f, B, B.replace("layers.0", "layers.7")),
            ),
            "layers.7.* is nothing that the language model of this model has",
        ),
        (lambda f: (f / "adapter_model.safetensors").write_bytes(b"no"), "is no sound safetensors file"),
        (lambda f: (f / "adapter_model.safetensors").unlink(), "adapter_model.safetensors does not exist"),
        (lambda f: (f / "adapter_config.json").unlink(), "adapter_config.json does not exist"),
        (lambda f: (f / "acoustic_connector/pytorch_model.bin").write_bytes(b"no"), "is no complete torch archive"),
        (lambda f: break_head(f, "cond_proj.weight", None), "lacks model.prediction_head.cond_proj.weight"),
        (lambda f: break_head(f, "gate.weight", torch.ones(2)), "gate.weight is nothing that the diffusion head"),
        (
            lambda f: break_head(f, "cond_proj.weight", torch.ones(8, 8)),
            r"cond_proj.weight changes weights of shape \[8, 8\], those of this model have \[16, 16\]",
        ),
        (lambda f: break_head(f, "layers.0.norm.weight", torch.full((16,), float("inf"))), "norm.weight holds NaN"),
    ],
)
def test_a_damaged_adapter_is_one_clear_error_and_changes_nothing(
    base: LongformModel, copied: Path, damage, message
) -> None:  # type: ignore[no-untyped-def]
    damage(copied)
    model = copy.deepcopy(base)

    with pytest.raises(CheckpointError, match=message) as caught:
        apply_adapter(model, copied)

    assert str(copied) in str(caught.value)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), base.parameters(), strict=True))


def test_an_adapter_of_another_size_of_model_is_refused(base: LongformModel, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path, small_model(hidden_size=32))

    with pytest.raises(
        CheckpointError, match=r"down_proj.weight changes weights of shape \[32, 24\], .* have \[16, 24\]"
    ):
        merged(base, folder)


def test_weights_that_outgrow_the_model_s_numbers_are_an_error(base: LongformModel, copied: Path) -> None:
    rewrite(copied, lambda tensors: tensors[B].fill_(1e6))

    with pytest.raises(CheckpointError, match=r"merging .*q_proj.weight exceeds torch.float16"):
        merged(copy.deepcopy(base).half(), copied)


@pytest.mark.parametrize("strength", [float("nan"), float("inf")])
def test_a_strength_is_a_finite_number(base: LongformModel, adapter: Path, strength: float) -> None:
    with pytest.raises(InputError, match="must be a finite number"):
        merged(base, adapter, strength)


@pytest.mark.parametrize("place", ["empty", "nowhere"])
def test_a_folder_without_an_adapter_is_an_error(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(CheckpointError, match=f"{place} holds no adapter"):
        read_adapter(tmp_path / place, LAYOUT)


def test_an_adapter_is_chosen_by_its_path_and_its_strength_behind_an_at(tmp_path: Path) -> None:
    (tmp_path / "odd@2").mkdir()

    assert AdapterChoice.parse("a/b") == AdapterChoice(Path("a/b"), 1.0)
    assert AdapterChoice.parse("a/b@0.8") == AdapterChoice(Path("a/b"), 0.8)
    assert AdapterChoice.parse("a@b/c@-1.5") == AdapterChoice(Path("a@b/c"), -1.5)
    assert AdapterChoice.parse(tmp_path / "odd@2") == AdapterChoice(tmp_path / "odd@2", 1.0)
    with pytest.raises(InputError, match="'strong' is no strength"):
        AdapterChoice.parse("a/b@strong")
