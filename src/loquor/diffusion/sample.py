"""Guided sampling: a condition and a start noise become a latent, whatever network predicts.

Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598, eq. 6, in the form negative + scale * (positive -
negative)): both branches see the same noisy latent and run as one batch of 2n rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from loquor.diffusion.solver import SolverPlan
from loquor.errors import ConfigError

M = TypeVar("M")


class Head(Protocol[M]):
    """A network whose work for all steps that does not depend on the noisy latent can be done before the first."""

    def embed_timesteps(self, timesteps: Tensor) -> Tensor:
        """timesteps [N] int64 to embeddings [N, H]; depends on the weights only."""
        ...

    def modulations(self, time_embeddings: Tensor, condition: Tensor) -> Sequence[M]:
        """[N, H] and [R, H] to what each of the N steps needs, opaque to the sampler."""
        ...

    def predict(self, noisy: Tensor, modulation: M) -> Tensor:
        """noisy [R, D] to the output [R, D] at that step."""
        ...


@dataclass(frozen=True)
class Guidance:
    """Away from the negative condition [n, H], by a scale for each row [n]; 1.0 gives the positive branch alone."""

    negative: Tensor
    scale: Tensor


class Sampler(Generic[M]):
    """A head bound to a plan. Make one per head and plan and keep it: the time embeddings are computed here, once."""

    def __init__(self, head: Head[M], plan: SolverPlan) -> None:
        self.head = head
        self.plan = plan
        with torch.no_grad():
            self.time_embeddings = head.embed_timesteps(plan.timesteps)

    @torch.no_grad()
    def __call__(
        self,
        condition: Tensor,
        start_noise: Tensor,
        guidance: Guidance | None = None,
        step_noise: Tensor | None = None,
    ) -> Tensor:
        """Latents [n, D] for condition [n, H], in the condition's dtype.

        start_noise [n, D]; step_noise [N, n, D] for stochastic plans, else ConfigError. Noise may be fp32 on the CPU:
        it is moved here. Without guidance the negative branch is not computed at all.
        """
        if self.plan.config.is_stochastic and step_noise is None:
            raise ConfigError(f"{self.plan.config.algorithm_type} draws noise at every step: give step_noise [N, n, D]")
        conditions = condition if guidance is None else torch.cat([condition, guidance.negative])
        modulations = self.head.modulations(self.time_embeddings, conditions)
        fresh = None if step_noise is None else step_noise.to(condition.device)
        x = start_noise.to(condition)
        history: list[Tensor] = []
        for i, modulation in enumerate(modulations):
            output = self._output(x, modulation, guidance)
            history = [self.plan.estimate(i, x, output), *history[: self.plan.config.solver_order - 1]]
            x = self.plan.step(i, x, history, None if fresh is None else fresh[i])
        return x

    def _output(self, x: Tensor, modulation: M, guidance: Guidance | None) -> Tensor:
        """The head's raw output [n, D] for x, guided row by row in fp32."""
        if guidance is None:
            return self.head.predict(x, modulation)
        positive, negative = self.head.predict(torch.cat([x, x]), modulation).float().chunk(2)
        scale = guidance.scale.to(positive).unsqueeze(-1)
        return (negative + scale * (positive - negative)).to(x.dtype)
