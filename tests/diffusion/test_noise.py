"""Noise follows from seed and frame, and from nothing else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loquor.diffusion.noise import RecordedNoise, SeededNoise
from loquor.errors import InputError

seeds, frames = st.integers(0, 2**64 - 1), st.integers(0, 100_000)


@given(seeds, frames)
def test_a_frame_has_the_same_noise_whenever_it_is_asked_for(seed: int, frame: int) -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()

    first = SeededNoise(seed).frame(frame, (2, 8))
    SeededNoise(seed).frame(frame + 1, (2, 8))

    assert torch.equal(first, SeededNoise(seed).frame(frame, (2, 8)))
    assert torch.equal(first[:1], SeededNoise(seed).frame(frame, (1, 8)))
    assert torch.equal(before, torch.random.get_rng_state())


@given(seeds, frames)
def test_frames_and_seeds_differ(seed: int, frame: int) -> None:
    noise = SeededNoise(seed)

    assert not torch.equal(noise.frame(frame, (8,)), noise.frame(frame + 1, (8,)))
    assert not torch.equal(noise.frame(frame, (8,)), SeededNoise(seed ^ 1).frame(frame, (8,)))


def test_noise_is_standard_normal() -> None:
    draws = torch.stack([SeededNoise(5).frame(i, (64,)) for i in range(2000)])

    assert draws.dtype == torch.float32
    assert abs(float(draws.mean())) < 0.01  # 128,000 draws: four standard errors
    assert abs(float(draws.std()) - 1) < 0.01


def test_a_recording_is_replayed_and_ends() -> None:
    draws = torch.arange(6.0).view(3, 2)
    noise = RecordedNoise(draws)

    assert torch.equal(noise.frame(1, (2,)), draws[1])
    with pytest.raises(InputError, match="3 frames"):
        noise.frame(3, (2,))
    with pytest.raises(InputError, match="shape"):
        noise.frame(0, (4,))


def test_a_seed_below_zero_is_refused() -> None:
    with pytest.raises(InputError, match="-1"):
        SeededNoise(-1)
