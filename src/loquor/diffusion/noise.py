"""Where noise comes from: each frame's draws follow from a seed and the frame's number alone.

So a stream sounds the same whoever shares its batch and wherever it is resumed. The generator is Philox, counter-based
(Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") and keyed by (seed, frame): it has no state to lose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from loquor.errors import InputError


class Noise(Protocol):
    """The noise of one stream."""

    def frame(self, i: int, shape: tuple[int, ...]) -> Tensor:
        """Normal draws of `shape` for frame i, float32 on the CPU. Asked twice, the same draws."""
        ...


@dataclass(frozen=True)
class SeededNoise:
    """Noise from a seed of 0 to 2^64 - 1. First rows do not depend on how many are drawn: (1, D) starts (5, D)."""

    seed: int

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**64:
            raise InputError(f"seed {self.seed} does not lie in 0 to 2^64 - 1")

    def frame(self, i: int, shape: tuple[int, ...]) -> Tensor:
        key = np.array([self.seed, i], dtype=np.uint64)
        return torch.from_numpy(np.random.Generator(np.random.Philox(key=key)).standard_normal(shape, dtype=np.float32))


@dataclass(frozen=True)
class RecordedNoise:
    """Replays draws [frames, ...] made elsewhere, to compare with a reference."""

    draws: Tensor

    def frame(self, i: int, shape: tuple[int, ...]) -> Tensor:
        if i >= len(self.draws):
            raise InputError(f"frame {i} asked of a recording of {len(self.draws)} frames of noise")
        if tuple(self.draws[i].shape) != tuple(shape):
            raise InputError(
                f"recorded noise has shape {tuple(self.draws[i].shape)} for a frame, asked for {tuple(shape)}"
            )
        return self.draws[i].float().cpu()
