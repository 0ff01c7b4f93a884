"""Golden mtp, train.*: losses, what every stage reads and gives, and gradients, on packed rows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch

from loquor.models.vita.checkpoint import keys, load_vita
from loquor.training.vita.losses import Counts, Stage, VitaBatch, VitaTraining
from loquor.training.vita.tokens import IGNORED
from parity.goldens import Golden
from parity.gradients import assert_gradient_norms
from parity.vita import open_vita, vita_case

HIDDEN = {"atol": 1e-4, "rtol": 0.0}  # as the fixtures suggest
LOSS = {"atol": 1e-5, "rtol": 1e-5}
NAMES = [name.removeprefix("train.") for name in vita_case("mtp") if name.startswith("train.")]
PER_STAGE = ("labels", "position_ids", "cu_seqlens", "hidden_in", "hidden_out", "logits")

each_name = pytest.mark.parametrize("name", NAMES)


def facts(name: str) -> dict[str, Any]:
    return vita_case("mtp")[f"train.{name}"]


def training_of(golden: Golden, trains_head: bool) -> VitaTraining:
    """The model as the reference trains it: all of it, or only the modules."""
    model = load_vita(golden.folder)
    for parameter_name, parameter in model.named_parameters():
        parameter.requires_grad_(trains_head or parameter_name.startswith("predictors."))
    return VitaTraining(model, crosses_samples=True)


def batch_of(golden: Golden, name: str) -> VitaBatch:
    ids, labels, positions = (golden[f"train.{name}.{part}"] for part in ("input_ids", "labels", "position_ids"))
    return VitaBatch(ids, labels, positions, torch.zeros_like(ids, dtype=torch.bool))


@pytest.fixture
def golden(name: str) -> Iterator[Golden]:
    with open_vita("mtp", "mini_mtp", f"train.{name}.") as golden:
        yield golden


@each_name
def test_losses_stages_and_gradients_are_the_recorded_ones(name: str, golden: Golden) -> None:
    training, batch = training_of(golden, facts(name)["head_requires_grad"]), batch_of(golden, name)

    count = facts(name)["num_items_in_batch"]
    losses = training(batch, Counts(count) if count else None)
    losses["loss"].backward()

    modules = training.model.config.modules
    golden.check(f"train.{name}.loss", losses["loss"].detach().view(1), LOSS)
    golden.check(f"train.{name}.main_ce", losses["main"].detach().view(1), LOSS)
    golden.check(f"train.{name}.mtp_ce", torch.stack([losses[f"module {k}"] for k in range(modules)]).detach(), LOSS)
    recorded = facts(name)
    entries = keys(training.model.config)
    assert_gradient_norms(training.model, entries, recorded["grad_norms"], recorded["n_params_with_grad"])
    with torch.no_grad():
        _, *stages = training.stages(batch)
    for k, stage in enumerate(stages):
        check_stage(golden, f"train.{name}.mtp{k}.", stage, training)


def check_stage(golden: Golden, prefix: str, stage: Stage, training: VitaTraining) -> None:
    ends = torch.tensor([len(stage.positions)])
    ours = {
        "labels": stage.labels[None],
        "position_ids": stage.positions[None],
        "cu_seqlens": torch.cat([stage.starts, ends]).int(),
        "hidden_in": stage.hidden_in[None],
        "hidden_out": stage.hidden[None],
        "logits": training.model.logits(stage.hidden)[None],
    }
    for part in PER_STAGE:
        if prefix + part in golden.tensors:
            golden.check(prefix + part, ours[part], HIDDEN)


@each_name
def test_a_row_is_its_samples_alone(name: str, golden: Golden) -> None:
    """Nothing of one sample is in the states of another, in any stage."""
    batch = batch_of(golden, name)
    training = training_of(golden, trains_head=True)
    with torch.no_grad():
        together = list(training.stages(batch))
        starts = [*(batch.positions.flatten() == 0).nonzero()[:, 0].tolist(), batch.ids.numel()]
        for first, last in pairwise(starts):
            ids, positions = (t.flatten()[None, first:last] for t in (batch.ids, batch.positions))
            heard = torch.zeros_like(ids, dtype=torch.bool)
            alone = list(training.stages(VitaBatch(ids, torch.full_like(ids, IGNORED), positions, heard)))
            for stage, own in zip(together, alone, strict=True):
                at = _place(stage, starts, first)
                torch.testing.assert_close(stage.hidden[at : at + len(own.hidden)], own.hidden, **HIDDEN)
    for key in golden.tensors:
        golden.touched.add(key)  # compared in the test before


def _place(stage: Stage, starts: list[int], first: int) -> int:
    """Where the sample that began at `first` of the batch begins in a stage: earlier ones are shorter by now."""
    return sum(max(b - a - stage.first, 0) for a, b in pairwise(starts) if a < first)
