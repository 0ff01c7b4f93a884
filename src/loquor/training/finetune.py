"""Fine-tunes a model by a recipe: one process or several, killed and resumed, with the same result.

A step is made of `accumulation` batches, shared out over the processes. What an example draws follows from the seed,
the step and its number in the data, what a batch drops (dropout), from the seed, the step and its number in the step:
so neither a resume nor the number of processes changes what is learned, but for the order of sums.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from loquor.checkpoints import write_text
from loquor.configs import read_json
from loquor.errors import CheckpointError, ConfigError, InputError
from loquor.nn.qwen2 import DecoderLayer
from loquor.training.freezing import STRATEGIES
from loquor.training.lora import add_low_rank
from loquor.training.material import Inputs, Material, Place, Share, Task
from loquor.training.order import number_of
from loquor.training.prepared import Prepared
from loquor.training.processes import Processes, whole
from loquor.training.recipes.recipe import Recipe, VibeVoiceRecipe, VitaRecipe
from loquor.training.samples import Judging, Samples
from loquor.training.tasks import SpeakingTask
from loquor.training.trainer import Log, Optimisation, Trainer
from loquor.training.vita.stage import Conversations

logger = logging.getLogger(__name__)

RUN = "run.json"
DOCTOR = "`loquor doctor train` with the same recipe says why"
NEVER = 2**62
MODULES = ("model.predictors.",)  # those of VITA-Audio, as its training names them
Progress = Callable[[int, float], None]  # told each step and its loss
Look = Callable[[Task, int], dict[str, float]]  # what is found out about the model at a step


class FineTuner(Trainer):
    """The loop of `trainer`, on the batches of a task."""

    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        material: Material,
        folder: Path,
        processes: Processes,
        open_whole: Callable[[], Task],
    ) -> None:
        super().__init__(task.training, folder, optimisation(recipe))
        self.task, self.recipe, self.material, self.processes = task, recipe, material, processes
        self.told: dict[str, Any] = {}  # what is to be told about the data, when all is learned
        self._open_whole = functools.cache(open_whole)  # the task again, where its own model is cut up

    def train(self, look: Look | None, progress: Progress) -> None:
        """Run to the last step; `look` is asked as often as the recipe says."""
        every = getattr(self.recipe.watch, "sample_every", 0)

        def looked(step: int, values: dict[str, float]) -> None:
            progress(step, values["loss"])
            if look and every and (step % every == 0 or step == self.options.steps):
                self._look(look, step)

        self.run(self._all_gradients, self._validate if self.material.has_validation() else None, looked)

    def place(self) -> Place:
        """That of all processes, all of which must ask."""
        return self.processes.merged(self.material.place())

    def go_on(self, place: Place) -> None:
        self.material.go_on(place)

    def open_log(self) -> Log:
        return super().open_log() if self.processes.is_main else _Nowhere()

    def save(self) -> None:
        if self.processes.is_main:
            super().save()
        else:  # what is cut up is put together by all, and so is the place in the data
            self.place()
            for _ in self.tensors():
                pass

    def take_average(self) -> None:
        """Give the model its averaged weights for good, and the whole of them to the main process."""
        if self.processes.is_cutting:
            with self._whole_average() as task:
                self.task = task or self.task
            return
        for name, parameter in self.parameters.items():
            parameter.data.copy_(self.ema[name])
        self.model.eval()

    @contextmanager
    def _whole_average(self) -> Iterator[Task | None]:
        """The task with averaged weights, none of them cut up, in the main process; all processes must take part.

        A model that is cut up would need all processes for every frame: another speaks in its place, on the CPU.
        """
        if not self.processes.is_cutting:
            with self.averaged():
                self.model.eval()
                yield self.task if self.processes.is_main else None
            return
        task = self._open_whole() if self.processes.is_main else None
        for name, average in self.ema.items():
            tensor = whole(average)
            if task:
                task.training.get_parameter(name).data.copy_(tensor)
        yield task

    def _all_gradients(self) -> dict[str, float]:
        """Fill every gradient with that of the whole step; gives its losses."""
        shares = self.processes.share(self.recipe.batch.accumulation)
        batches = self.material.batches(self.task, self.step, shares)
        over, total = self._counts(batches, shares), dict[str, Tensor]()
        for (part, weight), inputs in zip(shares, batches, strict=True):
            torch.manual_seed(number_of(self.options.seed, self.step, part))  # of dropout, the one draw torch makes
            losses = self._losses(inputs, over)
            (weight * losses["loss"]).backward()  # type: ignore[no-untyped-call]
            total = {name: total.get(name, 0) + weight * loss.detach() for name, loss in losses.items()}
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters.values()]
        gradients = gradients if self.processes.is_cutting else self.processes.sums(gradients)
        for p, gradient in zip(self.parameters.values(), gradients, strict=True):
            p.grad = gradient
        values = {name: float(loss) for name, loss in self.processes.sums(total).items()}
        if self.step == 0 and not math.isfinite(values["loss"]):
            raise CheckpointError(f"the loss of the first step is {values['loss']}: nothing can be learned", DOCTOR)
        return values

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Losses of the validation, always with the same draws and without dropping."""
        self.model.eval()
        chosen = self.material.validation(self.task)
        shares = self.processes.share(len(chosen))
        batches = [self.material.validation_inputs(self.task, chosen[part]) for part, _ in shares]
        over = self._counts(batches, shares)
        losses = [self._losses(inputs, over) for inputs in batches]
        weighted = list(zip(shares, losses, strict=True))
        sums = {name: sum(weight * each[name] for (_, weight), each in weighted) for name in self.task.losses}
        return {name: float(loss) for name, loss in self.processes.sums(sums).items()}

    def _counts(self, batches: Sequence[Inputs], shares: Sequence[Share]) -> Any:
        """What the losses of these batches, and of those of the other processes, are means over."""
        own = [batch.counts for (batch, *_), (_, weight) in zip(batches, shares, strict=True) if weight]
        counts = functools.reduce(lambda a, b: a + b, own, self.task.nothing)
        numbers = torch.tensor(dataclasses.astuple(counts), dtype=torch.float64, device=self.processes.device)
        return type(counts)(*self.processes.sums(numbers).tolist())

    def _losses(self, inputs: Inputs, over: Any) -> dict[str, Tensor]:
        with torch.autocast(self.processes.device.type, torch.bfloat16, enabled=self.options.autocast):
            losses: dict[str, Tensor] = self.model(*inputs, over)
        return losses

    def _look(self, look: Look, step: int) -> None:
        with self._whole_average() as task:
            measures = look(task, step) if task else {}
            if measures:
                self.log.write(step, measures, force=True)


class _Nowhere(Log):
    """The curves of processes that keep none."""

    def __init__(self) -> None:
        pass

    def write(self, step: int, values: dict[str, float], force: bool = False) -> None:
        pass

    def close(self) -> None:
        pass


def optimisation(recipe: Recipe) -> Optimisation:
    """How the trainer is to learn by a recipe."""
    options = recipe.optimiser
    fast: dict[str, Any] = {}
    if isinstance(recipe, VitaRecipe):
        fast = {"fast": MODULES, "fast_rate": recipe.optimiser.modules_rate}
    return Optimisation(
        steps=options.steps,
        learning_rate=options.learning_rate,
        warmup_steps=options.warmup_steps,
        final_fraction=options.final_fraction,
        betas=(options.betas[0], options.betas[1]),
        weight_decay=options.weight_decay,
        clip_norm=options.clip_norm,
        ema_decay=options.ema_decay,
        seed=recipe.seed,
        autocast=options.precision == "bfloat16",
        save_every=recipe.watch.save_every,
        validate_every=recipe.watch.validate_every or NEVER,
        **fast,
    )


def prepare_model(task: Task, recipe: Recipe) -> int:
    """Let train what the recipe's strategy names; gives how many numbers that are."""
    strategy, model = STRATEGIES[recipe.strategy], task.model
    for name, parameter in model.named_parameters():
        if name.startswith(strategy.full):
            parameter.data = parameter.data.clone()  # it may be a view of a file
            parameter.requires_grad_(True)
    if strategy.lora and isinstance(recipe, VibeVoiceRecipe):
        add_low_rank(model, task.entries, strategy.lora, recipe.lora, number_of(recipe.seed))
    if recipe.batch.checkpointing:
        for layer in [layer for layer in model.modules() if isinstance(layer, DecoderLayer)]:
            _remember_less(layer)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _remember_less(layer: nn.Module) -> None:
    """Compute a layer again when its gradient is asked for, instead of keeping all that it computed."""
    once = layer.forward

    def forward(*inputs: Any) -> Any:
        return checkpoint(once, *inputs, use_reentrant=False) if torch.is_grad_enabled() else once(*inputs)

    setattr(layer, "forward", forward)  # noqa: B010 - to mypy a method is no variable


def finetune(
    recipe: Recipe,
    folder: Path,
    processes: Processes,
    progress: Progress = lambda step, loss: None,
    judging: Judging | None = None,
) -> FineTuner:
    """Train the model in `folder` by `recipe`, from the beginning or from where a killed run stopped.

    The model then has its averaged weights; `judging` makes the judge of its samples. InputError if the recipe lacks
    data or a place to write to, CheckpointError if data, model or an earlier run do not fit it.
    """
    material = open_material(recipe)
    if recipe.batch.accumulation < processes.count:
        raise ConfigError(
            f"{processes.count} processes cannot share {recipe.batch.accumulation} batches",
            hint=f"batch.accumulation={processes.count}",
        )
    out = Path(recipe.out).expanduser()
    cpu = torch.device("cpu")

    def opened(device: torch.device = cpu) -> Task:
        task = material.open_task(folder, device)
        prepare_model(task, recipe)
        return task

    task = opened(cpu if processes.is_cutting else processes.device)
    count = sum(p.numel() for p in task.model.parameters() if p.requires_grad)
    _require_same_run(out, recipe, material)
    if not count:
        raise ConfigError(f"the strategy {recipe.strategy} names no part of {folder}", hint="choose another strategy=")
    task.require_sound()
    logger.info("%s; %d numbers train", material, count)
    if processes.is_cutting:
        processes.cut(task.training)
    tuner = FineTuner(task, recipe, material, out, processes, opened)
    processes.wait()
    if processes.is_main:
        write_text(out / RUN, json.dumps(_facts(recipe, material), indent=1))
    tuner.train(_look_of(material, out, judging), progress)
    tuner.told = material.told(tuner.place())
    tuner.take_average()
    processes.wait()
    return tuner


def open_material(recipe: Recipe) -> Material:
    """The data of a recipe; InputError if it does not say where that is, or where to write."""
    for key, example in (("data", "./prepared"), ("out", "./run")):
        if not getattr(recipe, key):
            raise InputError(f"the recipe does not say {key}", hint=f"add {key}={example}")
    if isinstance(recipe, VitaRecipe):
        return Conversations(recipe)
    assert isinstance(recipe, VibeVoiceRecipe)
    return Prepared(recipe)


def _look_of(material: Material, out: Path, judging: Judging | None) -> Look | None:
    """Samples, of models that speak by themselves."""
    if not isinstance(material, Prepared):
        return None
    watch = material.recipe.watch
    samples = Samples(watch.samples, out, material.held_out or material.data, judging if watch.judge else None)
    return lambda task, step: samples.take(cast(SpeakingTask, task), step)


def _facts(recipe: Recipe, material: Material) -> dict[str, Any]:
    return {"recipe": recipe.as_dict()} | material.facts()


def _require_same_run(out: Path, recipe: Recipe, material: Material) -> None:
    """CheckpointError if `out` holds a run that learns something else."""
    if not (out / RUN).exists():
        return
    found = read_json(out / RUN)
    differences = recipe.differences(found.get("recipe", {}))
    facts = json.loads(json.dumps(material.facts()))
    differences += [f"the {name} of the data" for name, value in facts.items() if found.get(name) != value]
    if differences:
        raise CheckpointError(
            f"{out} holds another run: it differs in {', '.join(differences)}", hint="choose another out="
        )
