"""Weaving text and audio; the published cases are compared in tests/parity/test_vita_data.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.errors import ConfigError
from loquor.models.vita.interleaving import BOOST, check_ratio, interleave

BEGIN, END = -1, -2
texts = st.lists(st.integers(0, 99), max_size=40)
audios = st.lists(st.integers(100, 199), max_size=60)
pairs = st.lists(st.tuples(st.integers(1, 5), st.integers(3, 12)), min_size=1, max_size=4)


def spans(woven: list[int]) -> list[list[int]]:
    """The pieces of audio between marks."""
    found: list[list[int]] = []
    for i in woven:
        if i == BEGIN:
            found.append([])
        elif i >= 100:
            found[-1].append(i)
    return found


@given(text=texts, audio=audios, pairs=pairs)
def test_every_id_is_kept_in_its_order(text: list[int], audio: list[int], pairs: list[tuple[int, int]]) -> None:
    woven = interleave(text, audio, [n for pair in pairs for n in pair], (BEGIN, END))

    assert [i for i in woven if 0 <= i < 100] == text
    assert [i for i in woven if i >= 100] == audio


@given(text=texts, audio=audios, pairs=pairs)
def test_marks_stand_in_pairs_around_audio_and_nothing_else(
    text: list[int], audio: list[int], pairs: list[tuple[int, int]]
) -> None:
    woven = interleave(text, audio, [n for pair in pairs for n in pair], (BEGIN, END))

    depth = 0
    for i in woven:
        depth += (i == BEGIN) - (i == END)
        assert depth in (0, 1) and (i in (BEGIN, END) or (i >= 100) == bool(depth))
    assert depth == 0 and all(spans(woven))


@given(text=texts.filter(bool), audio=audios.filter(bool), pairs=pairs)
def test_all_but_the_last_pair_have_the_numbers_of_the_ratio(
    text: list[int], audio: list[int], pairs: list[tuple[int, int]]
) -> None:
    woven = interleave(text, audio, [n for pair in pairs for n in pair], (BEGIN, END))

    asked = pairs + [pairs[-1]] * len(woven)
    at = 0
    for words, sounds in asked[: woven.count(BEGIN) - 1]:
        assert woven.index(BEGIN, at) - at == words
        at = woven.index(END, at) + 1
        assert at - 1 - woven.index(BEGIN, at - sounds) == sounds - 1
    assert woven[-1] == END


def test_text_alone_stays_as_it_is_and_audio_alone_is_one_span() -> None:
    assert interleave([1, 2, 3], [], BOOST, (BEGIN, END)) == [1, 2, 3]
    assert interleave([], list(range(100, 130)), BOOST, (BEGIN, END)) == [BEGIN, *range(100, 130), END]


@pytest.mark.parametrize("ratio", [(), (1,), (1, 10, 4), (0, 10), (1, 2), (-1, 10)])
def test_numbers_that_leave_no_room_are_no_ratio(ratio: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="no ratio of text to audio"):
        check_ratio(ratio)
