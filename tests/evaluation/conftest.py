"""Speech to measure: the embedded voice, and noise of the same length."""

import numpy as np
import pytest

import loquor

TEXTS = (
    "The quick brown fox jumps over the lazy dog, and then it runs away into the dark wood.",
    "Call me later when you are at home, because there is something I would like to show you.",
)


@pytest.fixture(scope="session")
def spoken():
    """Two sentences by one voice, each [T] at 24 kHz."""
    speaker = loquor.load()
    return [speaker.speak(text, seed=seed).waveform.numpy() for seed, text in enumerate(TEXTS)]


@pytest.fixture(scope="session")
def noise(spoken):
    """As long and as loud as the first of them."""
    level = np.sqrt(np.mean(spoken[0] ** 2))
    return (level * np.random.default_rng(0).standard_normal(len(spoken[0]))).astype(np.float32)
