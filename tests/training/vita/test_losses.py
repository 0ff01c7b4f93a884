"""The losses of the backbone and its modules; recorded ones are compared in tests/parity/test_vita_training.py."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from loquor.models.vita.model import VitaConfig, VitaModel
from loquor.models.vita.prompt import QUERIES
from loquor.models.vita.sensevoice import SenseVoiceConfig
from loquor.nn.qwen2 import Qwen2Config
from loquor.training.vita.losses import Counts, VitaBatch, VitaTraining, collate
from loquor.training.vita.packing import Packer
from loquor.training.vita.tokens import IGNORED, Example

DECODER = Qwen2Config(16, 24, 2, 4, 2, 40, 128)
ENCODER = SenseVoiceConfig(input_size=8, output_size=8, attention_heads=2, linear_units=8, num_blocks=2, tp_blocks=1)
MODULES = 3


def model_of(encoder: SenseVoiceConfig | None = None) -> VitaModel:
    torch.manual_seed(0)
    return VitaModel(VitaConfig(DECODER, MODULES, has_own_token_head=True, encoder=encoder))


def example_of(ids: list[int], unlearned: int = 2) -> Example:
    tokens = torch.tensor(ids)
    labels = tokens.masked_fill(torch.arange(len(ids)) < unlearned, IGNORED)
    return Example(tokens, labels, torch.zeros(len(ids), dtype=torch.bool))


def batch_of(*rows: list[list[int]], length: int = 24) -> VitaBatch:
    packed = []
    for examples in rows:
        packer = Packer(length, pad=0)
        for ids in examples:
            assert packer.add(example_of(ids)) is None
        packed += packer.flush()
    return collate(packed)


ids = st.lists(st.integers(1, 39), min_size=1, max_size=12)


@settings(max_examples=12)
@given(first=ids, second=ids)
def test_what_a_step_learns_does_not_depend_on_how_samples_are_packed(first: list[int], second: list[int]) -> None:
    training = VitaTraining(model_of())
    together, apart = batch_of([first, second]), batch_of([first], [second])

    one, other = (training(batch, over=Counts(5.0)) for batch in (together, apart))

    for name, loss in one.items():
        torch.testing.assert_close(loss, other[name], atol=1e-5, rtol=1e-5)


@settings(max_examples=12)
@given(first=ids, second=ids, other=ids)
def test_a_sample_is_not_seen_by_the_one_behind_it(first: list[int], second: list[int], other: list[int]) -> None:
    training = VitaTraining(model_of())
    length = len(second)

    def states(before: list[int]) -> list[torch.Tensor]:
        stages = training.stages(batch_of([before, second]))
        return [s.hidden[s.starts[-1] :][: length - s.first] for s in stages if len(s.starts) and length > s.first]

    with torch.no_grad():
        for one, another in zip(states(first), states(other), strict=True):
            torch.testing.assert_close(one, another, atol=1e-5, rtol=1e-5)


def test_each_module_predicts_one_token_further() -> None:
    """The definition, row by row, on one sample without padding."""
    model = model_of()
    sample = list(range(1, 11))
    with torch.no_grad():
        losses = VitaTraining(model)(batch_of([sample], length=len(sample)))
        tokens = torch.tensor([sample])
        hidden = model(model.embedding(tokens))
        for k in range(MODULES):
            hidden = model.predict(k, model.embedding(tokens[:, k + 1 :]), hidden[:, :-1])
            logits = model.logits(hidden[0, :-1])
            expected = F.cross_entropy(logits, tokens[0, k + 2 :])
            torch.testing.assert_close(losses[f"module {k}"], expected, atol=1e-5, rtol=1e-5)
        main = (
            losses["main"] + model.config.mtp_loss_weight * sum(losses[f"module {k}"] for k in range(MODULES)) / MODULES
        )
    torch.testing.assert_close(losses["loss"], main)


def test_parts_of_a_step_add_up_to_the_step() -> None:
    training = VitaTraining(model_of())
    whole = batch_of([[1, 2, 3, 4, 5]], [[6, 7, 8, 9, 10, 11]])
    parts = [batch_of([[1, 2, 3, 4, 5]]), batch_of([[6, 7, 8, 9, 10, 11]])]

    count = parts[0].counts + parts[1].counts

    assert count == whole.counts == Counts(7)
    total = sum(training(part, over=count)["loss"] for part in parts)
    torch.testing.assert_close(total, training(whole, over=count)["loss"])


def test_the_first_label_of_a_sample_is_nobodys_target_unless_asked() -> None:
    """A sample whose labels begin at once: the published loss lets the sample before it predict them."""
    model = model_of()
    rows = [
        Example(torch.tensor(t), torch.tensor(t), torch.zeros(len(t), dtype=torch.bool)) for t in ([1, 2, 3], [4, 5, 6])
    ]
    packer = Packer(6, pad=0)
    for row in rows:
        packer.add(row)
    batch = collate(list(packer.flush()))

    with torch.no_grad():
        ours, published = (VitaTraining(model, crosses)(batch, over=Counts(1.0))["main"] for crosses in (False, True))

    assert float(published - ours) > 0.1, "one more target"


def test_samples_too_short_for_a_module_vanish_and_leave_a_loss_of_zero() -> None:
    with torch.no_grad():
        losses = VitaTraining(model_of())(batch_of([[1, 2, 3]], length=3))

    assert [float(losses[f"module {k}"]) > 0 for k in range(MODULES)] == [True, False, False]
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_a_frozen_head_leaves_the_backbone_alone() -> None:
    model = model_of()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("predictors."))

    losses = VitaTraining(model)(batch_of([[1, 2, 3, 4, 5, 6, 7]]))
    losses["loss"].backward()

    torch.testing.assert_close(losses["loss"], sum(losses[f"module {k}"] for k in range(MODULES)) / MODULES)
    assert losses["main"].item() > 0
    assert all((p.grad is not None) == n.startswith("predictors.") for n, p in model.named_parameters())


def test_modules_of_a_plus_model_do_not_reach_the_backbone_those_of_a_base_model_do() -> None:
    for encoder in (None, ENCODER):
        model = model_of(encoder)
        batch = batch_of([[1, 2, 3, 4, 5, 6, 7]])

        modules = VitaTraining(model)(batch)
        torch.stack([modules[f"module {k}"] for k in range(MODULES)]).sum().backward()

        assert (model.embedding.weight.grad is None) == (encoder is not None)


def test_what_is_heard_changes_the_backbone_and_what_modules_make_of_it() -> None:
    model = model_of(ENCODER)
    batch = batch_of([list(range(1, 13))])
    is_heard = torch.zeros_like(batch.is_heard)
    is_heard[0, 2 : 2 + 3 + QUERIES] = True

    def loss(features: torch.Tensor) -> torch.Tensor:
        heard = dataclasses.replace(batch, is_heard=is_heard, features=(features,))
        return VitaTraining(model)(heard)["loss"]

    one, other = (loss(torch.randn(3, 8, generator=torch.Generator().manual_seed(seed))) for seed in (0, 1))
    assert (one - other).detach().abs().item() > 1e-4
    one.backward()
    assert model.listener is not None
    assert model.listener.projection.out.weight.grad is not None


def test_features_of_several_rows_stand_where_they_belong() -> None:
    model = model_of(ENCODER)
    features = [torch.randn(n, 8, generator=torch.Generator().manual_seed(n)) for n in (2, 5)]
    rows = []
    for heard in features:
        packer = Packer(16, pad=0)
        is_heard = torch.zeros(12, dtype=torch.bool)
        is_heard[1 : 1 + len(heard) + QUERIES] = True
        tokens = torch.arange(1, 13)
        packer.add(Example(tokens, tokens, is_heard, (heard,)))
        rows += packer.flush()

    with torch.no_grad():
        both = next(VitaTraining(model).stages(collate(rows))).hidden
        alone = torch.cat([next(VitaTraining(model).stages(collate([row]))).hidden for row in rows])
    torch.testing.assert_close(both, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("modules", [0])
def test_a_model_without_modules_learns_the_next_token_only(modules: int) -> None:
    model = VitaModel(VitaConfig(DECODER, modules, has_own_token_head=True))

    losses = VitaTraining(model)(batch_of([[1, 2, 3, 4]]))

    assert set(losses) == {"loss", "main"} and losses["loss"] == losses["main"]
