"""What a training sees when, from numbers alone: so that a run which goes on, or is shared out, sees the same."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence

from loquor.training.dataset.reader import length_buckets


def number_of(*parts: int) -> int:
    """A seed that follows from whole numbers, and from nothing else."""
    digest = hashlib.blake2b(" ".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Order:
    """Which items a batch has: every one once an epoch, with others of similar length."""

    def __init__(self, frames: Sequence[int], most_frames: int, seed: int) -> None:
        self.epoch = functools.lru_cache(maxsize=2)(
            lambda epoch: list(length_buckets(frames, most_frames, number_of(seed, epoch)))
        )
        self.starts = [0]  # number of the first batch of each epoch so far

    def batch(self, number: int) -> list[int]:
        """The items of the batch of that number, counted from the beginning of the training."""
        while self.starts[-1] <= number:
            self.starts.append(self.starts[-1] + len(self.epoch(len(self.starts) - 1)))
        epoch = next(i for i in range(len(self.starts) - 1, -1, -1) if self.starts[i] <= number)
        return self.epoch(epoch)[number - self.starts[epoch]]
