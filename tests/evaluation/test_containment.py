"""Answers judged by containment; recorded verdicts are compared in tests/parity/test_vita_scoring.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.evaluation.containment import SMALL, TENS, containment, in_digits, is_contained

ONES = {value: name for name, value in (SMALL | TENS).items()}


def spelled(number: int) -> str:
    """A number in English words."""
    for unit, name in ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= unit:
            rest = number % unit
            return f"{spelled(number // unit)} {name}" + (f" and {spelled(rest)}" if rest else "")
    if number in ONES:
        return ONES[number]
    return f"{ONES[number - number % 10]}-{ONES[number % 10]}"


@given(number=st.integers(0, 10**12 - 1))
def test_a_number_in_words_is_its_digits(number: int) -> None:
    assert in_digits(spelled(number)) == str(number)


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("the twelve apostles", "12"),
        ("a hundred", "100"),
        ("million", "1000000"),
        ("0042", "42"),
        ("paris", None),
        ("", None),
        ("nineteen forty five", None),
        ("two three", None),
        ("hundred hundred", None),
        ("five million two billion", None),
        ("one thousand thousand", None),
    ],
)
def test_words_that_spell_no_single_number_give_none(text: str, digits: str | None) -> None:
    assert in_digits(text) == digits


@pytest.mark.parametrize(
    ("answer", "references", "is_right"),
    [
        ("It is the Eiffel Tower.", ["tower, Eiffel"], True),
        ("It is the tower.", ["Eiffel Tower"], False),
        ("A parisian", ["Paris"], True),
        ("There are 12.", ["twelve"], True),
        ("There are 12.", ["twelve", "a dozen"], False),
        ("There are twelve.", ["12"], False),
        ("", ["Paris"], False),
    ],
)
def test_an_answer_is_right_if_it_contains_every_word_of_a_reference(
    answer: str, references: list[str], is_right: bool
) -> None:
    assert is_contained(answer, references) is is_right


def test_an_answer_that_never_came_counts_as_wrong() -> None:
    assert containment(["Paris", ""], [["Paris"], ["Rome"]]) == 0.5


def test_there_must_be_answers_and_as_many_references() -> None:
    with pytest.raises(ValueError, match="no answers"):
        containment([], [])
    with pytest.raises(ValueError, match="longer"):
        containment(["a"], [["a"], ["b"]])
