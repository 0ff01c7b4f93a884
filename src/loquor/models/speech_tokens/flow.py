"""Ids to a mel spectrum by flow matching (Lipman et al. 2022, arXiv:2210.02747), as in GLM-4-Voice's decoder.

An encoder turns ids into the mean of the spectrum; noise then follows a velocity, step by step, until it is speech of
that mean. Frames that are already known are a condition: what is drawn beside them carries on from them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from loquor.configs import require_int
from loquor.errors import ConfigError
from loquor.models.speech_tokens.conformer import Conformer, ConformerConfig, LengthRegulator
from loquor.models.speech_tokens.estimator import Estimator, EstimatorConfig

SEED = 42  # of the noise the reference draws anew for every call


@dataclass(frozen=True)
class FlowConfig:
    """Shape of the flow decoder."""

    vocab_size: int
    mel_bins: int
    speaker_dim: int
    token_rate_hz: float
    frame_rate_hz: float  # of the mel spectrum
    guidance: float  # weight of what the condition changes, beyond 1
    regulator_stages: int
    encoder: ConformerConfig
    estimator: EstimatorConfig

    def __post_init__(self) -> None:
        require_int("flow", vocab_size=self.vocab_size, mel_bins=self.mel_bins, speaker_dim=self.speaker_dim)
        require_int("flow", minimum=0, regulator_stages=self.regulator_stages)
        if not 0 < self.token_rate_hz <= self.frame_rate_hz:
            raise ConfigError(f"flow: {self.token_rate_hz} ids and {self.frame_rate_hz} frames a second do not fit")
        if self.estimator.in_channels != 4 * self.mel_bins or self.estimator.out_channels != self.mel_bins:
            raise ConfigError(f"flow: the estimator's channels do not fit {self.mel_bins} mel bins")

    def frames(self, tokens: int) -> int:
        """Mel frames that so many ids fill: 6.89 for each."""
        return int(tokens / self.token_rate_hz * self.frame_rate_hz)


class Flow(nn.Module):
    """Ids to mel frames; the speaker is the one of the weights, as the published model is used."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.encoder.width)
        self.encoder = Conformer(config.encoder)
        self.to_mel = nn.Linear(config.encoder.width, config.mel_bins)
        self.regulator = LengthRegulator(config.mel_bins, config.regulator_stages)
        self.speaker = nn.Linear(config.speaker_dim, config.mel_bins)
        self.estimator = Estimator(config.estimator)

    def mean(self, ids: Tensor, frames: int) -> Tensor:
        """ids [1, N] to the spectrum's mean [1, M, frames]."""
        states: Tensor = self.encoder(self.embedding(ids))
        mean: Tensor = self.regulator(self.to_mel(states), frames)
        return mean

    def sample(self, mean: Tensor, known: Tensor, noise: Tensor, steps: int) -> Tensor:
        """A spectrum [1, M, T] of `mean` [1, M, T] that carries on from `known` [1, M, K]; `noise` [1, M, T].

        Euler's method over times that rise as 1 - cos, small steps first. The unconditioned half of the guidance sees
        no mean, no speaker and no known frames.
        """
        speaker = self.speaker.bias[None, :, None].expand_as(mean)  # of a voice of zeros, which is what users have
        known = nn.functional.pad(known, (0, mean.shape[-1] - known.shape[-1]))
        condition = torch.cat([mean, speaker, known], 1)
        condition = torch.cat([condition, torch.zeros_like(condition)])
        times = time_span(steps).to(noise)
        weights = torch.tensor([1 + self.config.guidance, -self.config.guidance], device=noise.device)
        x = noise
        for start, end in pairwise(times):
            velocity = self.estimator(torch.cat([x.expand(2, -1, -1), condition], 1), start.expand(2))
            x = x + (end - start) * (weights[:, None, None] * velocity).sum(0, keepdim=True)
        return x


def time_span(steps: int) -> Tensor:
    """[steps + 1] times from 0 to 1."""
    return 1 - torch.cos(torch.linspace(0, 1, steps + 1) * (math.pi / 2))


def published_noise(bins: int, frames: int) -> Tensor:
    """[1, bins, frames], what the reference draws on a CPU after it set the seed of everybody's generator to 42."""
    return torch.randn((1, bins, frames), generator=torch.Generator().manual_seed(SEED))
