"""Guided sampling over the real head: batching, guidance and precomputation change the cost, not the latents."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from loquor.diffusion.noise import SeededNoise
from loquor.diffusion.sample import Guidance, Sampler
from loquor.diffusion.solver import SolverConfig, solver_plan
from loquor.errors import ConfigError
from loquor.nn.diffusion_head import DiffusionHead, DiffusionHeadConfig

ODE = SolverConfig(beta_schedule="cosine", prediction_type="v_prediction")
SDE = SolverConfig(beta_schedule="cosine", prediction_type="v_prediction", algorithm_type="sde-dpmsolver++")
ROWS, STEPS, LATENT, HIDDEN = 3, 5, 8, 24


@pytest.fixture
def head() -> DiffusionHead:
    """A head in which every weight matters."""
    generator = torch.Generator().manual_seed(0)
    made = DiffusionHead(DiffusionHeadConfig(hidden_size=HIDDEN, latent_size=LATENT, head_layers=3))
    for weight in made.parameters():
        weight.data.normal_(std=0.2, generator=generator)
    return made


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def plainly(
    head: DiffusionHead, config: SolverConfig, condition: Tensor, negative: Tensor, scale: Tensor, **noise: Tensor
):
    """The sampling loop written out: two passes a step through the head's plain forward."""
    plan = solver_plan(config, STEPS)
    x, history = noise["start"], []
    for i, timestep in enumerate(plan.timesteps):
        timesteps = timestep.expand(len(x))
        positive_output, negative_output = head(x, timesteps, condition), head(x, timesteps, negative)
        output = negative_output + scale[:, None] * (positive_output - negative_output)
        history.insert(0, plan.estimate(i, x, output))
        x = plan.step(i, x, history, noise["steps"][i])
    return x


@pytest.mark.parametrize("config", [ODE, SDE], ids=["ode", "sde"])
def test_one_guided_batch_equals_two_passes_a_step(head: DiffusionHead, config: SolverConfig) -> None:
    condition, negative = drawn(ROWS, HIDDEN), drawn(ROWS, HIDDEN, seed=2)
    scale, start, steps = torch.tensor([1.0, 1.3, 3.0]), drawn(ROWS, LATENT, seed=3), drawn(STEPS, ROWS, LATENT, seed=4)

    latents = Sampler(head, solver_plan(config, STEPS))(condition, start, Guidance(negative, scale), steps)

    expected = plainly(head, config, condition, negative, scale, start=start, steps=steps)
    torch.testing.assert_close(latents, expected, rtol=0, atol=2e-5)  # fp32; matrix products of other sizes


def test_a_stream_gets_the_same_latent_alone_and_in_a_batch(head: DiffusionHead) -> None:
    sampler = Sampler(head, solver_plan(SDE, STEPS))
    condition, negative, scale = drawn(ROWS, HIDDEN), drawn(ROWS, HIDDEN, seed=2), torch.tensor([1.0, 1.3, 3.0])
    noise = torch.stack([SeededNoise(seed).frame(7, (1 + STEPS, LATENT)) for seed in range(ROWS)], dim=1)

    together = sampler(condition, noise[0], Guidance(negative, scale), noise[1:])
    alone = [
        sampler(condition[r], noise[0, r], Guidance(negative[r], scale[r]), noise[1:, r])
        for r in (slice(i, i + 1) for i in range(ROWS))
    ]

    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=2e-5)  # fp32; matrix products of other sizes


def test_a_scale_of_one_is_the_positive_branch_alone(head: DiffusionHead) -> None:
    sampler = Sampler(head, solver_plan(ODE, STEPS))
    condition, start = drawn(ROWS, HIDDEN), drawn(ROWS, LATENT, seed=3)

    guided = sampler(condition, start, Guidance(drawn(ROWS, HIDDEN, seed=2), torch.ones(ROWS)))

    torch.testing.assert_close(guided, sampler(condition, start), rtol=0, atol=1e-5)  # negative + (positive - negative)


def test_a_sampler_in_bfloat16_takes_fp32_noise_and_gives_bfloat16(head: DiffusionHead) -> None:
    sampler = Sampler(head.bfloat16(), solver_plan(SDE, STEPS))
    condition = drawn(ROWS, HIDDEN).bfloat16()

    latents = sampler(
        condition,
        drawn(ROWS, LATENT),
        Guidance(condition.flip(0), torch.full((ROWS,), 1.3)),
        drawn(STEPS, ROWS, LATENT),
    )

    assert latents.dtype == torch.bfloat16
    assert bool(latents.isfinite().all())


def test_a_stochastic_plan_without_noise_is_refused(head: DiffusionHead) -> None:
    sampler = Sampler(head, solver_plan(SDE, STEPS))

    with pytest.raises(ConfigError, match="step_noise"):
        sampler(drawn(1, HIDDEN), drawn(1, LATENT))
