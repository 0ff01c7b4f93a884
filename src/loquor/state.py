"""Streaming memory as data: dataclasses of tensors, batch first, nested like the modules that own them.

Cloning, selecting rows, joining streams, moving and naming tensors are written once, here, for convolutions,
attention and whole models alike. A saved voice and a paused conversation are a `State` on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor


@dataclass
class State:
    """Base of every streaming state. Fields are tensors [B, ...], states, or lists of states."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same structure with `change` applied to every tensor."""
        return type(self)(**{f.name: _map(getattr(self, f.name), change) for f in fields(self)})

    def clone(self) -> Self:
        """A copy that shares no memory: what continues one stream leaves the other alone."""
        return self.map(Tensor.clone)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """Moved to `device`; floating tensors cast to `dtype`."""
        return self.map(lambda t: t.to(device=device, dtype=dtype if t.is_floating_point() else None))

    def select(self, rows: Tensor) -> Self:
        """The streams at `rows` [R], copied, in that order."""
        return self.map(lambda t: t.index_select(0, rows))

    def narrow(self, start: int, length: int) -> Self:
        """Views of `length` rows from `start`: updating them in place updates this state."""
        return self.map(lambda t: t.narrow(0, start, length))

    def put(self, rows: Tensor, source: Self) -> None:
        """Write the rows of `source` [R, ...] over `rows` [R] of this state."""
        for f in fields(self):
            _put(getattr(self, f.name), rows, getattr(source, f.name))

    @contextmanager
    def part(self, rows: Sequence[int]) -> Iterator[Self]:
        """The streams at `rows`, rising, to be updated: this state if these are all, else a copy that is put back."""
        if len(rows) == self.batch:
            yield self
            return
        index = torch.tensor(rows, device=next(self.leaves())[1].device)
        part = self.select(index)
        yield part
        self.put(index, part)

    @classmethod
    def join(cls, states: Sequence[Self]) -> Self:
        """One batch of all rows, in order."""
        return cls(**{f.name: _join([getattr(s, f.name) for s in states]) for f in fields(cls)})

    def leaves(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Every tensor with its dotted name, e.g. `layers.3.keys`."""
        for f in fields(self):
            yield from _leaves(getattr(self, f.name), f"{prefix}{f.name}")

    @property
    def batch(self) -> int:
        return next(self.leaves())[1].shape[0]


def _map(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, State):
        return value.map(change)
    return [_map(item, change) for item in value]


def _put(mine: Any, rows: Tensor, theirs: Any) -> None:
    if isinstance(mine, Tensor):
        mine.index_copy_(0, rows, theirs)
    elif isinstance(mine, State):
        mine.put(rows, theirs)
    else:
        for one, other in zip(mine, theirs, strict=True):
            _put(one, rows, other)


def _join(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat(values)
    if isinstance(first, State):
        return type(first).join(values)
    return [_join(list(items)) for items in zip(*values, strict=True)]


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, State):
        yield from value.leaves(f"{name}.")
    else:
        for i, item in enumerate(value):
            yield from _leaves(item, f"{name}.{i}")
