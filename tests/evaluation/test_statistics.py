import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loquor.evaluation.statistics import holm, mean_interval, paired_difference, ratio_interval

numbers = st.floats(-100, 100).map(lambda x: round(x, 3))
samples = st.lists(numbers, min_size=1, max_size=8)


@given(samples)
def test_a_mean_lies_in_its_interval_and_that_in_the_values(values):
    found = mean_interval(values)
    assert found.value == pytest.approx(np.mean(values))
    slack = 1e-9 * (1 + max(map(abs, values)))
    assert min(values) - slack <= found.low <= found.high <= max(values) + slack


def test_the_interval_narrows_with_the_root_of_the_count():
    values = [0.0, 1.0] * 20
    few, many = mean_interval(values), mean_interval(values * 16)
    assert (many.high - many.low) / (few.high - few.low) == pytest.approx(1 / 4, rel=0.15)


def test_an_interval_holds_the_truth_19_times_out_of_20():
    draws = np.random.default_rng(5)
    found = [mean_interval(draws.normal(3.0, 1.0, 40).tolist()) for _ in range(200)]
    held = sum(interval.low <= 3.0 <= interval.high for interval in found)
    assert 176 <= held <= 199  # 190, less a little as percentile bootstraps are narrow; 5 deviations


def test_a_rate_weighs_long_sentences_more():
    assert ratio_interval([1, 0], [1, 9]).value == pytest.approx(0.1)
    assert ratio_interval([0, 0], [0, 0]).value == 0


@settings(max_examples=20)
@given(samples)
def test_swapping_the_systems_turns_the_difference_around(values):
    other = values[::-1]
    there, back = paired_difference(values, other), paired_difference(other, values)
    assert (there.value, there.p) == pytest.approx((-back.value, back.p))


@settings(max_examples=25)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=7))
def test_the_p_value_is_the_share_of_sign_changes_that_go_as_far(apart):
    signs = np.array(list(itertools.product([1, -1], repeat=len(apart))))
    sums = signs @ np.array(apart)
    share = np.mean(np.abs(sums) >= abs(sum(apart)))
    assert paired_difference([0.0] * len(apart), list(map(float, apart))).p == pytest.approx(share)


def test_a_clear_difference_is_found_and_none_is_made_up():
    draws = np.random.default_rng(0)
    first = draws.normal(0, 1, 100)
    assert paired_difference(first.tolist(), (first + draws.normal(0.5, 0.5, 100)).tolist()).p < 0.001
    alike = [paired_difference(*draws.normal(0, 1, (2, 30)).tolist()).p for _ in range(20)]
    assert sum(p < 0.05 for p in alike) <= 4  # 1 expected


def test_a_difference_of_error_rates_is_that_of_all_words():
    found = paired_difference([1, 0, 2], [0, 0, 1], weights=[5, 10, 5])
    assert found.value == pytest.approx(-0.1)


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), min_size=1, max_size=6))
def test_adjusted_p_values_keep_their_order_and_the_least_counts_for_all(p_values):
    adjusted = holm(p_values)
    assert all(p_values[name] <= adjusted[name] <= 1 for name in p_values)
    ordered = sorted(p_values, key=lambda name: p_values[name])
    assert [adjusted[name] for name in ordered] == sorted(adjusted.values())
    assert adjusted[ordered[0]] == min(1, len(p_values) * p_values[ordered[0]])
