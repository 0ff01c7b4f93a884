"""Schedules: who makes which token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.errors import ConfigError
from loquor.models.vita.schedule import BALANCE, BOOST, SCHEDULES, TURBO, VANILLA, Schedule

pairs = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=5).filter(lambda p: sum(p[-1]))


def written(schedule: Schedule, length: int) -> str:
    return "".join("m" if schedule.is_module(t) else "M" for t in range(length))


def test_the_published_schedules_begin_as_published():
    assert written(VANILLA, 20) == "M" * 20
    assert written(TURBO, 23) == ("M" + "m" * 10) * 2 + "M"
    assert written(BOOST, 40) == "M" + "m" * 10 + ("M" * 4 + "m" * 10) * 2 + "M"
    assert written(BALANCE, 44) == "M" + "m" * 4 + "MMM" + "m" * 8 + ("M" * 4 + "m" * 10) * 2


@given(pairs, st.integers(0, 200))
def test_numbers_are_taken_in_turn_and_the_last_pair_for_ever(given, length):
    expected = "".join("M" * main + "m" * module for main, module in given)
    while len(expected) < length:
        expected += "M" * given[-1][0] + "m" * given[-1][1]
    assert written(Schedule(tuple(given)), length) == expected[:length]


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 12)), min_size=1, max_size=5), st.integers(0, 100))
def test_no_later_run_is_longer_than_it_says(given, token):
    schedule = Schedule(tuple(given))
    runs = [len(run) for run in written(schedule, 300)[token:].split("M")]
    assert max(runs) <= schedule.modules_from(token) <= max(module for _, module in given)


def test_a_run_that_is_over_does_not_count():
    schedule = Schedule.of([1, 10, 4, 0])
    assert (schedule.modules_from(0), schedule.modules_from(10), schedule.modules_from(11)) == (10, 10, 0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_has_a_name_in_any_case_and_its_numbers(name):
    assert Schedule.of(name.upper()) is SCHEDULES[name]
    assert Schedule.of(list(SCHEDULES[name].numbers)) == SCHEDULES[name]
    assert Schedule.of(SCHEDULES[name]) is SCHEDULES[name]


@pytest.mark.parametrize("value", [[], [1], [1, 2, 3], [1, -1], [1, 2.0], [True, 1], ["1", "2"], 7, None, [1, 2**40]])
def test_what_is_no_schedule_is_an_error(value):
    with pytest.raises(ConfigError, match="even number of whole numbers"):
        Schedule.of(value)


def test_a_last_pair_of_nothing_is_an_error():
    with pytest.raises(ConfigError, match="not both 0"):
        Schedule.of([1, 4, 0, 0])


def test_an_unknown_name_is_an_error_that_names_the_known():
    with pytest.raises(ConfigError, match="'warp'") as caught:
        Schedule.of("warp")
    assert caught.value.hint == "one of vanilla, balance, boost, turbo"
