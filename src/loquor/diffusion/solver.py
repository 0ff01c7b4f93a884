"""DPM-Solver with everything precomputed: a plan holds, for each step, the few numbers that step needs.

The multistep solvers of Lu et al. (arXiv:2206.00927, arXiv:2211.01095) are linear in the sample, the last estimates
and the noise, so once the timesteps are chosen a step at run time is one linear combination; nothing is recomputed
for a frame. Timesteps: Lin et al. 2024 (arXiv:2305.08891, table 2), Karras et al. 2022 (arXiv:2206.00364, eq. 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from loquor.configs import require_int
from loquor.diffusion.prediction import PREDICTIONS, Conversion, conversion
from loquor.diffusion.schedule import NoiseSchedule, ScheduleConfig, noise_schedule
from loquor.diffusion.update import KERNELS, Levels, Update, update
from loquor.errors import ConfigError

KARRAS_RHO = 7.0
FEW_STEPS = 15  # below this `lower_order_final` steadies the last steps


@dataclass(frozen=True, kw_only=True)
class SolverConfig(ScheduleConfig):
    """A schedule and how to walk it back; names and defaults are those of the published scheduler's options."""

    prediction_type: str
    algorithm_type: str = "dpmsolver++"
    solver_order: int = 2
    solver_type: str = "midpoint"
    lower_order_final: bool = True
    euler_at_final: bool = False
    final_sigmas_type: str = "zero"
    timestep_spacing: str = "linspace"
    steps_offset: int = 0  # added to "leading" timesteps
    use_karras_sigmas: bool = False
    lambda_min_clipped: float = -float("inf")  # leave out timesteps noisier than this log-SNR

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_one_of("prediction_type", self.prediction_type, PREDICTIONS)
        _require_one_of("algorithm_type", self.algorithm_type, tuple(KERNELS))
        _require_one_of("solver_order", self.solver_order, (1, 2, 3))
        _require_one_of("solver_type", self.solver_type, ("midpoint", "heun"))
        _require_one_of("final_sigmas_type", self.final_sigmas_type, ("zero", "sigma_min"))
        _require_one_of("timestep_spacing", self.timestep_spacing, ("linspace", "leading", "trailing"))
        require_int("SolverConfig", minimum=0, steps_offset=self.steps_offset)
        if self.is_stochastic and self.solver_order == 3:
            raise ConfigError(f"{self.algorithm_type} has no third order", hint="use solver_order 1 or 2")
        if self.estimates == "epsilon" and self.final_sigmas_type == "zero":
            raise ConfigError(f"{self.algorithm_type} cannot end at sigma 0", hint="set final_sigmas_type to sigma_min")

    @property
    def is_stochastic(self) -> bool:
        """Whether each step needs a normal draw."""
        return self.algorithm_type.startswith("sde-")

    @property
    def estimates(self) -> str:
        """What the steps extrapolate: the sample in the ++ forms, the noise in the older ones."""
        return "sample" if self.algorithm_type.endswith("++") else "epsilon"


@dataclass(frozen=True, eq=False)
class SolverPlan:
    """N steps from noise to a sample. Share it freely: nothing in it changes."""

    config: SolverConfig
    timesteps: Tensor  # [N] int64, falling
    sigmas: Tensor  # [N + 1] float32, noise-to-signal ratio sigma/alpha before each step, then the final one
    conversions: tuple[Conversion, ...]  # [N] model output to estimate
    updates: tuple[Update, ...]  # [N]

    def __len__(self) -> int:
        return len(self.updates)

    def estimate(self, i: int, x: Tensor, output: Tensor) -> Tensor:
        """What step i keeps of a model output [n, D], in its dtype: x0, or for the forms without ++ the noise."""
        return self.conversions[i](x.to(output.dtype), output)

    def step(self, i: int, x: Tensor, history: Sequence[Tensor], noise: Tensor | None = None) -> Tensor:
        """The sample [n, D] after step i, computed in fp32, in the dtype of the estimates.

        `history` holds the estimates so far, newest first; older ones than the step's order are not looked at.
        `noise` [n, D] is needed if the plan is stochastic.
        """
        now = self.updates[i]
        assert len(history) >= len(now.history), f"step {i} needs {len(now.history)} estimates"
        y = now.sample * x.float()
        for coefficient, estimate in zip(now.history, history, strict=False):
            y = y + coefficient * estimate.float()
        if self.config.is_stochastic:
            assert noise is not None, f"{self.config.algorithm_type} needs noise for every step"
            y = y + now.noise * noise.float()
        return y.to(history[0].dtype)


@lru_cache(maxsize=64)
def solver_plan(config: SolverConfig, steps: int | tuple[int, ...]) -> SolverPlan:
    """The plan for a number of steps, or for these timesteps (falling, each below T); made once per process.

    ConfigError if the steps do not fit the schedule.
    """
    schedule = noise_schedule(config)
    timesteps, sigmas = (
        _karras_grid(config, schedule, steps) if config.use_karras_sigmas else _grid(config, schedule, steps)
    )
    last = 0.0 if config.final_sigmas_type == "zero" else float(_ratios(schedule)[0])
    ratios = torch.from_numpy(np.append(sigmas, last).astype(np.float32))
    _check(config, timesteps, ratios)
    levels = Levels.of(ratios)
    count = len(timesteps)
    return SolverPlan(
        config=config,
        timesteps=torch.from_numpy(timesteps),
        sigmas=ratios,
        conversions=tuple(
            conversion(config.prediction_type, config.estimates, float(levels.alpha[i]), float(levels.sigma[i]))
            for i in range(count)
        ),
        updates=tuple(
            update(levels, i, step_order(config, i, count), config.algorithm_type, config.solver_type)
            for i in range(count)
        ),
    )


def step_order(config: SolverConfig, i: int, count: int) -> int:
    """The order step i of `count` can use: it needs as many estimates, and the last steps stay low to stay stable."""
    steadied = config.lower_order_final and count < FEW_STEPS
    is_last = i == count - 1
    if i == 0 or (is_last and (config.euler_at_final or steadied or config.final_sigmas_type == "zero")):
        return 1
    if i == 1 or (i == count - 2 and steadied):
        return min(2, config.solver_order)
    return config.solver_order


def _grid(
    config: SolverConfig, schedule: NoiseSchedule, steps: int | tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Timesteps [N] spaced as `timestep_spacing` says, or as given, and the noise-to-signal ratio at each."""
    timesteps = np.asarray(steps, np.int64) if isinstance(steps, tuple) else _spaced(config, schedule, steps)
    if timesteps.size == 0 or timesteps.min() < 0 or timesteps.max() >= config.num_train_timesteps:
        raise ConfigError(f"timesteps {_shown(timesteps)} do not lie in 0 to {config.num_train_timesteps - 1}")
    return timesteps, _ratios(schedule)[timesteps]


def _spaced(config: SolverConfig, schedule: NoiseSchedule, steps: int) -> NDArray[np.int64]:
    require_int("solver", steps=steps)
    total = config.num_train_timesteps
    usable = total - int((schedule.log_snr < config.lambda_min_clipped).sum())
    spaced: NDArray[np.float64]
    if config.timestep_spacing == "linspace":
        spaced = np.linspace(0, usable - 1, steps + 1).round()[:0:-1]
    elif config.timestep_spacing == "leading":
        spaced = np.arange(float(steps), 0, -1) * (usable // (steps + 1)) + config.steps_offset
    else:
        count = -(-usable * steps // total)  # one fewer than numpy finds where rounding leaves a remainder above 0
        spaced = np.arange(float(usable), 0, -total / steps)[:count].round() - 1
    return spaced.astype(np.int64)


def _karras_grid(
    config: SolverConfig, schedule: NoiseSchedule, steps: int | tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Ratios evenly spaced in their 7th root from the largest to the smallest, and the timesteps nearest to them."""
    if isinstance(steps, tuple):
        raise ConfigError("Karras sigmas choose their own timesteps", hint="give a number of steps")
    require_int("solver", steps=steps)
    ratios = _ratios(schedule)
    largest, smallest = ratios[-1] ** (1 / KARRAS_RHO), ratios[0] ** (1 / KARRAS_RHO)
    sigmas = (largest + np.linspace(0, 1, steps) * (smallest - largest)) ** KARRAS_RHO
    timesteps = np.interp(np.log(sigmas), np.log(ratios), np.arange(len(ratios))).round()
    return timesteps.astype(np.int64), sigmas


def _ratios(schedule: NoiseSchedule) -> NDArray[np.float64]:
    """sigma / alpha at every timestep, rising; float32 values [T]."""
    ratios = ((1 - schedule.alphas_cumprod) / schedule.alphas_cumprod).sqrt()
    return ratios.numpy().astype(np.float64)


def _check(config: SolverConfig, timesteps: NDArray[np.int64], ratios: Tensor) -> None:
    """Noise must fall at each step, or no log-SNR step can be divided by; only the final ratio may repeat."""
    falls = ratios[:-2] > ratios[1:-1]
    if not bool(falls.all()) or ratios[-1] > ratios[-2]:
        raise ConfigError(
            f"timesteps {_shown(timesteps)} do not fall at every step",
            hint=f"use fewer steps: of {config.num_train_timesteps} training timesteps each can come once",
        )


def _shown(timesteps: NDArray[np.int64]) -> str:
    shown = [str(t) for t in timesteps]
    return " ".join(shown if len(shown) <= 8 else [*shown[:4], "...", *shown[-4:]]) or "(none)"


def _require_one_of(name: str, value: object, choices: Sequence[object]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} {value!r} is not one of {', '.join(map(str, choices))}")
