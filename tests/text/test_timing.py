"""The length of speech, guessed from its text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.text.timing import estimated_s, joined, word_count


def test_a_minute_is_what_a_reader_takes_for_it() -> None:
    assert 50 < estimated_s("The quick brown fox jumps over it. " * 21 + "Yes so.") < 70  # 149 words
    assert 50 < estimated_s("今天我们谈语音合成" * 28) < 65  # 252 characters
    assert estimated_s("In 2024.") > estimated_s("In abcd.")
    assert estimated_s("") == 0


@given(st.text(max_size=40), st.text(max_size=40))
def test_cutting_a_text_keeps_the_estimate(a: str, b: str) -> None:
    assert estimated_s(a) + estimated_s(b) == pytest.approx(estimated_s(a + b))


def test_words_are_counted_in_every_script() -> None:
    assert [word_count(text) for text in ("Don't stop — at 12:30, Jean-Luc!", "你好, world。", "  ", "سلام دنیا")] == [
        6,
        3,
        0,
        2,
    ]


def test_lines_are_joined_as_their_script_is_written() -> None:
    assert [joined(lines) for lines in (["a", "b"], ["你", "好"], ["你", "b"], ["a"], [])] == [
        "a b",
        "你好",
        "你 b",
        "a",
        "",
    ]
