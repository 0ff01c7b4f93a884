"""How far a backend is from the torch model: both read, speak and hear the same few frames.

Each frame starts from what the torch model had, so an error is that of one pass and no random model can make it grow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from loquor.backends.interface import RealtimeBackend
from loquor.diffusion.sample import Guidance
from loquor.diffusion.solver import SolverConfig, solver_plan
from loquor.models.realtime.model import RealtimeConfig, RealtimeState

WINDOWS, FRAMES = 2, 3  # text windows, and frames after each
STEPS, GUIDANCE = 2, 1.5
PASSES = ("read", "draw", "hear", "end", "decode")

Outcome = Mapping[str, Tensor]  # of each pass, [frames or windows, ...]


@dataclass(frozen=True)
class Script:
    """What is read and drawn, the same for every backend of a model."""

    ids: Tensor  # [windows, T]
    noise: Tensor  # [windows * frames, D]

    @classmethod
    def of(cls, config: RealtimeConfig) -> Script:
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(config.text.vocab_size, (WINDOWS, config.text_window), generator=generator)
        return cls(ids, torch.randn(WINDOWS * FRAMES, config.latent_size, generator=generator))


@torch.no_grad()
def outcome(backend: RealtimeBackend, given: Outcome | None = None) -> dict[str, Tensor]:
    """What a backend makes of the script; where `given`, the torch model's outcome, what it makes of its frames."""
    script, state, memory = Script.of(backend.config), backend.init_state(), backend.init_decoder()
    head = backend.config.head
    solver = SolverConfig(
        beta_schedule=head.ddpm_beta_schedule,
        num_train_timesteps=head.ddpm_num_steps,
        prediction_type=head.prediction_type,
    )
    draw, found = backend.sampler(solver_plan(solver, STEPS)), {name: list[Tensor]() for name in PASSES}
    for window, ids in enumerate(script.ids):
        backend.read(ids[None], state)
        found["read"].append(state.condition[0].clone())
        for frame in range(window * FRAMES, (window + 1) * FRAMES):
            if given is not None:
                _set(state, given, window, frame)
            guidance = Guidance(state.negative_condition.clone(), torch.tensor([GUIDANCE]))
            latent = draw(state.condition.clone(), script.noise[frame, None].to(state.condition), guidance)
            found["draw"].append(latent[0])
            heard = latent if given is None else given["draw"][frame, None]
            found["decode"].append(backend.decode(heard[:, None], memory)[0])
            found["end"].append(backend.hear(heard, state)[0])
            found["hear"].append(torch.cat([state.condition[0], state.negative_condition[0]]))
    return {name: torch.stack(rows).float() for name, rows in found.items()}


def _set(state: RealtimeState, given: Outcome, window: int, frame: int) -> None:
    """The conditions the torch model had before a frame."""
    if frame > 0:
        positive, negative = given["hear"][frame - 1].chunk(2)
        state.condition.copy_(positive)
        state.negative_condition.copy_(negative)
    if frame == window * FRAMES:
        state.condition.copy_(given["read"][window])


def errors(found: Outcome, given: Outcome) -> dict[str, float]:
    """Of each pass, the error's norm by that of what was wanted; infinite where a number is none."""
    compared = {}
    for name in PASSES:
        error = float((found[name] - given[name]).norm() / given[name].norm())
        compared[name] = error if math.isfinite(error) else math.inf
    return compared
