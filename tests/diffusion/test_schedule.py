"""Schedules: boundaries, monotony, and the algebra of noise, sample and velocity."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loquor.diffusion.prediction import PREDICTIONS, conversion
from loquor.diffusion.schedule import SCHEDULES, SMALLEST_ALPHAS_CUMPROD, ScheduleConfig, noise_schedule
from loquor.errors import ConfigError

every_schedule = pytest.mark.parametrize("name", SCHEDULES)


@every_schedule
def test_a_schedule_goes_from_nearly_all_signal_to_more_noise_at_every_timestep(name: str) -> None:
    schedule = noise_schedule(ScheduleConfig(beta_schedule=name))

    assert schedule.alphas_cumprod[0] > 0.95
    assert bool((schedule.alphas_cumprod.diff() < 0).all())
    assert bool((schedule.log_snr.diff() < 0).all())
    assert bool((schedule.betas > 0).all())
    assert bool((schedule.betas <= 0.9990001).all())  # 0.999 in float32


@every_schedule
def test_signal_and_noise_power_add_up_to_one(name: str) -> None:
    schedule = noise_schedule(ScheduleConfig(beta_schedule=name, num_train_timesteps=250))

    power = schedule.alpha.square() + schedule.sigma.square()

    assert len(power) == 250
    torch.testing.assert_close(power, torch.ones(250), rtol=0, atol=3e-7)  # two roots squared in float32


def test_the_cosine_schedule_ends_where_the_published_one_does() -> None:
    schedule = noise_schedule(ScheduleConfig(beta_schedule="cosine"))

    assert float(schedule.alphas_cumprod[0]) == pytest.approx(0.99995869, abs=1e-8)
    assert float(schedule.alphas_cumprod[-1]) == pytest.approx(2.4287e-9, rel=1e-4)
    assert float(schedule.betas[-1]) == pytest.approx(0.999)


@every_schedule
def test_zero_terminal_snr_keeps_the_first_timestep_and_empties_the_last(name: str) -> None:
    before = noise_schedule(ScheduleConfig(beta_schedule=name))
    after = noise_schedule(ScheduleConfig(beta_schedule=name, rescale_betas_zero_snr=True))

    assert float(after.alphas_cumprod[-1]) == SMALLEST_ALPHAS_CUMPROD
    torch.testing.assert_close(after.alphas_cumprod[0], before.alphas_cumprod[0], rtol=1e-5, atol=0)


def test_noise_and_velocity_give_back_the_sample() -> None:
    schedule = noise_schedule(ScheduleConfig(beta_schedule="cosine"))
    x0, noise = torch.randn(2, 1000, 4, generator=torch.Generator().manual_seed(0)).unbind()
    timesteps = torch.arange(1000)

    x, v = schedule.add_noise(x0, noise, timesteps), schedule.velocity(x0, noise, timesteps)

    alpha, sigma = schedule.alpha[:, None], schedule.sigma[:, None]
    torch.testing.assert_close(alpha * x - sigma * v, x0, rtol=0, atol=2e-6)  # alpha^2 + sigma^2 is 1 but for rounding
    torch.testing.assert_close(sigma * x + alpha * v, noise, rtol=0, atol=2e-6)


def test_tables_take_the_dtype_of_the_sample() -> None:
    schedule = noise_schedule(ScheduleConfig(beta_schedule="cosine"))
    x0 = torch.ones(2, 3, dtype=torch.bfloat16)

    assert schedule.add_noise(x0, x0, torch.tensor([0, 999])).dtype == torch.bfloat16


def test_tables_made_while_generating_can_be_trained_with() -> None:
    with torch.inference_mode():
        schedule = noise_schedule(ScheduleConfig(beta_schedule="cosine", num_train_timesteps=77))
    x0 = torch.ones(1, 2, requires_grad=True)

    schedule.add_noise(x0, x0, torch.tensor([76])).sum().backward()

    assert x0.grad is not None


@given(
    st.sampled_from(list(itertools.product(PREDICTIONS, PREDICTIONS))),
    st.floats(0.05, 1.5),
)
def test_every_prediction_can_be_turned_into_every_other(pair: tuple[str, str], angle: float) -> None:
    alpha, sigma = (
        torch.cos(torch.tensor(angle, dtype=torch.float64)),
        torch.sin(torch.tensor(angle, dtype=torch.float64)),
    )
    x0, eps = torch.tensor([0.3, -2.0], dtype=torch.float64), torch.tensor([1.1, 0.4], dtype=torch.float64)
    x = alpha * x0 + sigma * eps
    kinds = {"sample": x0, "epsilon": eps, "v_prediction": alpha * eps - sigma * x0}
    have, want = pair

    got = conversion(have, want, float(alpha), float(sigma))(x, kinds[have])

    torch.testing.assert_close(got, kinds[want])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"beta_schedule": "cosinus"}, "cosinus"),
        ({"beta_schedule": "linear", "num_train_timesteps": 1}, "1"),
        ({"beta_schedule": "linear", "beta_start": -0.5}, "-0.5"),
        ({"beta_schedule": "linear", "beta_end": 2.5}, "2.5"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_with_its_value(options: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        ScheduleConfig(**options)
