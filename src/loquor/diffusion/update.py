"""One solver step as numbers: the exponential integrators behind DPM-Solver, reduced to coefficients.

Over a step from log-SNR lambda_s to lambda_t, h = lambda_t - lambda_s, the linear part of the diffusion ODE is solved
exactly and the network's estimate is replaced by a polynomial in lambda through its last values m0, m1, m2:
DPM-Solver (Lu et al. 2022, arXiv:2206.00927) does so for the noise, DPM-Solver++ (arXiv:2211.01095, section 4 and
appendix A) for x0, the sde forms add fresh noise (section 5 there). All are linear in x, the m and the noise.

Kept for parity: the published solver weighs D2, the second difference, with half of its exact integral. Third order is
thus exact only for estimates on a line, like "heun" at second order, though with a smaller error on curves.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Update:
    """x_next = sample * x + sum_k history[k] * m_k + noise * z, with m_0 the newest estimate."""

    sample: float
    history: tuple[float, ...]  # one coefficient for each order
    noise: float = 0.0


@dataclass(frozen=True)
class Kernel:
    """What multiplies x, the estimate D0, its first and second differences D1 and D2 in lambda, and the noise."""

    sample: Tensor
    d0: Tensor
    d1_midpoint: Tensor
    d1_exact: Tensor  # the exact integral of a line: "heun" at second order, always at third
    d2: Tensor
    noise: Tensor


@dataclass(frozen=True)
class Levels:
    """Signal, noise and log-SNR at the N + 1 points of a plan, float32 [N + 1]; where sigma is 0 log_snr is inf."""

    alpha: Tensor
    sigma: Tensor
    log_snr: Tensor

    @classmethod
    def of(cls, sigmas: Tensor) -> Levels:
        """From noise-to-signal ratios sigma/alpha [N + 1]."""
        alpha = 1 / torch.sqrt(sigmas * sigmas + 1)
        sigma = sigmas * alpha
        return cls(alpha, sigma, torch.log(alpha) - torch.log(sigma))


def update(levels: Levels, i: int, order: int, algorithm: str, solver: str) -> Update:
    """The update from point i to i + 1 with the last `order` estimates; `solver` is midpoint or heun.

    The scalars are float32, like those of the published solver: at third order (exp(h) - 1 - h) / h^2 cancels, and a
    float64 value would differ from the recorded trajectories by more than the order of sums does.
    """
    steps = [float(levels.log_snr[k + 1] - levels.log_snr[k]) for k in range(i, i - order, -1)]
    if steps[0] == 0.0:  # the last sigma repeats: every integral over the step is 0
        return Update(1.0, (0.0,))
    kernel = KERNELS[algorithm](levels, i)
    k1 = kernel.d1_exact if solver == "heun" or order == 3 else kernel.d1_midpoint
    return Update(
        float(kernel.sample), _history(steps, float(kernel.d0), float(k1), float(kernel.d2)), float(kernel.noise)
    )


def _history(steps: list[float], k0: float, k1: float, k2: float) -> tuple[float, ...]:
    """The coefficients of m0, m1, m2 in k0 D0 + k1 D1 + k2 D2; `steps` are this step's h and those before it.

    Second order: D1 = (m0 - m1) / r0. Third: a = (m0 - m1) / r0, b = (m1 - m2) / r1,
    D1 = a + r0 / (r0 + r1) (a - b), D2 = (a - b) / (r0 + r1), with r0, r1 the earlier steps over this one.
    """
    if len(steps) == 1:
        return (k0,)
    r0 = steps[1] / steps[0]
    if len(steps) == 2:
        return (k0 + k1 / r0, -k1 / r0)
    r1 = steps[2] / steps[0]
    share = r0 / (r0 + r1)
    of_a = (k1 * (1 + share) + k2 / (r0 + r1)) / r0
    of_b = -(k1 * share + k2 / (r0 + r1)) / r1
    return (k0 + of_a, of_b - of_a, -of_b)


def _sample_ode(levels: Levels, i: int) -> Kernel:
    """dpmsolver++: estimates are x0."""
    h, alpha = levels.log_snr[i + 1] - levels.log_snr[i], levels.alpha[i + 1]
    phi = torch.exp(-h) - 1
    return Kernel(
        sample=levels.sigma[i + 1] / levels.sigma[i],
        d0=-alpha * phi,
        d1_midpoint=-0.5 * alpha * phi,
        d1_exact=alpha * (phi / h + 1),
        d2=-alpha * ((phi + h) / h**2 - 0.5),
        noise=torch.zeros((), device="cpu"),
    )


def _sample_sde(levels: Levels, i: int) -> Kernel:
    """sde-dpmsolver++: estimates are x0, a share of the noise is drawn anew. No third order."""
    h, alpha, sigma = levels.log_snr[i + 1] - levels.log_snr[i], levels.alpha[i + 1], levels.sigma[i + 1]
    fresh = 1 - torch.exp(-2 * h)
    return Kernel(
        sample=sigma / levels.sigma[i] * torch.exp(-h),
        d0=alpha * fresh,
        d1_midpoint=0.5 * alpha * fresh,
        d1_exact=alpha * (fresh / (-2 * h) + 1),
        d2=torch.zeros((), device="cpu"),
        noise=sigma * torch.sqrt(fresh),
    )


def _noise_ode(levels: Levels, i: int) -> Kernel:
    """dpmsolver: estimates are the noise."""
    h, sigma = levels.log_snr[i + 1] - levels.log_snr[i], levels.sigma[i + 1]
    psi = torch.exp(h) - 1
    return Kernel(
        sample=levels.alpha[i + 1] / levels.alpha[i],
        d0=-sigma * psi,
        d1_midpoint=-0.5 * sigma * psi,
        d1_exact=-sigma * (psi / h - 1),
        d2=-sigma * ((psi - h) / h**2 - 0.5),
        noise=torch.zeros((), device="cpu"),
    )


def _noise_sde(levels: Levels, i: int) -> Kernel:
    """sde-dpmsolver: estimates are the noise, fresh noise comes on top. No third order."""
    h, sigma = levels.log_snr[i + 1] - levels.log_snr[i], levels.sigma[i + 1]
    psi = torch.exp(h) - 1
    return Kernel(
        sample=levels.alpha[i + 1] / levels.alpha[i],
        d0=-2 * sigma * psi,
        d1_midpoint=-sigma * psi,
        d1_exact=-2 * sigma * (psi / h - 1),
        d2=torch.zeros((), device="cpu"),
        noise=sigma * torch.sqrt(torch.exp(2 * h) - 1),
    )


KERNELS = {
    "dpmsolver++": _sample_ode,
    "sde-dpmsolver++": _sample_sde,
    "dpmsolver": _noise_ode,
    "sde-dpmsolver": _noise_sde,
}
