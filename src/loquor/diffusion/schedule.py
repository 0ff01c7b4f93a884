"""Noise schedules: how much signal and how much noise a latent holds at each of T training timesteps.

x_t = alpha_t x_0 + sigma_t eps with alpha_t^2 + sigma_t^2 = 1 (DDPM, Ho et al. 2020, arXiv:2006.11239, eq. 4; cosine:
Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17; zero terminal SNR: Lin et al. 2024, arXiv:2305.08891, algorithm 1).
Betas named by a curve are computed in float64 and stored in float32; all else is float32, as in the published models.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from loquor.configs import require_int
from loquor.errors import ConfigError

Array = NDArray[np.float64]

LARGEST_BETA = 0.999
SMALLEST_ALPHAS_CUMPROD = 2.0**-24  # what a zero terminal SNR is raised to, so that log-SNR stays finite


def _cosine(t: Array) -> Array:
    power: Array = np.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    return power


def _cauchy(t: Array) -> Array:
    log_snr: Array = 3 + np.tan(0.9 * math.pi * (0.5 - t))
    return _power(log_snr, 1.1)


def _laplace(t: Array) -> Array:
    side = np.where(t > 0.5, -1.0, 1.0)
    return _power(-side * np.log(1 - 0.98 * 2 * np.abs(t - 0.5)), 1.02)


def _exp(t: Array) -> Array:
    power: Array = np.exp(-12.0 * t)
    return power


def _power(log_snr: Array, offset: float) -> Array:
    """Signal power at a log-SNR; with offset 1 it would be the sigmoid, a little more keeps the ends finite."""
    power: Array = 1 - 1 / (np.exp(log_snr) + offset)
    return power


# Name to abar(t), the signal power left at time t in [0, 1].
SIGNAL_POWER: dict[str, Callable[[Array], Array]] = {
    "cosine": _cosine,
    "squaredcos_cap_v2": _cosine,  # the same curve under the name of an image library
    "cauchy": _cauchy,
    "laplace": _laplace,
    "exp": _exp,
}
LINEAR = ("linear", "scaled_linear")  # named by their betas instead
SCHEDULES = (*SIGNAL_POWER, *LINEAR)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Which schedule, over how many training timesteps; field names are those of published configurations."""

    beta_schedule: str
    num_train_timesteps: int = 1000
    beta_start: float = 1e-4  # of the linear schedules only
    beta_end: float = 0.02
    rescale_betas_zero_snr: bool = False

    def __post_init__(self) -> None:
        if self.beta_schedule not in SCHEDULES:
            raise ConfigError(f"beta_schedule {self.beta_schedule!r} is not one of {', '.join(SCHEDULES)}")
        require_int("ScheduleConfig", minimum=2, num_train_timesteps=self.num_train_timesteps)
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise ConfigError(f"need 0 < beta_start <= beta_end < 1, got {self.beta_start!r} and {self.beta_end!r}")


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The tables of a schedule, float32 [T], indexed by the timestep itself (never by its place in a solver's list)."""

    betas: Tensor
    alphas_cumprod: Tensor  # abar
    alpha: Tensor  # sqrt(abar), how much of the signal
    sigma: Tensor  # sqrt(1 - abar), how much noise

    @property
    def log_snr(self) -> Tensor:
        """lambda = ln alpha - ln sigma [T], falling with the timestep."""
        return torch.log(self.alpha) - torch.log(self.sigma)

    def add_noise(self, x0: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """alpha_t x0 + sigma_t noise; x0 and noise [N, ...], timesteps [N] int64. Tables take the dtype of x0."""
        alpha, sigma = self._at(timesteps, x0)
        return alpha * x0 + sigma * noise

    def velocity(self, x0: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """alpha_t noise - sigma_t x0, the target of v-prediction (Salimans & Ho 2022, arXiv:2202.00512, appendix D)."""
        alpha, sigma = self._at(timesteps, x0)
        return alpha * noise - sigma * x0

    def _at(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma at `timesteps`, shaped [N, 1, ...] to multiply `like`."""
        shape = (-1, *(1,) * (like.dim() - 1))
        alpha, sigma = (table.to(like)[timesteps.to(like.device)].view(shape) for table in (self.alpha, self.sigma))
        return alpha, sigma


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # whoever asks first, training can use the tables later
def noise_schedule(config: ScheduleConfig) -> NoiseSchedule:
    """The tables of `config`, computed once per process; treat them as read-only."""
    betas = _betas(config)
    if config.rescale_betas_zero_snr:
        betas = rescale_zero_snr(betas)
    alphas_cumprod = torch.cumprod(1 - betas, dim=0)
    if config.rescale_betas_zero_snr:
        alphas_cumprod[-1] = SMALLEST_ALPHAS_CUMPROD
    return NoiseSchedule(betas, alphas_cumprod, alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt())


def rescale_zero_snr(betas: Tensor) -> Tensor:
    """Betas [T] moved and scaled so that sqrt(abar) ends at 0 and starts where it did (arXiv:2305.08891, alg. 1)."""
    alpha = torch.cumprod(1 - betas, dim=0).sqrt()
    first, last = alpha[0].clone(), alpha[-1].clone()
    alphas_cumprod = ((alpha - last) * (first / (first - last))).square()
    ratios = torch.cat([alphas_cumprod[:1], alphas_cumprod[1:] / alphas_cumprod[:-1]])
    return 1 - ratios


def _betas(config: ScheduleConfig) -> Tensor:
    steps, start, end = config.num_train_timesteps, config.beta_start, config.beta_end
    if config.beta_schedule == "linear":
        return torch.linspace(start, end, steps, dtype=torch.float32, device="cpu")
    if config.beta_schedule == "scaled_linear":
        return torch.linspace(math.sqrt(start), math.sqrt(end), steps, dtype=torch.float32, device="cpu").square()
    power = SIGNAL_POWER[config.beta_schedule](np.arange(steps + 1) / steps)
    return torch.from_numpy(np.minimum(1 - power[1:] / power[:-1], LARGEST_BETA)).to(torch.float32)
