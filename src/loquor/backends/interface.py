"""What the engine asks of whatever runs a Realtime model. The torch model itself is the exact one; others are bound to
it by a stated error."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from loquor.diffusion.sample import Guidance
from loquor.diffusion.solver import SolverPlan
from loquor.models.codec import StackState
from loquor.models.realtime.model import RealtimeConfig, RealtimeState


class Draw(Protocol):
    """A head bound to a solver's plan, as `loquor.diffusion.sample.Sampler` is."""

    def __call__(
        self,
        condition: Tensor,
        start_noise: Tensor,
        guidance: Guidance | None = None,
        step_noise: Tensor | None = None,
    ) -> Tensor:
        """Latents [n, D] from condition [n, H], start_noise [n, D] and step_noise [N, n, D]."""


class RealtimeBackend(Protocol):
    """The passes of a Realtime model. States are batch first, updated in place, and the caller's own.

    `decode` shares nothing with the other passes: where `is_pipelined`, it may run beside them in another thread.
    """

    @property
    def config(self) -> RealtimeConfig: ...

    @property
    def is_pipelined(self) -> bool:
        """Whether decoding beside the other passes is faster than after them."""

    def init_state(self, batch: int = 1) -> RealtimeState:
        """Streams that have read and said nothing."""

    def init_decoder(self, batch: int = 1) -> StackState:
        """The decoder's memory of streams that have made no sound."""

    def sampler(self, plan: SolverPlan, is_guided: bool = True) -> Draw:
        """What draws latents by `plan`, always with guidance or always without; keep it."""

    def read(self, ids: Tensor, state: RealtimeState, lengths: Tensor | None = None) -> None:
        """Take a text window [B, T] into `state`; `lengths` [B] are the real tokens of each row, at least one."""

    def hear(
        self, latent: Tensor, state: RealtimeState, ids: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor:
        """Feed back a spoken frame [B, D], and then, where there are `ids`, take the next text window as `read` does,
        which may cost less than both. Gives the end logits [B] of the frame."""

    def decode(self, latents: Tensor, memory: StackState) -> Tensor:
        """Frames [B, N, D] to their samples [B, N * hop], continuing the decoder's memory."""
