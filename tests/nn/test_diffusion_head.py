"""The diffusion head: fresh it is silent, precomputed it is itself."""

from __future__ import annotations

import pytest
import torch

from loquor.errors import ConfigError
from loquor.nn.diffusion_head import DiffusionHead, DiffusionHeadConfig, timestep_frequencies

SMALL = DiffusionHeadConfig(hidden_size=16, latent_size=4, head_layers=2)


def test_a_fresh_head_predicts_nothing_but_can_learn() -> None:
    head = DiffusionHead(SMALL)

    velocity = head(torch.randn(5, 4), torch.arange(5) * 200, torch.randn(5, 16))
    (velocity - 1).square().sum().backward()

    assert torch.equal(velocity, torch.zeros(5, 4))
    # adaLN-Zero shuts both ways: with the output modulation at zero only latent_out can move at first
    assert float(head.output.latent_out.weight.grad.abs().max()) > 0


def test_precomputed_modulations_give_what_forward_gives() -> None:
    head = DiffusionHead(SMALL)
    for weight in head.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    noisy, condition, timesteps = torch.randn(3, 4), torch.randn(3, 16), torch.tensor([999, 500, 0])

    modulations = head.modulations(head.embed_timesteps(timesteps), condition)

    for timestep, modulation in zip(timesteps, modulations, strict=True):
        plain = head(noisy, timestep.expand(3), condition)
        torch.testing.assert_close(head.predict(noisy, modulation), plain, rtol=0, atol=1e-5)  # fp32 order of sums


def test_a_head_has_the_parameters_of_the_published_one() -> None:
    with torch.device("meta"):
        head = DiffusionHead(DiffusionHeadConfig(hidden_size=896, latent_size=64))

    assert sum(p.numel() for p in head.parameters()) == pytest.approx(42.1e6, rel=0.002)  # measured for the 0.5B


def test_frequencies_start_with_the_cosines_and_are_exact_before_rounding() -> None:
    wave = timestep_frequencies(torch.tensor([0.0, 1.0]))

    assert wave.shape == (2, 256)
    assert torch.equal(wave[0], torch.cat([torch.ones(128), torch.zeros(128)]))
    assert torch.equal(timestep_frequencies(torch.tensor([1.0], dtype=torch.bfloat16))[0], wave[1].bfloat16())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"hidden_size": 0}, "hidden_size"),
        ({"diffusion_type": "flow"}, "flow"),
        ({"speech_vae_dim": 5}, "5"),
        ({"head_ffn_ratio": 0.0}, "head_ffn_ratio"),
    ],
)
def test_a_head_that_cannot_be_built_is_refused_with_its_value(options: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        DiffusionHeadConfig(**{"hidden_size": 16, "latent_size": 4, **options})
