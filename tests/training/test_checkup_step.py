"""Two steps of a training show what does not learn, what learns against the strategy, and what it takes."""

from __future__ import annotations

import dataclasses
import shutil
from collections import namedtuple

import pytest
import torch
from torch.nn import functional as F

from loquor.errors import CheckpointError, ConfigError
from loquor.training import finetune
from loquor.training.checkup import checkup, cost, step
from loquor.training.dataset.reader import Dataset
from loquor.training.finetune_realtime import RealtimeTuning
from loquor.training.freezing import STRATEGIES, Strategy
from loquor.training.lora import LowRankLinear
from training.ailing import copied, examine, faults, named, prepare_sound, rewrite_model, rewrite_shard
from training.tunable import recipe, tune


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return prepare_sound(tmp_path_factory.mktemp("realtime"), "realtime")


def test_an_adapter_that_nobody_applies(sound, monkeypatch):
    monkeypatch.setattr(LowRankLinear, "forward", lambda self, x: self.base(x))
    findings = examine(sound, "realtime-lora")
    assert faults(findings) == {"gradients": "fail", "adapter": "fail"}
    adapter = named(findings, "adapter")
    assert adapter.detail.startswith("24 of 24 LoRAs did not move: ")
    assert "head.layers.0.ffn.down" in adapter.items
    assert named(findings, "gradients").figures["zero"] == 48


def test_an_adapter_that_is_applied_to_a_copy(sound, monkeypatch):
    """One layer in four is left out: gradients of the others do not hide it."""
    whole = LowRankLinear.forward
    monkeypatch.setattr(
        LowRankLinear, "forward", lambda self, x: self.base(x) if len(self.rows) == 3 else whole(self, x)
    )
    adapter = named(examine(sound, "realtime-lora"), "adapter")
    assert (adapter.verdict, len(adapter.items)) == ("fail", 3)
    assert all(name.endswith("attention.qkv") for name in adapter.items)


def test_what_trains_is_not_heard(sound, monkeypatch):
    def deaf(self, batch, draws, over=None):
        loss = sum(p.sum() for p in self.parameters() if p.requires_grad)
        return {"loss": loss - loss.detach() + 1.0}

    monkeypatch.setattr(RealtimeTuning, "forward", deaf)
    assert faults(examine(sound, "realtime-conservative")) == {"effect": "fail"}


def test_tensors_outside_the_strategy_that_train(sound, monkeypatch):
    whole = step.prepare_model

    def prepare(task, chosen):
        task.model.types.weight.requires_grad_(True)
        return whole(task, chosen)

    monkeypatch.setattr(step, "prepare_model", prepare)
    trains = named(examine(sound, "realtime-lora"), "trains")
    assert (trains.verdict, trains.items) == ("fail", ("types.weight",))
    assert "1 tensor that lora does not name: types.weight" in trains.detail


def test_frozen_tensors_that_change(sound, monkeypatch):
    whole = RealtimeTuning.forward

    def careless(self, *inputs):
        self.model.latent_scale.bias += 1e-3
        return whole(self, *inputs)

    monkeypatch.setattr(RealtimeTuning, "forward", careless)
    frozen = named(examine(sound, "realtime-lora"), "frozen")
    assert (frozen.verdict, frozen.items) == ("fail", ("latent_scale.bias",))


def test_a_loss_that_is_left_out_leaves_its_part_without_gradients(sound):
    findings = examine(sound, "realtime-lora", "loss.end=0")
    gradients = named(findings, "gradients")
    assert gradients.verdict == "fail"
    assert set(gradients.items) == {f"end_classifier.fc{i}.{kind}" for i in (1, 2) for kind in ("weight", "bias")}
    assert "is a loss 0?" in gradients.advice


def test_gradients_that_are_no_numbers(sound, monkeypatch):
    monkeypatch.setattr(F, "mse_loss", lambda a, b, reduction: (a - a).sum().sqrt())
    findings = examine(sound, "realtime-conservative")
    assert faults(findings)["gradients"] == "fail"
    assert named(findings, "gradients").figures["not finite"] > 40


def test_a_strategy_that_names_nothing(sound, monkeypatch):
    monkeypatch.setitem(STRATEGIES, "conservative", Strategy("nothing", full=("elsewhere.",)))
    findings = examine(sound, "realtime-conservative")
    assert faults(findings) == {"trains": "fail"}
    assert named(findings, "trains").detail == "nothing"


def test_the_largest_batch_is_the_one_that_is_tried(sound):
    from loquor.models import family_of
    from loquor.training.tasks import RealtimeTask

    chosen = recipe(sound, "realtime-lora", sound["data"], "batch.frames=13")
    model = family_of(sound["model"]).load(sound["model"], torch.float32)
    data = Dataset(sound["data"])
    items, frames = step.largest_batch(RealtimeTask(model, sound["model"], chosen), chosen, data)
    assert frames == max(data.frames) * len(items) <= 13 and len(items) == 2


@pytest.mark.parametrize(("steps", "verdict"), [(1, "warn"), (30, "ok"), (100_000, "warn")])
def test_how_often_items_are_seen(sound, steps, verdict):
    findings = examine(sound, "realtime-lora", f"optimiser.steps={steps}", "batch.accumulation=1")
    passes, time = named(findings, "passes"), named(findings, "time")
    assert passes.verdict == verdict
    assert passes.figures["passes"] == round(steps / passes.figures["epoch"], 3)
    assert time.figures["total_s"] == pytest.approx(steps * time.figures["step_s"], rel=0.1, abs=0.1)


def test_a_machine_without_the_memory_is_not_asked_to_take_a_step(sound, monkeypatch):
    monkeypatch.setattr(cost, "available_on", lambda device: 1_000_000)
    monkeypatch.setattr(step, "rehearse", lambda *_: pytest.fail("a step was taken"))
    findings = examine(sound, "realtime-full")
    assert faults(findings) == {"memory": "fail"}
    assert named(findings, "memory").figures["needed"] == 5 * 4 * 76_577


def test_memory_that_hardly_suffices_and_a_step_that_does_not_fit(sound, monkeypatch):
    monkeypatch.setattr(cost, "available_on", lambda device: 5_000_000)
    assert faults(examine(sound, "realtime-lora")) == {"memory": "warn"}

    def burst(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(step, "rehearse", burst)
    memory = named(examine(sound, "realtime-lora"), "memory")
    assert (memory.verdict, memory.detail) == (
        "fail",
        "a step does not fit: CUDA out of memory. Tried to allocate 2 GiB",
    )


def test_a_disk_that_is_full(sound, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 1000))
    disk = named(examine(sound, "realtime-lora"), "disk")
    assert (disk.verdict, disk.figures["free"]) == ("fail", 1000)
    assert disk.figures["needed"] > 2 * 16 * 47_521


def test_packages_that_would_be_missed_at_the_end(sound, monkeypatch):
    monkeypatch.setattr(checkup, "PACKAGES", ("accelerate", "not_there"))
    findings = examine(sound, "realtime-lora")
    assert faults(findings) == {"packages": "fail"}
    assert named(findings, "packages").detail == "missing: not_there"


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.0251, "0.025 s"), (12.4, "12 s"), (59.9, "60 s"), (150, "2 min"), (12_000, "3 h 20 min")]
)
def test_times_are_told_as_people_do(seconds, told):
    assert cost.in_time(seconds) == told


def test_training_itself_stops_at_once_where_nothing_can_be_learned(sound, tmp_path, monkeypatch):
    nothing = copied(sound, tmp_path / "nothing")
    rewrite_model(nothing["model"], lambda tensors: tensors["model.speech_scaling_factor"].zero_())
    with pytest.raises(CheckpointError, match=r"latent scale of .* is 0, its bias") as error:
        tune(recipe(nothing, "realtime-lora", tmp_path / "a"))
    assert error.value.hint == finetune.DOCTOR

    broken = copied(sound, tmp_path / "broken")
    rewrite_shard(broken["data"], lambda tensors: tensors["latents"].fill_(torch.nan))
    with pytest.raises(CheckpointError, match="the loss of the first step is nan"):
        tune(recipe(broken, "realtime-lora", tmp_path / "b"))

    monkeypatch.setitem(STRATEGIES, "lora", dataclasses.replace(STRATEGIES["lora"], full=(), lora=("elsewhere.",)))
    with pytest.raises(ConfigError, match="the strategy lora names no part of"):
        tune(recipe(sound, "realtime-lora", tmp_path / "c"))
