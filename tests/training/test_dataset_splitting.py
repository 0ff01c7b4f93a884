"""Where a long recording may be cut."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loquor.training.dataset.splitting import find_pauses, probabilities, split
from training.recordings import RATE_HZ, silence, speech

BREATH_S = 0.3


def told(*sentences, pause_s=0.7, noise=0.0):
    """Sentences as lists of the seconds between breaths, and the sound of them all."""
    parts = []
    for i, spans in enumerate(sentences):
        for j, seconds in enumerate(spans):
            parts += [speech(seconds, seed=10 * i + j), silence(BREATH_S)]
        parts[-1] = silence(pause_s)
    waveform = np.concatenate(parts[:-1])
    return waveform + noise * np.random.default_rng(0).normal(size=len(waveform)).astype(np.float32)


def test_pauses_lie_between_stretches_of_speech():
    pauses, spoken_s = find_pauses(told([2.0, 1.0], [3.0], noise=1e-3))
    found = [(p.start_s, p.end_s, p.spoken_s) for p in pauses]
    np.testing.assert_allclose(found, [(2, 2.3, 2), (3.3, 4.0, 3)], atol=0.03)
    assert spoken_s == pytest.approx(6, abs=0.03)


def test_breaths_inside_sentences_are_told_from_their_ends():
    waveform = told([2.0, 1.5], [4.0], [1.0, 2.0, 2.0], [3.0])
    expected = [3.5, 4.0, 5.0, 3.0]

    likely = probabilities(*find_pauses(waveform), expected)

    assert likely.argmax(1).tolist() == [1, 2, 5]  # the other pauses are breaths
    np.testing.assert_allclose(likely.sum(1), 1)
    assert (likely.max(1) > 0.95).all()


def test_cuts_are_as_few_as_can_be_and_even():
    parts = split(told(*[[3.0]] * 6), [3.0] * 6, longest_s=12.0)
    assert [(part.first, part.last) for part in parts] == [(0, 3), (3, 6)]


def test_where_pauses_fit_no_sentence_well_nothing_is_cut():
    assert split(told([3.5] * 2, [3.5] * 2, pause_s=0.9), [7.0, 7.0], 12.0) is not None
    assert split(told([3.5] * 2, [3.5] * 2, pause_s=BREATH_S), [7.0, 7.0], 12.0) is None  # all pauses are alike
    assert split(speech(20.0), [10.0, 10.0], 15.0) is None
    assert split(told([10.0], [10.0]), [20.0], 15.0) is None


def test_silence_and_sentences_without_pauses_are_no_failure():
    assert find_pauses(silence(3.0)) == ([], 0.0)
    assert split(silence(20.0), [10.0, 10.0], 15.0) is None


@settings(max_examples=20)
@given(st.lists(st.floats(1.0, 4.0), min_size=2, max_size=6), st.integers(0, 5))
def test_parts_are_everything_in_order_and_short_enough(seconds, seed):
    waveform = np.concatenate([np.concatenate([speech(s, seed=seed + i), silence(0.8)]) for i, s in enumerate(seconds)])
    parts = split(waveform, seconds, longest_s=6.0)
    if parts is not None:
        assert (parts[0].start, parts[-1].end) == (0, len(waveform))
        assert (parts[0].first, parts[-1].last) == (0, len(seconds))
        for part, following in pairwise(parts):
            assert (part.end, part.last) == (following.start, following.first)
        assert all(part.first < part.last and part.end - part.start <= 6.0 * RATE_HZ for part in parts)
