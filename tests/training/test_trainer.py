"""The training loop: what a killed run repeats, and what it averages."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from loquor.errors import CheckpointError
from loquor.training.trainer import Losses, Optimisation, Trainer, batches_by_length


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


def options(steps: int, workers: int = 1) -> Optimisation:
    return Optimisation(steps=steps, warmup_steps=3, weight_decay=0.1, workers=workers, autocast=False, save_every=4)


def train(folder: Path, steps: int, stop_at: int | None = None, workers: int = 1) -> nn.Module:
    model = network()

    def loss(step: int, part: int, generator: torch.Generator) -> Losses:
        if step == stop_at:
            raise KeyboardInterrupt
        x = torch.randn(16, 4, generator=generator)
        return {"loss": (model(x) - x.sum(1, keepdim=True)).square().mean()}

    trainer = Trainer(model, folder, options(steps, workers))
    try:
        trainer.fit(loss)
    except KeyboardInterrupt:
        return model
    with trainer.averaged():
        model.averaged = [p.detach().clone() for p in model.parameters()]  # type: ignore[assignment]
    return model


@pytest.mark.parametrize("killed_at", [5, 9])
def test_a_killed_run_that_resumes_has_the_weights_of_an_uninterrupted_one(tmp_path: Path, killed_at: int) -> None:
    whole = train(tmp_path / "whole", 12)

    train(tmp_path / "killed", 12, stop_at=killed_at)
    resumed = train(tmp_path / "killed", 12)

    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(whole.averaged, resumed.averaged, strict=True):
        assert torch.equal(a, b)


def test_parts_side_by_side_repeat_themselves_and_learn(tmp_path: Path) -> None:
    first, second = train(tmp_path / "a", 8, workers=2), train(tmp_path / "b", 8, workers=2)

    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first.parameters(), network().parameters(), strict=True))


def test_the_averaged_weights_are_swapped_in_and_out(tmp_path: Path) -> None:
    model = network()
    trainer = Trainer(model, tmp_path, options(4))
    trained = [p.detach().clone() for p in model.parameters()]
    for average in trainer.ema.values():
        average.zero_()

    with trainer.averaged():
        assert all(not p.any() for p in model.parameters())

    assert all(torch.equal(p, t) for p, t in zip(model.parameters(), trained, strict=True))


def test_a_folder_of_another_model_is_refused(tmp_path: Path) -> None:
    train(tmp_path, 4)

    with pytest.raises(CheckpointError, match="another model"):
        Trainer(nn.Linear(2, 2), tmp_path, options(4)).resume()


def test_the_learning_rate_warms_up_and_falls_to_its_final_fraction() -> None:
    o = Optimisation(steps=100, learning_rate=1.0, warmup_steps=10, final_fraction=0.1)

    rates = [o.rate(step) for step in range(101)]

    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == 1.0
    assert all(a >= b for a, b in pairwise(rates[10:]))
    assert rates[100] == pytest.approx(0.1)


def test_an_epoch_of_batches_has_every_item_once_and_items_of_a_batch_are_alike() -> None:
    lengths = [(7 * i) % 50 + 1 for i in range(103)]

    batches = list(batches_by_length(lengths, 8, epoch_seed=1))

    assert sorted(i for b in batches for i in b) == list(range(103))
    padding = sum(max(lengths[i] for i in b) * len(b) for b in batches) / sum(lengths)
    assert padding < 1.3
    assert batches != list(batches_by_length(lengths, 8, epoch_seed=2))
