"""How sure a figure is: bootstrap intervals, and a test of whether two systems differ on the same sentences.

Intervals are those of the percentile bootstrap over sentences (Bisani and Ney, ICASSP 2004; 95 %). Two systems that
said the same sentences are compared by their differences, sentence by sentence: if the systems were alike, each
difference might as well have had the other sign, and the p-value is the share of sign changes that give a mean as far
from zero (Fisher's randomisation test; all of them for few sentences, else draws). Draws are always the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from loquor.errors import MissingExtra

DRAWS = 2000
SIGN_CHANGES = 10_000
BLOCK = 1 << 22  # numbers drawn at once
Numbers = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A figure, and where it falls in 95 % of draws."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """Of two systems, second less first: the mean with its interval, and the chance of one so large by luck."""

    value: float
    low: float
    high: float
    p: float


def mean_interval(values: Sequence[float]) -> Interval:
    """The mean of one value or more; with one the interval is that value."""
    return ratio_interval(values, np.ones(len(values)))


def ratio_interval(parts: Sequence[float] | Numbers, wholes: Sequence[float] | Numbers) -> Interval:
    """Sum of parts by sum of wholes, such as errors by words; both have an entry for each sentence."""
    above, below = np.asarray(parts, dtype=np.float64), np.asarray(wholes, dtype=np.float64)
    draws = np.random.default_rng(0)
    step = max(1, BLOCK // len(above))
    rates: list[float] = []
    while len(rates) < DRAWS:
        picked = draws.integers(0, len(above), size=(min(step, DRAWS - len(rates)), len(above)))
        rates += (above[picked].sum(axis=1) / _some(below[picked].sum(axis=1))).tolist()
    low, high = np.percentile(rates, [2.5, 97.5])
    return Interval(float(above.sum() / _some(below.sum())), float(low), float(high))


def _some(sums: Numbers) -> Numbers:
    """Sums to divide by: where there is nothing, by 1, as nothing of nothing is 0."""
    return np.where(sums == 0, 1.0, sums)


def paired_difference(first: Sequence[float], second: Sequence[float], weights: Sequence[float] = ()) -> Difference:
    """How much more the second system has than the first, for the same sentences in the same order.

    With `weights`, such as words a sentence, the difference is that of sums by the weights' sum. MissingExtra without
    scipy.
    """
    try:
        from scipy.stats import permutation_test
    except ImportError as error:
        raise MissingExtra("comparing systems needs scipy", hint="pip install 'loquor[eval]'") from error
    apart = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    interval = ratio_interval(apart, weights or np.ones(len(apart)))
    if len(apart) < 2 or not apart.any():  # one sentence says nothing of others
        return Difference(*interval, p=1.0)
    tested = permutation_test(
        (apart,), np.mean, permutation_type="samples", n_resamples=SIGN_CHANGES, batch=1000, rng=0, vectorized=True
    )
    return Difference(*interval, p=float(tested.pvalue))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values of several questions asked of one pair, adjusted so that all of them together err in 5 %.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
    """
    adjusted, least = {}, 0.0
    for place, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        least = max(least, min(1.0, p_values[name] * (len(p_values) - place)))
        adjusted[name] = least
    return adjusted


def percentiles(values: Sequence[float], shares: Sequence[int]) -> list[float]:
    """The values below which so many per cent lie."""
    return [float(value) for value in np.percentile(values, shares)]
