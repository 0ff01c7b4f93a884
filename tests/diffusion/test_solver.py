"""The solver: exact where the answer is known, of the order it claims where it is not."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from loquor.diffusion.prediction import PREDICTIONS, conversion
from loquor.diffusion.schedule import noise_schedule
from loquor.diffusion.solver import SolverConfig, SolverPlan, solver_plan, step_order
from loquor.diffusion.update import KERNELS, Levels
from loquor.errors import ConfigError

X0, EPS = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(1)).unbind()


def config(**options: object) -> SolverConfig:
    return SolverConfig(**{"beta_schedule": "cosine", "prediction_type": "v_prediction", **options})


def run(plan: SolverPlan, x: Tensor, output: object, noise: Tensor | None = None) -> list[Tensor]:
    """Every sample from x on; `output(i, x)` is the network."""
    history, samples = [], [x]
    for i in range(len(plan)):
        history.insert(0, plan.estimate(i, x, output(i, x)))
        x = plan.step(i, x, history, None if noise is None else noise[i])
        samples.append(x)
    return samples


def outputs_for_one_point(plan: SolverPlan) -> object:
    """The perfect network for data that is always X0: the noise in x follows, and so does any prediction of it."""
    levels = Levels.of(plan.sigmas)

    def output(i: int, x: Tensor) -> Tensor:
        alpha, sigma = float(levels.alpha[i]), float(levels.sigma[i])
        return conversion("sample", plan.config.prediction_type, alpha, sigma)(x, X0)

    return output


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("solver", ["midpoint", "heun"])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("algorithm", [name for name in KERNELS if not name.startswith("sde")])
def test_a_straight_path_is_followed_exactly_whatever_the_order(
    algorithm: str, order: int, solver: str, prediction: str
) -> None:
    options = {"algorithm_type": algorithm, "solver_order": order, "solver_type": solver, "prediction_type": prediction}
    plan = solver_plan(config(beta_schedule="linear", final_sigmas_type="sigma_min", **options), 10)
    levels = Levels.of(plan.sigmas)

    samples = run(plan, levels.alpha[0] * X0 + levels.sigma[0] * EPS, outputs_for_one_point(plan))

    expected = [alpha * X0 + sigma * EPS for alpha, sigma in zip(levels.alpha, levels.sigma, strict=True)]
    # fp32; the noise forms start by multiplying by alpha_t / alpha_s, here up to 10
    torch.testing.assert_close(torch.stack(samples), torch.stack(expected), rtol=0, atol=2e-4)


@pytest.mark.parametrize("algorithm", ["dpmsolver++", "sde-dpmsolver++"])
@settings(max_examples=25)
@given(steps=st.integers(1, 60), order=st.integers(1, 2), solver=st.sampled_from(["midpoint", "heun"]))
def test_with_one_possible_sample_it_is_found_in_any_number_of_steps(
    algorithm: str, steps: int, order: int, solver: str
) -> None:
    plan = solver_plan(config(algorithm_type=algorithm, solver_order=order, solver_type=solver), steps)
    noise = torch.randn(steps, 3, 8, generator=torch.Generator().manual_seed(steps))

    samples = run(plan, EPS, outputs_for_one_point(plan), noise)

    torch.testing.assert_close(samples[-1], X0, rtol=0, atol=2e-5)  # fp32; the last step keeps x0 alone


def even_timesteps(schedule: SolverConfig, steps: int) -> tuple[int, ...]:
    """The timesteps nearest to even log-SNRs from -4.5 to 3."""
    wanted = torch.linspace(-4.5, 3, steps + 1)
    return tuple((noise_schedule(schedule).log_snr[:, None] - wanted).abs().argmin(0).tolist())


def gaussian_error(order: int, steps: int, algorithm: str) -> float:
    """Largest relative error after `steps` for data of N(0, 0.25), whose path is known in closed form."""
    variance = 0.25
    options = {"algorithm_type": algorithm, "solver_order": order, "final_sigmas_type": "sigma_min"}
    linear = config(beta_schedule="linear", prediction_type="sample", lower_order_final=False, **options)
    plan = solver_plan(linear, even_timesteps(linear, steps))
    levels = Levels.of(plan.sigmas.double())
    spread = torch.sqrt(levels.alpha**2 * variance + levels.sigma**2)

    def output(i: int, x: Tensor) -> Tensor:  # E[x0 | x], the network that minimises the loss
        return x * float(levels.alpha[i] * variance / spread[i] ** 2)

    before_last = run(plan, EPS * float(spread[0]), output)[-2]  # the last step leaves the even spacing
    return float((before_last / (EPS * float(spread[-2])) - 1).abs().max())


@pytest.mark.parametrize("algorithm", ["dpmsolver++", "dpmsolver"])
def test_halving_the_step_divides_the_error_as_the_order_promises(algorithm: str) -> None:
    errors = {(order, steps): gaussian_error(order, steps, algorithm) for order in (1, 2, 3) for steps in (40, 80)}

    assert 1.8 < errors[1, 40] / errors[1, 80] < 2.2
    assert 3.5 < errors[2, 40] / errors[2, 80] < 4.5
    assert errors[1, 40] > 5 * errors[2, 40]
    assert errors[2, 40] > 2 * errors[3, 40]  # a first step of first order keeps third order at the slope of second


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("algorithm", ["dpmsolver++", "dpmsolver"])
def test_estimates_on_a_line_in_log_snr_are_integrated_exactly(algorithm: str, order: int) -> None:
    options = {"algorithm_type": algorithm, "solver_order": order, "solver_type": "heun", "lower_order_final": False}
    linear = config(beta_schedule="linear", final_sigmas_type="sigma_min", **options)
    plan = solver_plan(linear, even_timesteps(linear, 12))
    levels, i = Levels.of(plan.sigmas.double()), 6
    lines = [(0.7 - 0.4 * level) * torch.ones(1) for level in levels.log_snr.tolist()]

    stepped = plan.step(i, torch.full((1,), 0.9), lines[i::-1])

    u = torch.linspace(float(levels.log_snr[i]), float(levels.log_snr[i + 1]), 20_001, dtype=torch.float64)
    if algorithm.endswith("++"):  # d(x / sigma) = exp(lambda) x0 d lambda
        integral = levels.sigma[i + 1] * torch.trapezoid(u.exp() * (0.7 - 0.4 * u), u)
        exact = levels.sigma[i + 1] / levels.sigma[i] * 0.9 + integral
    else:  # d(x / alpha) = -exp(-lambda) eps d lambda
        integral = levels.alpha[i + 1] * torch.trapezoid((-u).exp() * (0.7 - 0.4 * u), u)
        exact = levels.alpha[i + 1] / levels.alpha[i] * 0.9 - integral
    assert float(stepped) == pytest.approx(float(exact), abs=2e-5)  # fp32 coefficients


@pytest.mark.parametrize("steps", [1, 5, 20])
def test_fresh_noise_keeps_the_noise_level_of_the_schedule(steps: int) -> None:
    plan = solver_plan(config(algorithm_type="sde-dpmsolver++", solver_order=1), steps)
    sigma = Levels.of(plan.sigmas).sigma

    kept = [update.sample**2 * sigma[i] ** 2 + update.noise**2 for i, update in enumerate(plan.updates)]

    torch.testing.assert_close(torch.tensor(kept), sigma[1:].square(), rtol=1e-5, atol=1e-12)


def test_steps_use_the_order_their_history_and_the_end_allow() -> None:
    orders = {
        "default": [step_order(config(), i, 5) for i in range(5)],
        "third": [step_order(config(solver_order=3), i, 6) for i in range(6)],
        "third, many": [step_order(config(solver_order=3), i, 15) for i in range(15)],
        "never low": [
            step_order(config(lower_order_final=False, final_sigmas_type="sigma_min"), i, 4) for i in range(4)
        ],
        "euler": [step_order(config(euler_at_final=True, final_sigmas_type="sigma_min"), i, 20) for i in range(20)],
    }

    assert orders == {
        "default": [1, 2, 2, 2, 1],
        "third": [1, 2, 3, 3, 2, 1],
        "third, many": [1, 2, *[3] * 12, 1],
        "never low": [1, 2, 2, 2],
        "euler": [1, *[2] * 18, 1],
    }


@pytest.mark.parametrize(
    ("options", "steps", "timesteps"),
    [
        ({}, 5, [999, 799, 599, 400, 200]),
        ({}, 10, [999, 899, 799, 699, 599, 500, 400, 300, 200, 100]),
        ({"timestep_spacing": "leading", "steps_offset": 1}, 4, [801, 601, 401, 201]),
        ({"timestep_spacing": "trailing"}, 4, [999, 749, 499, 249]),
        ({}, (900, 50, 3), [900, 50, 3]),
    ],
)
def test_timesteps_are_spaced_as_asked(
    options: dict[str, object], steps: int | tuple[int, ...], timesteps: list[int]
) -> None:
    assert solver_plan(config(**options), steps).timesteps.tolist() == timesteps


@settings(max_examples=25)
@given(st.integers(1, 999), st.sampled_from(["linspace", "leading", "trailing"]), st.sampled_from([1000, 400]))
def test_any_number_of_steps_below_the_training_timesteps_can_be_planned(steps: int, spacing: str, total: int) -> None:
    steps = 1 + steps % (total - 1)
    plan = solver_plan(config(timestep_spacing=spacing, num_train_timesteps=total), steps)

    assert len(plan) == len(plan.timesteps) == steps
    assert bool((plan.sigmas.diff() < 0).all())
    assert all(torch.tensor([u.sample, *u.history, u.noise]).isfinite().all() for u in plan.updates)


def test_clipping_leaves_out_the_noisiest_timesteps() -> None:
    plan = solver_plan(config(lambda_min_clipped=-5.1), 10)

    assert plan.timesteps[0] < 999


def test_karras_sigmas_are_even_in_their_seventh_root() -> None:
    plan = solver_plan(config(beta_schedule="linear", use_karras_sigmas=True), 10)

    roots = plan.sigmas[:-1].double() ** (1 / 7)

    torch.testing.assert_close(roots.diff(), roots.diff()[:1].expand(9), rtol=1e-4, atol=0)


def test_a_final_sigma_that_repeats_leaves_the_sample_alone() -> None:
    plan = solver_plan(config(final_sigmas_type="sigma_min", solver_type="heun"), (500, 0))

    assert torch.equal(plan.step(1, EPS, [X0, X0]), EPS)


def test_a_plan_is_made_once() -> None:
    assert solver_plan(config(), 5) is solver_plan(config(), 5)


def test_a_step_is_computed_in_fp32_and_given_back_in_the_dtype_of_the_model() -> None:
    plan = solver_plan(config(), 5)
    x, x0 = EPS.bfloat16(), X0.bfloat16()

    stepped = plan.step(0, x, [x0])

    assert stepped.dtype == torch.bfloat16
    assert torch.equal(stepped, plan.step(0, x.float(), [x0.float()]).bfloat16())
    assert plan.estimate(0, x.float(), x0).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"prediction_type": "score"}, "score"),
        ({"algorithm_type": "euler"}, "euler"),
        ({"solver_order": 4}, "4"),
        ({"solver_type": "rk4"}, "rk4"),
        ({"final_sigmas_type": "one"}, "one"),
        ({"timestep_spacing": "log"}, "log"),
        ({"steps_offset": -1}, "-1"),
        ({"algorithm_type": "sde-dpmsolver++", "solver_order": 3}, "third order"),
        ({"algorithm_type": "dpmsolver"}, "sigma 0"),
    ],
)
def test_a_solver_that_cannot_be_is_refused_with_its_value(options: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        config(**options)


@pytest.mark.parametrize("steps", [0, -3, 1000, True, (), (100, 100), (10, 20), (1000,), (5, -1)])
def test_steps_that_do_not_fit_the_schedule_are_refused(steps: int | tuple[int, ...]) -> None:
    with pytest.raises(ConfigError):
        solver_plan(config(), steps)


def test_karras_sigmas_refuse_timesteps_given_by_hand() -> None:
    with pytest.raises(ConfigError, match="own timesteps"):
        solver_plan(config(use_karras_sigmas=True), (900, 100))
