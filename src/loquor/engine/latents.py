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

Kind = tuple[int, bool, bool]  # steps, whether they are stochastic, whether they are guided: drawn together


class Sampled(Protocol):
    """What is asked of a stream."""

    sampling: Sampling
    noise: Noise | None  # set once the stream has joined its batch
    first_frame: int  # number of its first frame, for the noise
    frames: int  # it has said


class LatentSampler:
    """A head with the solver plans that streams have asked for; `bind` gives what draws by one, guided or not."""

    def __init__(self, head: DiffusionHeadConfig, bind: Callable[[SolverPlan, bool], Draw]) -> None:
        self.head, self.bind = head, bind
        self._bound = lru_cache(maxsize=16)(self._bind)

    def prepare(self, sampling: Sampling) -> None:
        """Make what streams of this sampling will be drawn with, if there is none."""
        self._bound(*_kind(sampling))

    def __call__(self, streams: Sequence[Sampled], conditions: Tensor, negatives: Tensor) -> Tensor:
        """Latents [B, D], normalised, from the conditions [B, H] of both branches of the streams [B]."""
        groups: dict[Kind, list[int]] = {}
        for i, stream in enumerate(streams):
            groups.setdefault(_kind(stream.sampling), []).append(i)
        latents = conditions.new_empty(len(streams), self.head.latent_size)
        for (steps, is_stochastic, is_guided), rows in groups.items():
            draws = torch.stack([_draws(streams[i], steps if is_stochastic else 0, latents.shape[1]) for i in rows])
            scale = torch.tensor([streams[i].sampling.guidance for i in rows])
            latents[rows] = self._bound(steps, is_stochastic, is_guided)(
                conditions[rows],
                draws[:, 0],
                Guidance(negatives[rows], scale) if is_guided else None,
                draws[:, 1:].transpose(0, 1) if is_stochastic else None,
            )
        return latents

    def _bind(self, steps: int, is_stochastic: bool, is_guided: bool) -> Draw:
        config = SolverConfig(
            beta_schedule=self.head.ddpm_beta_schedule,
            num_train_timesteps=self.head.ddpm_num_steps,
            prediction_type=self.head.prediction_type,
            algorithm_type="sde-dpmsolver++" if is_stochastic else "dpmsolver++",
        )
        return self.bind(solver_plan(config, steps), is_guided)


def _kind(sampling: Sampling) -> Kind:
    return sampling.steps, sampling.stochastic, sampling.guidance != 1.0


def _draws(stream: Sampled, steps: int, size: int) -> Tensor:
    """Start noise and `steps` step noises of a stream's next frame, [1 + steps, D].

    Temperature scales the start alone (as Grad-TTS does it, arXiv:2105.06337): what is near the mean of the noise
    becomes what is near the middle of what the head has learned.
    """
    assert stream.noise is not None
    draws = stream.noise.frame(stream.first_frame + stream.frames, (1 + steps, size))
    return torch.cat([stream.sampling.temperature * draws[:1], draws[1:]])
