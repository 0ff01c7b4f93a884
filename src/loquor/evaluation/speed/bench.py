"""What is measured of a model: its subjects, which figure is the claim, and what a go was made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from loquor.checkpoints import without_memory
from loquor.evaluation.speed.protocol import Subject

BIAS = 0.1
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Bench:
    """A model that is ready to be measured."""

    subjects: Sequence[Subject]  # the first is what the others are compared with
    claim: str  # the figure that comparisons are about
    columns: Sequence[str]  # figures of a table, the claim among them
    parts: Sequence[str]  # figures that add up, of a plot
    settings: Mapping[str, object]  # what was measured, for the record


class Watch:
    """Seconds spent in named calls."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.spent: dict[str, float] = {}

    def on(self, name: str, work: Callable[..., object]) -> Callable[..., object]:
        """The same call, watched."""

        def watched(*arguments: object) -> object:
            began = self.clock()
            result = work(*arguments)
            self.spent[name] = self.spent.get(name, 0.0) + self.clock() - began
            return result

        return watched


@torch.no_grad()
def with_random_weights(build: Callable[[], Model], dtype: torch.dtype) -> Model:
    """A model of the shape that `build` makes, its weights drawn where they will stay: nothing is in memory twice.

    The arithmetic is that of the real one; what it says means nothing.
    """
    with without_memory(Path("a shape for measuring")):
        model = build().to(dtype)
    assert not list(model.buffers()), "they would be left as memory was found"
    model = model.to_empty(device="cpu").eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
        else:
            parameter.fill_(1.0 if name.endswith("norm.weight") else BIAS)
    return model
