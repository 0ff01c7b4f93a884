"""The latents of the next frame of every stream in a batch; streams with equal solver settings are sampled together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from loquor.backends.interface import Draw
from loquor.diffusion.noise import Noise
from loquor.diffusion.sample import Guidance
from loquor.diffusion.solver import SolverConfig, SolverPlan, solver_plan
from loquor.engine.request import Sampling
from loquor.nn.diffusion_head import DiffusionHeadConfig


class Sampled(Protocol):
    """What is asked of a stream."""

    sampling: Sampling
    noise: Noise | None  # set once the stream has joined its batch
    first_frame: int  # number of its first frame, for the noise
    frames: int  # it has said


class LatentSampler:
    """A head with the solver plans that streams have asked for; `bind` gives what draws latents by one of them."""

    def __init__(self, head: DiffusionHeadConfig, bind: Callable[[SolverPlan], Draw]) -> None:
        self.head, self.bind = head, bind
        self.with_steps = lru_cache(maxsize=16)(self._sampler)

    def __call__(self, streams: Sequence[Sampled], conditions: Tensor, negatives: Tensor) -> Tensor:
        """Latents [B, D], normalised, from the conditions [B, H] of both branches of the streams [B]."""
        groups: dict[tuple[int, bool, bool], list[int]] = {}
        for i, stream in enumerate(streams):
            sampling = stream.sampling
            groups.setdefault((sampling.steps, sampling.stochastic, sampling.guidance != 1.0), []).append(i)
        latents = conditions.new_empty(len(streams), self.head.latent_size)
        for (steps, stochastic, guided), rows in groups.items():
            draws = torch.stack([_draws(streams[i], steps if stochastic else 0, latents.shape[1]) for i in rows])
            scale = torch.tensor([streams[i].sampling.guidance for i in rows])
            latents[rows] = self.with_steps(steps, stochastic)(
                conditions[rows],
                draws[:, 0],
                Guidance(negatives[rows], scale) if guided else None,
                draws[:, 1:].transpose(0, 1) if stochastic else None,
            )
        return latents

    def _sampler(self, steps: int, stochastic: bool) -> Draw:
        config = SolverConfig(
            beta_schedule=self.head.ddpm_beta_schedule,
            num_train_timesteps=self.head.ddpm_num_steps,
            prediction_type=self.head.prediction_type,
            algorithm_type="sde-dpmsolver++" if stochastic else "dpmsolver++",
        )
        return self.bind(solver_plan(config, steps))


def _draws(stream: Sampled, steps: int, size: int) -> Tensor:
    """Start noise and `steps` step noises of a stream's next frame, [1 + steps, D].

    Temperature scales the start alone (as Grad-TTS does it, arXiv:2105.06337): what is near the mean of the noise
    becomes what is near the middle of what the head has learned.
    """
    assert stream.noise is not None
    draws = stream.noise.frame(stream.first_frame + stream.frames, (1 + steps, size))
    return torch.cat([stream.sampling.temperature * draws[:1], draws[1:]])
