import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.audio import StreamResampler, resample

RATES_HZ = [8000, 16000, 22050, 24000, 44100, 48000]
rates = st.sampled_from(RATES_HZ)


@given(rates, rates, st.integers(0, 2**32 - 1), st.lists(st.integers(0, 4000), max_size=8))
def test_a_stream_gives_what_the_whole_gives_however_it_is_cut(from_hz, to_hz, seed, lengths):
    waveform = np.random.default_rng(seed).uniform(-1, 1, sum(lengths)).astype(np.float32)
    whole = resample(waveform, from_hz, to_hz)

    stream = StreamResampler(from_hz, to_hz)
    pieces = [stream.push(chunk) for chunk in np.split(waveform, np.cumsum(lengths)[:-1])]
    streamed = np.concatenate([*pieces, stream.finish()])

    np.testing.assert_array_equal(streamed, whole)  # the same filter over the same samples: bit-equal


@given(rates, rates, st.integers(0, 5000))
def test_the_length_follows_the_rates(from_hz, to_hz, length):
    resampled = resample(np.zeros(length, dtype=np.float32), from_hz, to_hz)
    assert abs(len(resampled) - length * to_hz / from_hz) <= 0.5
    assert resampled.dtype == np.float32


@pytest.mark.parametrize("to_hz", [16000, 48000])
def test_a_tone_keeps_its_pitch_and_level(to_hz):
    def tone(rate_hz):
        return (0.5 * np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz)).astype(np.float32)

    error = resample(tone(24000), 24000, to_hz) - tone(to_hz)
    middle = slice(to_hz // 10, -to_hz // 10)  # the ends lack neighbours to interpolate from
    assert np.abs(error[middle]).max() < 1e-4
