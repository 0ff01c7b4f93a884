"""A checkpoint without its weights: which tensors it has, of which shapes and types, read from the headers alone.

The model is filled with meta tensors through the strict path of real ones, so what an outline accepts can be loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from loquor.checkpoints import Entry, Files, load


@dataclass(frozen=True)
class Part:
    """One tensor of ours."""

    name: str
    shapes: tuple[tuple[int, ...], ...]  # of the published tensors it is made of
    dtype: torch.dtype
    is_parameter: bool  # False: a buffer, such as the latent scale

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return sum(map(prod, self.shapes))

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize


@dataclass(frozen=True)
class Outline:
    """The model on the meta device, its tensors in the order of its modules, and published tensors it does not use."""

    model: nn.Module
    parts: list[Part]
    unread: list[str]


class Headers(Files):
    """The tensors of a checkpoint folder as meta tensors: no weight is read."""

    def __getitem__(self, name: str) -> Tensor:
        return self._file(self.where[name]).empty(name)


def outline(model: nn.Module, files: Headers, entries: Sequence[Entry]) -> Outline:
    """`model`, built `without_memory`, filled strictly with what the headers promise."""
    load(model, files, entries)
    parameters = {name for name, _ in model.named_parameters()}
    made_of = {e.ours: e.theirs for e in entries if e.ours}
    parts = [
        Part(name, tuple(tuple(files[t].shape) for t in made_of[name]), tensor.dtype, name in parameters)
        for name, tensor in model.state_dict().items()
    ]
    unread = [t for e in entries if e.ours is None for t in e.theirs if t in files.where]
    return Outline(model, parts, unread)
