"""Golden j: an adapter as the community's fine-tuner writes it, merged into the model of golden g."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from loquor.models.adapter import AppliedAdapter
from loquor.models.longform.adapter import apply_adapter
from loquor.models.longform.checkpoint import export_longform, load_longform
from loquor.models.longform.model import LongformModel
from parity.goldens import Golden

CASE = "j_lora_adapter"
OF_LANGUAGE_MODEL = ("input_ids", "hidden", "logits")
NO_TENSORS = "none: they are compared elsewhere"

each_case = pytest.mark.parametrize("case", [CASE])


def adapted(golden: Golden, **options: Any) -> tuple[LongformModel, AppliedAdapter]:
    model = load_longform((golden.folder / golden.about["base"]).resolve())
    return model, apply_adapter(model, golden.folder, **options)


def check(golden: Golden, key: str, actual: Tensor) -> None:
    golden.check(key, actual.float(), golden.about["tolerance"])


@each_case
def test_the_adapted_language_model_says_what_the_reference_says(case: str) -> None:
    """In float64: what is left is the reference's own rounding. In float32 two right answers differ by the tolerance,
    as one adds the adapter to the weights and the other to what they give."""
    with Golden.open("vibevoice", case, *OF_LANGUAGE_MODEL) as golden:
        model = load_longform((golden.folder / golden.about["base"]).resolve()).double()
        apply_adapter(model, golden.folder)
        hidden = model.language_model(model.embedding(golden["input_ids"]))
        check(golden, "hidden", hidden)
        check(golden, "logits", hidden @ model.token_weights.T)


@each_case
def test_in_float32_it_is_as_near_as_float32_allows(case: str) -> None:
    with Golden.open("vibevoice", case, NO_TENSORS) as golden:
        model, _ = adapted(golden)
        check(golden, "hidden", model.language_model(model.embedding(golden["input_ids"])))


@each_case
def test_the_adapted_head_and_connectors_give_what_the_reference_gives(case: str) -> None:
    with Golden.open("vibevoice", case, "head_", "acoustic_", "semantic_") as golden:
        model, _ = adapted(golden)
        head = model.head(golden["head_noisy"], golden["head_timesteps"], golden["head_condition"])
        check(golden, "head_output", head)
        check(golden, "acoustic_out", model.connector(golden["acoustic_in"]))
        check(golden, "semantic_out", model.semantic_connector(golden["semantic_in"]))


@each_case
def test_every_matrix_the_case_names_is_changed(case: str) -> None:
    with Golden.open("vibevoice", case, NO_TENSORS) as golden:
        model, report = adapted(golden)
        targets = len(golden.about["target_modules"]) * model.config.decoder.num_hidden_layers
        assert (report.parts[0].name, report.parts[0].tensors) == ("language model", targets)


@each_case
def test_half_the_adapter_is_half_way_to_it(case: str) -> None:
    """Weights move linearly with the strength, however they came to be in the file."""
    with Golden.open("vibevoice", case, NO_TENSORS) as golden:
        base = load_longform((golden.folder / golden.about["base"]).resolve())
        (whole, _), (half, _) = adapted(golden), adapted(golden, strength=0.5)
        for name, weight in base.named_parameters():
            middle = (weight + whole.get_parameter(name)) / 2
            torch.testing.assert_close(half.get_parameter(name), middle, rtol=1e-5, atol=1e-6)


@each_case
def test_it_fits_the_model_in_either_layout(case: str, tmp_path: Path) -> None:
    with Golden.open("vibevoice", case, NO_TENSORS) as golden:
        expected, _ = adapted(golden)
        export_longform(load_longform((golden.folder / golden.about["base"]).resolve()), tmp_path, layout="hf")
        model = load_longform(tmp_path)
        apply_adapter(model, golden.folder)
        assert all(torch.equal(weight, expected.get_parameter(name)) for name, weight in model.named_parameters())
