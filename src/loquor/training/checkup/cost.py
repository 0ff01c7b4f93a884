"""What a training takes: passes over the data, hours, memory, and room on the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from loquor.training.checkup.findings import Case, Figure, Finding, counted
from loquor.training.checkup.memory import available_on
from loquor.training.checkup.step import Rehearsed
from loquor.training.freezing import STRATEGIES
from loquor.training.order import Order
from loquor.training.tasks import SpeakingTask

FLOAT = 4  # bytes
KEPT, HELD = 4, 5  # copies of what trains: weight, average, two moments; with its gradient
MANY_PASSES = 500  # the model has heard every item so often that it knows them by heart
TIGHT = 0.9  # of the memory
BUSY = 1.5  # programs that want to run for each processor
LONG_S = 7 * 24 * 3600.0


def passes(case: Case, task: SpeakingTask) -> Iterator[Finding]:
    """How often each item is seen."""
    recipe = case.recipe
    batches = len(_epoch(case, task))
    steps_of_epoch = batches / recipe.batch.accumulation
    times = recipe.optimiser.steps / steps_of_epoch
    figures: dict[str, Figure] = {"steps": recipe.optimiser.steps, "epoch": steps_of_epoch, "passes": round(times, 3)}
    detail = f"{recipe.optimiser.steps:,} steps of {counted(recipe.batch.accumulation, 'batch')}"
    detail += f"; an epoch is {steps_of_epoch:,.1f} steps, each item is seen {times:,.1f} times"
    if times < 1:
        advice = "some items are never seen: more optimiser.steps"
        yield Finding("passes", "warn", detail, advice, figures)
    elif times > MANY_PASSES:
        advice = "it will know them by heart: fewer optimiser.steps, or more data; watch the validation loss"
        yield Finding("passes", "warn", detail, advice, figures)
    else:
        yield Finding("passes", "ok", detail, figures=figures)


def _epoch(case: Case, task: SpeakingTask) -> list[int]:
    """Frames with padding of each batch of the first epoch."""
    frames = [task.frames(record) for record in case.train.records]
    batches = Order(frames, case.recipe.batch.frames, case.recipe.seed).epoch(0)
    return [len(items) * max(frames[i] for i in items) for items in batches]


def hours(case: Case, task: SpeakingTask, found: Rehearsed) -> Iterator[Finding]:
    """A step is as long as its frames are many; validation and samples come on top."""
    batches, recipe = _epoch(case, task), case.recipe
    step_s = found.seconds * recipe.batch.accumulation * sum(batches) / len(batches) / found.frames
    total_s = step_s * recipe.optimiser.steps
    figures: dict[str, Figure] = {"step_s": round(step_s, 4), "total_s": round(total_s, 1)}
    detail = f"a step takes {in_time(step_s)}, {recipe.optimiser.steps:,} of them {in_time(total_s)} in one process"
    load, processors = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0, os.cpu_count() or 1
    if load > BUSY * processors:
        figures["load"] = round(load, 1)
        detail += f" on a busy machine (load {load:.1f} on {counted(processors, 'processor')}): less when it is free"
    if total_s > LONG_S:
        advice = "more processes, another machine, fewer optimiser.steps, or less batch.accumulation"
        yield Finding("time", "warn", detail, advice, figures)
    else:
        yield Finding("time", "ok", detail, figures=figures)


def in_time(seconds: float) -> str:
    """0.25 s, 12 min, 3 h 20 min."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def needed_bytes(model: Any, strategy: str, rank: int) -> int:
    """What weights, gradients, averages and moments hold at least, before anything is computed."""
    chosen, total, trained = STRATEGIES[strategy], 0, 0
    for name, parameter in model.named_parameters():
        total += parameter.numel()
        if name.startswith(chosen.full):
            trained += parameter.numel()
        elif name.startswith(chosen.lora or "\0") and parameter.dim() == 2:
            trained += rank * sum(parameter.shape)
    return FLOAT * (total + HELD * trained)


def memory_before(case: Case, device: torch.device) -> Iterator[Finding]:
    """A finding only if a step cannot even begin: it would be killed, and this check with it."""
    free, needed = available_on(device), needed_bytes(case.model, case.recipe.strategy, case.recipe.lora.rank)
    if device.type == "cpu":
        needed -= FLOAT * sum(parameter.numel() for parameter in case.model.parameters())  # they are there already
    if free is not None and needed > free:
        figures: dict[str, Figure] = {"needed": needed, "available": free}
        detail = f"{_gigabytes(needed)} for weights, gradients, averages and moments, {_gigabytes(free)} are available"
        advice = "strategy=lora, or a machine with more; several processes share it: accelerate launch --use_fsdp"
        yield Finding("memory", "fail", detail, advice, figures)


def memory(found: Rehearsed, device: torch.device) -> Iterator[Finding]:
    free, peak = available_on(device), found.peak_bytes
    if peak is None:
        yield Finding("memory", "ok", f"a step of {found.frames} frames fits; how much it took is not told here")
        return
    detail = f"{_gigabytes(peak)} at the most, in the largest batch, of {found.frames:,} frames"
    figures: dict[str, Figure] = {"peak": peak, "available": free, "frames": found.frames}
    if free is None:
        yield Finding("memory", "ok", detail, figures=figures)
        return
    held = torch.cuda.memory_reserved(device) if device.type == "cuda" else _resident()
    detail += f"; there is {_gigabytes(free + held)}"
    if peak > TIGHT * (free + held):
        advice = "less batch.frames with more batch.accumulation, or batch.checkpointing=true"
        yield Finding("memory", "warn", detail, advice, figures)
    else:
        yield Finding("memory", "ok", detail, figures=figures)


def _resident() -> int:
    """What this process has now."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def disk(case: Case, found: Rehearsed) -> Iterator[Finding]:
    """Each save is whole before it replaces the last; at the end the tuned model is written beside it."""
    out = Path(case.recipe.out or ".").expanduser().absolute()
    existing = next(place for place in (out, *out.parents) if place.exists())
    model = sum(file.stat().st_size for file in case.folder.rglob("*") if file.is_file())
    needed, free = 2 * KEPT * FLOAT * found.trained + model, shutil.disk_usage(existing).free
    figures: dict[str, Figure] = {"needed": needed, "free": free}
    detail = f"{_gigabytes(needed)} for saves and the tuned model, {_gigabytes(free)} are free in {existing}"
    if needed > free:
        yield Finding("disk", "fail", detail, "make room, or choose another out=", figures)
    else:
        yield Finding("disk", "ok", detail, figures=figures)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
