"""Examples put one behind the other into rows of one length, so that no step computes padding.

Positions restart with every example, and that is what keeps them apart: attention looks back no further than to
position 0. What follows the last example is padding, which nothing learns from; its positions go on counting, so it
belongs to that example, which being causal never sees it.

Rows are filled in the published order. Two habits are mended: what is left in open rows at the end is given out too
(`flush`), and an example too long for a row is an error that the caller counts, instead of vanishing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from loquor.errors import CapacityError
from loquor.training.vita.tokens import IGNORED, Example

Packing = Literal["source", "shared", "none"]
PACKINGS: tuple[Packing, ...] = ("source", "shared", "none")
SHARED = 2  # rows that are open at a time when sources share them


@dataclass(frozen=True, eq=False)
class PackedRow:
    """One row of a batch."""

    ids: Tensor  # [T]
    labels: Tensor  # [T]
    positions: Tensor  # [T], from 0 in every example
    ends: tuple[int, ...]  # where examples end; the last with the row
    is_heard: Tensor  # [T] bool
    features: tuple[Tensor, ...]


@dataclass
class OpenRow:
    """Examples that wait for more, each with the number its caller gave it."""

    examples: list[tuple[int, Example]] = field(default_factory=list)

    def __len__(self) -> int:
        """Positions taken."""
        return sum(len(example) for _, example in self.examples)


class Packer:
    """Fills rows of `length` positions.

    "source": a row holds examples of one source. "shared": two rows are open to all, an example goes into the shorter,
    and if it does not fit the longer is given out. "none": one example a row, for comparison.
    """

    def __init__(self, length: int, pad: int, packing: Packing = "source") -> None:
        self.length, self.pad, self.packing = length, pad, packing
        self.rows: dict[int, OpenRow] = {i: OpenRow() for i in range(SHARED)} if packing == "shared" else {}

    def add(self, example: Example, source: int = 0, number: int = 0) -> PackedRow | None:
        """Take an example in; gives the row that had to make place for it, if one had.

        CapacityError if it is longer than a row: nothing is cut off, for that would teach answers without their end.
        """
        if len(example) > self.length:
            raise CapacityError(
                f"a conversation takes {len(example)} positions, a row has {self.length}",
                hint="use longer rows, or shorter recordings",
            )
        key = min(self.rows, key=lambda i: len(self.rows[i])) if self.packing == "shared" else source
        row = self.rows.setdefault(key, OpenRow())
        if not row.examples or (self.packing != "none" and len(row) + len(example) <= self.length):
            row.examples.append((number, example))
            return None
        if self.packing == "shared":
            key = max(self.rows, key=lambda i: len(self.rows[i]))
        full = self.rows.pop(key)  # and a new one, behind the others
        self.rows[key] = OpenRow([(number, example)])
        return self._close(full)

    def restore(self, rows: Mapping[int, list[tuple[int, Example]]]) -> None:
        """Open rows as another packer had them."""
        self.rows = {key: OpenRow(list(examples)) for key, examples in rows.items()}

    def flush(self) -> Iterator[PackedRow]:
        """The rows that are still open; afterwards none is."""
        while waiting := [key for key, row in self.rows.items() if row.examples]:
            key = waiting[0]
            row, self.rows[key] = self.rows[key], OpenRow()
            yield self._close(row)

    def _close(self, row: OpenRow) -> PackedRow:
        examples = [example for _, example in row.examples]
        lengths = [len(example) for example in examples]
        missing = self.length - sum(lengths)
        lengths[-1] += missing
        return PackedRow(
            ids=_joined([e.ids for e in examples], missing, self.pad),
            labels=_joined([e.labels for e in examples], missing, IGNORED),
            positions=torch.cat([torch.arange(n) for n in lengths]),
            ends=tuple(torch.tensor(lengths).cumsum(0).tolist()),
            is_heard=_joined([e.is_heard for e in examples], missing, 0),
            features=tuple(f for e in examples for f in e.features),
        )


def _joined(parts: Sequence[Tensor], missing: int, fill: int) -> Tensor:
    return F.pad(torch.cat(list(parts)), (0, missing), value=fill)
