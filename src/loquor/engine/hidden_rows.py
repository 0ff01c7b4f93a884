"""Hidden states of consecutive positions that a prediction module has still to read, and a few it may read again."""

from __future__ import annotations

import torch
from torch import Tensor


class HiddenRows:
    """Rows [N, H] from `first` to `end`, in the pieces they came in: nothing is copied that is read once."""

    def __init__(self, keep: int = 0, first: int = 0) -> None:
        self.keep = keep  # rows that stay after they were read, for a rewind
        self.first = self.end = first
        self.pieces: list[Tensor] = []

    def append(self, rows: Tensor) -> None:
        self.pieces.append(rows)
        self.end += len(rows)

    def rows(self, start: int, most: int) -> Tensor:
        """Up to `most` rows from `start` on; only those from `first` on are there."""
        assert self.first <= start < self.end
        whole = self.pieces[0] if len(self.pieces) == 1 else torch.cat(self.pieces)
        self.pieces = [whole]
        return whole[start - self.first : start - self.first + most]

    def forget(self, read: int) -> None:
        """Rows before `read` will not be asked for, but for the `keep` last of them."""
        first = max(self.first, read - self.keep)
        while self.pieces and self.first + len(self.pieces[0]) <= first:
            self.first += len(self.pieces.pop(0))
        if self.pieces and self.first < first:
            self.pieces[0] = self.pieces[0][first - self.first :].clone()
            self.first = first

    def cut(self, end: int) -> None:
        """Rows from `end` on never were."""
        while self.end > max(end, self.first):
            piece = self.pieces.pop()
            self.end -= len(piece)
            if self.end < end:
                self.append(piece[: end - self.end])
