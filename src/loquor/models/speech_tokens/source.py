"""The source of a voice: sines of the pitch and its harmonics, noise where nothing is voiced (Wang et al. 2019,
arXiv:1904.12088, section 2.2).

The phase goes on from call to call, and noise follows from the frame's number, so a stream's source is that of the
whole however it is cut.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from loquor.diffusion.noise import Noise
from loquor.models.speech_tokens.hift import VocoderConfig
from loquor.state import State

PHASES = 2**64 - 1  # the number under which a stream's first phases are drawn, which no frame ever has


@dataclass
class SourceState(State):
    """Where the sines stand."""

    turns: Tensor  # [1, harmonics], 0 to 1
    frame: Tensor  # [1] int64, frames so far


def init_source(config: VocoderConfig, dtype: torch.dtype = torch.float64) -> SourceState:
    """Before the first frame. In float32, as the reference counts them, the turns of a minute lose their fractions."""
    return SourceState(torch.zeros(1, config.harmonics + 1, dtype=dtype), torch.zeros(1, dtype=torch.long))


def source(config: VocoderConfig, merge: nn.Linear, pitch: Tensor, noise: Noise | None, state: SourceState) -> Tensor:
    """pitch [1, T] Hz to a source [1, T * frame_samples]; the state moves on. Without noise all phases begin at 0."""
    hop, count = config.frame_samples, config.harmonics + 1
    hertz = pitch.repeat_interleave(hop, dim=1)
    order = torch.arange(1, count + 1, device=pitch.device)[:, None]
    turns = state.turns.T + (hertz.to(state.turns) * order / config.sample_rate_hz).cumsum(1)
    first = torch.zeros(count, 1) if noise is None else _first_phases(noise, count)
    is_voiced = (hertz > config.voiced_from_hz).float()
    sines = config.sine_level * torch.sin(2 * math.pi * (turns % 1).float() + first.to(pitch)) * is_voiced
    if noise is not None:
        start = int(state.frame[0])
        drawn = [noise.frame(start + i, (count, hop)) for i in range(pitch.shape[1])]
        level = is_voiced * config.noise_level + (1 - is_voiced) * config.sine_level / 3
        sines = sines + level * torch.cat(drawn, 1).to(pitch)
    state.turns.copy_(turns[:, -1:].T % 1)
    state.frame += pitch.shape[1]
    return torch.tanh(merge(sines.T))[:, 0][None]


def _first_phases(noise: Noise, count: int) -> Tensor:
    """[count, 1] angles, any as likely as any other, as that of a normal pair is; the fundamental's is 0."""
    pairs = noise.frame(PHASES, (count, 2))
    return torch.atan2(pairs[:, :1], pairs[:, 1:]) * (torch.arange(count) > 0)[:, None]
