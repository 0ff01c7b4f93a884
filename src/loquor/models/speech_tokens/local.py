"""Running a network of finite reach on a stream, exactly: what a sample depends on is there before it is computed.

A convolutional network without look-ahead limits needs the inputs on both sides of an output, but only `radius` of
them. So a stream keeps that many, answers once as many have come, and gives what one call on the whole would give.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from loquor.state import State


@dataclass
class LocalState(State):
    """The inputs that outputs still depend on."""

    frames: Tensor  # [1, C, n], the last of those that came
    seen: Tensor  # [1] int64, frames that came
    done: Tensor  # [1] int64, frames answered


@dataclass(frozen=True)
class Local:
    """A function of frames [1, C, T] to [1, C', T * hop] whose outputs see inputs at most `radius` frames away."""

    function: Callable[[Tensor], Tensor]
    radius: int
    hop: int

    def init_state(self, channels: int) -> LocalState:
        none = torch.zeros(1, dtype=torch.long)
        return LocalState(torch.zeros(1, channels, 0), none, none.clone())

    def __call__(self, x: Tensor, state: LocalState, is_final: bool) -> Tensor | None:
        """x [1, C, T], perhaps none, to the outputs that are certain now; None if there are none."""
        state.frames = torch.cat([state.frames, x], -1)
        state.seen += x.shape[-1]
        seen, done = int(state.seen), int(state.done)
        ready = seen if is_final else max(done, seen - self.radius)
        if ready == done:
            return None
        first = seen - state.frames.shape[-1]
        outputs = self.function(state.frames)[..., (done - first) * self.hop : (ready - first) * self.hop]
        state.frames = state.frames[..., max(0, ready - self.radius - first) :].clone()
        state.done.fill_(ready)
        return outputs
