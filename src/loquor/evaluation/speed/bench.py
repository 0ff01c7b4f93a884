"""What is measured of a model: its subjects, which figure is the claim, and what a go was made of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from loquor.checkpoints import without_memory
from loquor.errors import ConfigError
from loquor.evaluation.speed.protocol import Subject

BIAS = 0.1
RTF, MS, CPU_MS, WAIT = "rtf", "ms/frame", "cpu ms/frame", "wait, ms"  # figures of models that say frames
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Options:
    """How a model is to be measured; what is left open is up to its family."""

    dtype: torch.dtype | None = None
    length: int = 56  # tokens, or frames of each stream, that are counted of a go
    backends: tuple[str, ...] = ()
    streams: tuple[int, ...] = ()  # at once

    def require_torch(self, what: str) -> None:
        """ConfigError where another backend is asked for."""
        if other := [name for name in self.backends if name != "torch"]:
            raise ConfigError(f"{what} runs on torch only, not on {other[0]}", hint="leave the backend out")

    def require_one_stream_of_torch(self, what: str) -> None:
        """ConfigError where another backend, or several streams at once, are asked for."""
        self.require_torch(what)
        if set(self.streams) > {1}:
            raise ConfigError(f"{what} is measured with one stream only", hint="leave --streams out")


@dataclass(frozen=True)
class Bench:
    """A model that is ready to be measured."""

    subjects: Sequence[Subject]
    claim: str  # the figure that comparisons are about
    columns: Sequence[str]  # figures of a table, the claim among them
    parts: Sequence[str]  # figures that add up, of a plot
    settings: Mapping[str, object]  # what was measured, for the record
    scaling: Mapping[str, Mapping[int, str]] = field(default_factory=dict)  # subjects by backend and number of streams

    def against(self, other: Bench, names: tuple[str, str]) -> Bench:
        """Both models taking turns, each subject of the other's compared with this one's in its place.

        ConfigError if their speed is not told by the same figure.
        """
        if self.claim != other.claim:
            raise ConfigError(
                f"the speed of {names[0]} is told in {self.claim}, that of {names[1]} in {other.claim}",
                hint="compare two models of one family",
            )
        first, second = names if names[0] != names[1] else (names[0], f"{names[1]} again")
        mine, its = self._called(first), other._called(second)
        places = dict(enumerate(subject.name for subject in mine.subjects))
        compared = [replace(subject, than=places.get(i, "")) for i, subject in enumerate(its.subjects)]
        return replace(
            mine,
            subjects=[*mine.subjects, *compared],
            settings={first: self.settings, second: other.settings},
            scaling={**mine.scaling, **its.scaling},
        )

    def _called(self, name: str) -> Bench:
        """The same under a name."""
        scaling = {
            f"{name}: {backend}": {count: f"{name}: {subject}" for count, subject in of.items()}
            for backend, of in self.scaling.items()
        }
        return replace(self, subjects=[replace(s, name=f"{name}: {s.name}") for s in self.subjects], scaling=scaling)


def part_figure(name: str) -> str:
    """What a part of a frame is called among the figures."""
    return f"{name}, ms/frame"


def names_by_streams(title: str, counts: Iterable[int]) -> dict[int, str]:
    """What the subjects are called that run so many streams at once."""
    return {count: title if count == 1 else f"{title}, {count} streams" for count in counts}


class Watch:
    """Seconds spent in named calls. What these call in turn, in the same thread, is theirs, whatever its name."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.spent: dict[str, float] = {}
        self._thread = threading.local()

    def on(self, name: str, work: Callable[..., object]) -> Callable[..., object]:
        """The same call, watched."""

        def watched(*arguments: object) -> object:
            if getattr(self._thread, "is_inside", False):
                return work(*arguments)
            self._thread.is_inside = True
            try:
                return self._run(name, lambda: work(*arguments))
            finally:
                self._thread.is_inside = False

        return watched

    def _run(self, name: str, work: Callable[[], object]) -> object:
        began = self.clock()
        result = work()
        self.spent[name] = self.spent.get(name, 0.0) + self.clock() - began
        return result


@contextmanager
def watched(watch: Watch, calls: Iterable[tuple[object, str, str]]) -> Iterator[None]:
    """For a while, what owners' attributes are called for is watched: (owner, attribute, under which name)."""
    found = list(calls)
    before = [(owner, attribute, vars(owner).get(attribute)) for owner, attribute, _ in found]
    try:
        for owner, attribute, name in found:
            object.__setattr__(owner, attribute, watch.on(name, getattr(owner, attribute)))
        yield
    finally:
        for owner, attribute, own in before:
            if own is None:  # a method, of the class
                object.__delattr__(owner, attribute)
            else:
                object.__setattr__(owner, attribute, own)


@torch.no_grad()
def with_random_weights(build: Callable[[], Model], dtype: torch.dtype) -> Model:
    """A model of the shape that `build` makes, its weights drawn where they will stay: nothing is in memory twice.

    The arithmetic is that of the real one; what it says means nothing.
    """
    with without_memory(Path("a shape for measuring")):
        model = build().to(dtype)
    model = model.to_empty(device="cpu").eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
        else:
            parameter.fill_(1.0 if name.endswith("norm.weight") else BIAS)
    for name, buffer in model.named_buffers():
        buffer.fill_({"latent_scale.scale": 1.0, "latent_scale.bias": 0.0}[name])
    return model
