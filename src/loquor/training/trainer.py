"""One training loop for every recipe: warm-up and cosine, clipping, EMA, TensorBoard, exact resume.

All randomness of a step comes from a generator seeded by (seed, step), so a killed run that resumes repeats the
uninterrupted one. A training checkpoint is one safetensors file (weights, EMA, AdamW moments) written atomically;
nothing is pickled.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from loquor.errors import CheckpointError, MissingExtra
from loquor.training.processes import cut_like, whole

logger = logging.getLogger(__name__)
LOG_EVERY = 20  # steps
Losses = dict[str, Tensor]  # "loss" is minimised, the others are logged
LossOfPart = Callable[[int, int, torch.Generator], Losses]  # of step, part of the batch, its randomness


@dataclass(frozen=True)
class Optimisation:
    """How long and how fast to learn."""

    steps: int
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    final_fraction: float = 0.02  # of the learning rate, at the last step of the cosine
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    ema_decay: float = 0.999  # 0: no averages are kept, the weights stand for them
    seed: int = 0
    autocast: bool = True  # bf16 products, everything else fp32
    workers: int = 1  # parts of a batch computed side by side, one thread each
    save_every: int = 250
    validate_every: int = 500
    fast: tuple[str, ...] = ()  # prefixes of parameters that learn at another rate
    fast_rate: float = 1.0  # times the learning rate

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then cosine to `final_fraction`."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        progress = min(1.0, (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps))
        low = self.final_fraction
        return self.learning_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress)))


def step_generator(seed: int, step: int, part: int = 0) -> torch.Generator:
    """The one source of randomness of a training step, or of a part of its batch."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step * 64 + part) % (2**63))


class Trainer:
    """Trains `model` on `loss(step, part, generator)` and keeps everything needed to go on in `folder`."""

    def __init__(self, model: nn.Module, folder: Path, options: Optimisation) -> None:
        self.model, self.folder, self.options = model, folder, options
        self.step = 0
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        averages = {n: p.detach() for n, p in self.parameters.items()}
        self.ema = {n: p.clone() for n, p in averages.items()} if options.ema_decay else averages
        groups = list(_groups(self.parameters, options))
        self.optimizer = torch.optim.AdamW(groups, lr=options.learning_rate, betas=options.betas, fused=True)
        self.pool = ThreadPoolExecutor(options.workers)
        folder.mkdir(parents=True, exist_ok=True)

    def fit(
        self,
        loss: LossOfPart,
        validate: Callable[[], dict[str, float]] | None = None,
        progress: Callable[[int, dict[str, float]], None] | None = None,
    ) -> None:
        """Run to the last step, saving and validating on the way; continues from what `folder` holds."""
        self.run(partial(self._gradients, loss), validate, progress)

    def run(
        self,
        gradients: Callable[[], dict[str, float]],
        validate: Callable[[], dict[str, float]] | None = None,
        progress: Callable[[int, dict[str, float]], None] | None = None,
    ) -> None:
        """`fit`, where `gradients` fills those of all parameters for the step `self.step` and gives its losses."""
        self.resume()
        self.log = self.open_log()
        started = time.perf_counter()
        while self.step < self.options.steps:
            values = self._one_step(gradients)
            values["seconds"] = time.perf_counter() - started
            self.log.write(self.step, values, force=self.step == self.options.steps)
            if progress:
                progress(self.step, values)
            if validate and (self.step % self.options.validate_every == 0 or self.step == self.options.steps):
                with self.averaged():
                    self.log.write(self.step, {f"valid/{k}": v for k, v in validate().items()}, force=True)
            if self.step % self.options.save_every == 0 or self.step == self.options.steps:
                self.save()
        self.log.close()

    def _one_step(self, gradients: Callable[[], dict[str, float]]) -> dict[str, float]:
        rate = self.options.rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["times"]
        self.model.train()
        losses = gradients()
        norm = whole(nn.utils.clip_grad_norm_(self.parameters.values(), self.options.clip_norm))
        if torch.isfinite(norm):
            self.optimizer.step()
        else:
            logger.warning("step %d: gradient is not finite, skipped", self.step)
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if self.options.ema_decay:
            decay = min(self.options.ema_decay, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(list(self.ema.values()), list(self.parameters.values()), 1 - decay)
        return losses | {"rate": rate, "gradient_norm": float(norm)}

    def _gradients(self, loss: LossOfPart) -> dict[str, float]:
        """Fill every parameter's gradient with the mean over the parts of the batch; gives the mean losses.

        Each part has a thread and one core of its own: on small matrices that beats sharing every product.
        """
        parts = list(self.pool.map(partial(self._part, loss), range(self.options.workers)))
        for i, p in enumerate(self.parameters.values()):
            grads = [grad for _, all_grads in parts if (grad := all_grads[i]) is not None]
            p.grad = torch.stack(grads).sum(0).div_(len(parts)) if grads else None
        return {k: sum(float(values[k].detach()) for values, _ in parts) / len(parts) for k in parts[0][0]}

    def _part(self, loss: LossOfPart, part: int) -> tuple[Losses, Sequence[Tensor | None]]:
        if self.options.workers > 1:
            torch.set_num_threads(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.options.autocast):
            losses = loss(self.step, part, step_generator(self.options.seed, self.step, part))
        return losses, torch.autograd.grad(losses["loss"], list(self.parameters.values()), allow_unused=True)

    def open_log(self) -> Log:
        """Where curves go."""
        return Log(self.folder)

    def averaged(self) -> _Swap:
        """Context in which the model holds its averaged (EMA) weights."""
        return _Swap(self.parameters, self.ema)

    def place(self) -> dict[str, Any]:
        """Where in its data the training is, as JSON takes it; nothing where that follows from the step."""
        return {}

    def go_on(self, place: dict[str, Any]) -> None:
        """Take the data up again where `place` says."""

    def save(self) -> None:
        """Everything a resume needs, in one file that replaces the last."""
        place = self.place()
        self.write({name: tensor.cpu().contiguous() for name, tensor in self.tensors()}, place)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """What is saved, tensor by tensor, each whole."""
        for name, p in self.parameters.items():
            yield f"model.{name}", whole(p.detach())
            if self.options.ema_decay:
                yield f"ema.{name}", whole(self.ema[name])
            for key, moment in self.optimizer.state.get(p, {}).items():  # none, if no step was finite yet
                yield f"{key}.{name}", whole(moment)

    def write(self, tensors: dict[str, Tensor], place: dict[str, Any]) -> None:
        """Replace the saved file."""
        meta = {"step": str(self.step), "options": json.dumps(asdict(self.options)), "place": json.dumps(place)}
        target, temporary = self.folder / "training.safetensors", self.folder / "training.tmp"
        save_file(tensors, temporary, metadata=meta)
        os.replace(temporary, target)

    def resume(self) -> None:
        """Continue from `folder`, if it holds a checkpoint of this model."""
        path = self.folder / "training.safetensors"
        if not path.exists():
            return
        with safe_open(path, framework="pt") as file:
            found = {k.removeprefix("model.") for k in file.keys() if k.startswith("model.")}  # noqa: SIM118
            if found != set(self.parameters):
                raise CheckpointError(f"{path} belongs to another model", hint="train into an empty folder")
            metadata = file.metadata()
            self.step = int(metadata["step"])
            self.go_on(json.loads(metadata.get("place", "{}")))
            for name, p in self.parameters.items():
                p.data.copy_(cut_like(p, file.get_tensor(f"model.{name}")))
                if self.options.ema_decay:
                    self.ema[name].copy_(cut_like(p, file.get_tensor(f"ema.{name}")))
                self._restore_moments(p, name, file)
        logger.info("resumed %s at step %d", path, self.step)

    def _restore_moments(self, parameter: nn.Parameter, name: str, file: Any) -> None:
        """AdamW's own step count is behind ours where a step was skipped; older files do not have it."""
        held = set(file.keys())
        moments = {key: f"{key}.{name}" for key in ("exp_avg", "exp_avg_sq") if f"{key}.{name}" in held}
        if not moments:
            return
        count = file.get_tensor(f"step.{name}") if f"step.{name}" in held else torch.tensor(float(self.step))
        state = {key: cut_like(parameter, file.get_tensor(stored)) for key, stored in moments.items()}
        self.optimizer.state[parameter] = {"step": count.to(parameter.device), **state}


def _groups(parameters: dict[str, nn.Parameter], options: Optimisation) -> Iterator[dict[str, Any]]:
    """Matrices, whose weights decay, apart from vectors; and what learns at another rate apart from the rest."""
    for times in sorted({1.0, options.fast_rate if options.fast else 1.0}):
        own = [p for n, p in parameters.items() if times == (options.fast_rate if n.startswith(options.fast) else 1.0)]
        yield {"params": [p for p in own if p.ndim > 1], "weight_decay": options.weight_decay, "times": times}
        yield {"params": [p for p in own if p.ndim <= 1], "weight_decay": 0.0, "times": times}


class _Swap:
    """Exchanges two sets of weights on entry and again on exit."""

    def __init__(self, parameters: dict[str, nn.Parameter], other: dict[str, Tensor]) -> None:
        self.parameters, self.other = parameters, other

    def __enter__(self) -> None:
        for name, p in self.parameters.items():
            held = p.data.clone()
            p.data.copy_(self.other[name])
            self.other[name].copy_(held)

    def __exit__(self, *_: object) -> None:
        self.__enter__()


class Log:
    """Curves for TensorBoard, means over `every` steps."""

    def __init__(self, folder: Path, every: int = LOG_EVERY) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtra("training needs TensorBoard", hint="pip install 'loquor[train]'") from None
        self.writer: Any = SummaryWriter(str(folder / "curves"))
        self.every, self.sums = every, {}  # type: int, dict[str, list[float]]

    def write(self, step: int, values: dict[str, float], force: bool = False) -> None:
        for name, value in values.items():
            self.sums.setdefault(name, []).append(value)
        if force or step % self.every == 0:
            means = {name: sum(v) / len(v) for name, v in self.sums.items()}
            for name, value in means.items():
                self.writer.add_scalar(name, value, step)
            logger.info("step %d %s", step, " ".join(f"{n}={v:.4g}" for n, v in means.items()))
            self.sums = {}

    def close(self) -> None:
        self.writer.close()


def batches_by_length(lengths: list[int], batch: int, epoch_seed: int) -> Iterator[list[int]]:
    """Every item once, in batches of similar length, the batches in random order: little padding, no curriculum."""
    generator = torch.Generator().manual_seed(epoch_seed)
    jitter = torch.rand(len(lengths), generator=generator).tolist()
    order = sorted(range(len(lengths)), key=lambda i: lengths[i] * (0.9 + 0.2 * jitter[i]))
    groups = [order[i : i + batch] for i in range(0, len(order), batch)]
    for i in torch.randperm(len(groups), generator=generator).tolist():
        yield groups[i]
