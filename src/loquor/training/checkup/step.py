"""Two steps of the training on its largest batch: what trains, whether it learns, and what that takes.

The first step of a LoRA moves only its B, which begins at zero and hides A's gradient; so it takes two. Nothing is
dropped, so that every branch of the model is asked, and the learning rate is the whole one at once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from loquor.training.checkup.findings import Figure, Finding, counted, some
from loquor.training.checkup.memory import Peak
from loquor.training.dataset.reader import Dataset
from loquor.training.finetune import prepare_model
from loquor.training.freezing import STRATEGIES
from loquor.training.lora import LowRankLinear
from loquor.training.order import Order, number_of
from loquor.training.recipes.recipe import VibeVoiceRecipe
from loquor.training.tasks import SpeakingTask
from loquor.training.trainer import Optimisation, Trainer

STEPS = 2
AT_ONCE = 1 << 24  # numbers that are summed in one go: their copy in double precision is small


@dataclass(frozen=True)
class Rehearsed:
    """What the steps have shown. Names of tensors are the model's own."""

    trained: int  # numbers that train
    tensors: int  # that hold them
    strangers: tuple[str, ...]  # train, though the strategy does not name them
    numb: tuple[str, ...]  # got no gradient but zero
    broken: tuple[str, ...]  # got one that is not finite
    moved: tuple[str, ...]  # frozen, and changed all the same
    adapters: int  # LoRAs
    idle: tuple[str, ...]  # LoRAs whose B is still zero
    before: float  # loss of the batch, in evaluation
    after: float
    seconds: float  # of the second step
    peak_bytes: int | None
    frames: int  # of the batch, padding included


class _Steps(Trainer):
    """The trainer, on one batch; it remembers what gradients were like."""

    def __init__(self, task: SpeakingTask, recipe: VibeVoiceRecipe, folder: Path, batch: Any, draws: Any) -> None:
        options = recipe.optimiser
        optimisation = Optimisation(
            steps=STEPS,
            learning_rate=options.learning_rate,
            warmup_steps=0,
            final_fraction=1.0,
            betas=(options.betas[0], options.betas[1]),
            weight_decay=options.weight_decay,
            clip_norm=options.clip_norm,
            ema_decay=options.ema_decay,
            autocast=options.precision == "bfloat16",
        )
        super().__init__(task.training, folder, optimisation)
        self.batch, self.draws = batch, draws
        self.norms = dict.fromkeys(self.parameters, 0.0)  # the largest so far; NaN, once one was not finite

    def take(self, device: torch.device) -> float:
        """One step; gives its seconds."""
        started = time.perf_counter()
        self._one_step(lambda: self._remembered(device))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    def _remembered(self, device: torch.device) -> dict[str, float]:
        with torch.autocast(device.type, torch.bfloat16, enabled=self.options.autocast):
            losses: dict[str, Tensor] = self.model(self.batch, self.draws)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        for name, p in self.parameters.items():
            norm = 0.0 if p.grad is None else float(p.grad.norm())
            self.norms[name] = max(self.norms[name], norm) if math.isfinite(norm + self.norms[name]) else math.nan
        return {name: float(loss.detach()) for name, loss in losses.items()}

    @torch.no_grad()
    def loss(self) -> float:
        """Of the batch, in float32 and without dropout."""
        self.model.eval()
        return float(self.model(self.batch, self.draws)["loss"])


def rehearse(task: SpeakingTask, recipe: VibeVoiceRecipe, data: Dataset, device: torch.device) -> Rehearsed:
    """Prepare the model of `task` as a training does, and take two steps. The model is another afterwards."""
    model = task.model
    trained = prepare_model(task, recipe)
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    strangers = [name for name in names if not _is_named(model, name, recipe)]
    low_ranks = {name: part for name, part in model.named_modules() if isinstance(part, LowRankLinear)}
    items, frames = largest_batch(task, recipe, data)
    batch, draws = _lay_out(task, recipe, data, items)
    if not names:
        return Rehearsed(0, 0, (), (), (), (), 0, (), 0.0, 0.0, 0.0, None, frames)
    frozen = _sums(model)
    with TemporaryDirectory() as folder:
        steps = _Steps(task, recipe, Path(folder), batch, draws)
        before = steps.loss()
        peak = Peak(device)
        seconds = [steps.take(device) for _ in range(STEPS)][-1]
        peak_bytes, after = peak.bytes(), steps.loss()
    norms = {name.removeprefix("model."): norm for name, norm in steps.norms.items()}
    return Rehearsed(
        trained=trained,
        tensors=len(names),
        strangers=tuple(strangers),
        numb=tuple(name for name, norm in norms.items() if norm == 0),
        broken=tuple(name for name, norm in norms.items() if math.isnan(norm)),
        moved=tuple(name for name, total in _sums(model).items() if total != frozen[name]),
        adapters=len(low_ranks),
        idle=tuple(name for name, layer in low_ranks.items() if not layer.up.any()),
        before=before,
        after=after,
        seconds=seconds,
        peak_bytes=peak_bytes,
        frames=frames,
    )


def largest_batch(task: SpeakingTask, recipe: VibeVoiceRecipe, data: Dataset) -> tuple[list[int], int]:
    """The items of the largest batch of the first epoch, and its frames with padding."""
    frames = [task.frames(record) for record in data.records]
    batches = Order(frames, recipe.batch.frames, recipe.seed).epoch(0)
    return max(((items, len(items) * max(frames[i] for i in items)) for items in batches), key=lambda pair: pair[1])


def _lay_out(task: SpeakingTask, recipe: VibeVoiceRecipe, data: Dataset, items: list[int]) -> tuple[Any, Any]:
    examples, draws = [], []
    for item in items:
        generator = torch.Generator().manual_seed(number_of(recipe.seed, 0, item))
        examples.append(task.lay_out(data[item], generator, True))
        draws.append(task.training.draw(examples[-1], generator))
    return task.collate(examples), type(draws[0]).join(draws)


def _is_named(model: nn.Module, name: str, recipe: VibeVoiceRecipe) -> bool:
    """Whether the recipe's strategy lets a parameter train."""
    strategy, (layer, _, last) = STRATEGIES[recipe.strategy], name.rpartition(".")
    is_thin = isinstance(model.get_submodule(layer), LowRankLinear) and last in ("up", "down")
    return is_thin if name.startswith(strategy.lora or "\0") else name.startswith(strategy.full)


@torch.no_grad()
def _sums(model: nn.Module) -> dict[str, float]:
    """Of every tensor that does not train: another sum is another tensor."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: _sum(tensor.flatten()) for name, tensor in tensors.items() if not tensor.requires_grad}


def _sum(numbers: Tensor) -> float:
    return sum(float(part.sum(dtype=torch.float64)) for part in torch.split(numbers, AT_ONCE))


def what_trains(found: Rehearsed, recipe: VibeVoiceRecipe, total: int) -> Iterator[Finding]:
    """`total`: numbers of the model."""
    share = found.trained / max(total, 1)
    figures: dict[str, Figure] = {"tensors": found.tensors, "numbers": found.trained, "share": round(share, 4)}
    detail = f"{found.trained:,} numbers in {counted(found.tensors, 'tensor')}, {share:.1%} of the model"
    if not found.trained:
        advice = f"the strategy {recipe.strategy} names no part of this model: strategy=conservative, or lora"
        yield Finding("trains", "fail", "nothing", advice, figures)
    elif found.strangers:
        detail += f"; {counted(len(found.strangers), 'tensor')} that {recipe.strategy} does not name: "
        detail += some(found.strangers)
        advice = "the model would change where it should not: a fault of Loquor, please report it"
        yield Finding("trains", "fail", detail, advice, figures, found.strangers)
    else:
        yield Finding("trains", "ok", detail, figures=figures)


def how_it_learns(found: Rehearsed) -> Iterator[Finding]:
    total = found.tensors
    if not total:
        return
    silent = (*found.broken, *found.numb)
    figures: dict[str, Figure] = {"zero": len(found.numb), "not finite": len(found.broken)}
    if silent:
        kind = "NaN or infinite" if found.broken else "no gradient"
        detail = f"{len(silent)} of {total} tensors got {kind}{' ones' if found.broken else ''}: {some(silent)}"
        advice = "see `latents` and `latent scale` above" if found.broken else "they would never learn: is a loss 0?"
        yield Finding("gradients", "fail", detail, advice, figures, silent)
    else:
        detail = f"finite and not zero for all {total} tensors"
        yield Finding("gradients", "ok", detail, figures=figures)
    yield _effect(found)
    if found.moved:
        detail = f"{counted(len(found.moved), 'tensor')} changed: {some(found.moved)}"
        advice = "what should stay did not: a fault of Loquor, please report it"
        yield Finding("frozen", "fail", detail, advice, items=found.moved)
    else:
        yield Finding("frozen", "ok", "everything else stayed as it was")


def _effect(found: Rehearsed) -> Finding:
    """Whether what trains is heard: a LoRA that nobody applies learns for hours and changes nothing."""
    name = "adapter" if found.adapters else "effect"
    detail = f"the loss of a batch went from {found.before:.6g} to {found.after:.6g} in {STEPS} steps"
    figures: dict[str, Figure] = {"before": str(found.before), "after": str(found.after), "adapters": found.adapters}
    if math.isfinite(found.before):
        figures |= {"before": found.before, "after": str(found.after)}
    advice = "the training would change nothing that is heard: a fault of Loquor, please report it"
    if found.idle:
        detail = f"{len(found.idle)} of {found.adapters} LoRAs did not move: {some(found.idle)}; {detail}"
        return Finding(name, "fail", detail, advice, figures, found.idle)
    if found.before == found.after:
        return Finding(name, "fail", detail, advice, figures)
    if not math.isfinite(found.before + found.after):
        return Finding(name, "fail", detail, "see `latents` and `latent scale`, or lower the learning rate", figures)
    moved = f"all {found.adapters} LoRAs moved; " if found.adapters else ""
    return Finding(name, "ok", moved + detail, figures=figures)
