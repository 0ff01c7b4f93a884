"""The times of words: in order, within the sound, never before a word was read, and right where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loquor.engine.request import Chunk
from loquor.engine.word_times import TimedWord, WordTimes

RATE, FRAME_S = 24_000, 0.1
NO_LATENTS = torch.zeros(0, 1)


def chunks(sound: np.ndarray, text_end: int, finish: str | None = "end", text_start: int = 0) -> list[Chunk]:
    """A sound in frames, all of whose text was read at first."""
    size = round(FRAME_S * RATE)
    pieces = [torch.from_numpy(sound[i : i + size].astype(np.float32)) for i in range(0, len(sound), size)]
    ends = [None] * (len(pieces) - 1) + [finish]
    return [
        Chunk(piece, NO_LATENTS, i * FRAME_S, (i + 1) * FRAME_S, text_end, text_start=text_start, finish=end)
        for i, (piece, end) in enumerate(zip(pieces, ends, strict=True))
    ]


def voice(seconds: float) -> np.ndarray:
    return 0.3 * np.random.default_rng(0).standard_normal(round(seconds * RATE))


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE))


def heard(text: str, sound: np.ndarray) -> tuple[list[TimedWord], list[TimedWord]]:
    """All words as told at first, and as told in the end."""
    times = WordTimes(RATE)
    times.push(text)
    told = [times.hear(chunk) for chunk in chunks(sound, len(text))]
    return [word for fresh, _ in told for word in fresh], told[-1][1]


def test_words_between_pauses_are_where_their_voice_is() -> None:
    """The pauses say which marks they belong to, though the second part is said three times as slowly."""
    sound = np.concatenate([silence(0.3), voice(0.5), silence(0.4), voice(1.5), silence(0.2), voice(0.5), silence(0.5)])
    _, words = heard("abcd abcd, abcd abcd; abcd abcd.", sound)
    assert [word.start_s for word in words] == pytest.approx([0.3, 0.55, 1.2, 1.95, 2.9, 3.15], abs=0.03)
    assert [word.end_s for word in words] == pytest.approx([0.55, 0.8, 1.95, 2.7, 3.15, 3.4], abs=0.03)


def test_a_pause_that_belongs_to_no_mark_moves_no_other_word() -> None:
    sound = np.concatenate([voice(0.5), silence(0.2), voice(1.5), silence(0.3), voice(2.0)])
    _, words = heard("abcd abcd abcd abcd, abcd abcd abcd abcd.", sound)
    assert words[4].start_s == pytest.approx(2.5, abs=0.03) and words[3].end_s == pytest.approx(2.2, abs=0.03)


def test_words_are_told_as_they_begin() -> None:
    text = "abcd abcd abcd abcd."
    times = WordTimes(RATE)
    times.push(text)
    for chunk in chunks(voice(1.6), len(text)):
        fresh, _ = times.hear(chunk)
        assert all(word.start_s < chunk.end_s for word in fresh)
    assert len(times.words) == 4


def test_no_word_is_told_before_it_was_read() -> None:
    text = "one two three four"
    times = WordTimes(RATE)
    times.push(text)
    for chunk in chunks(voice(5.0), text_end=7, finish=None):
        assert {word.text for word in times.hear(chunk)[0]} <= {"one", "two"}
    assert {word.text for word in times.settle()} == {"one", "two"}


def test_an_utterance_begins_where_its_text_and_its_sound_do() -> None:
    times = WordTimes(RATE)
    times.push("One two. Three")
    times.push(" four.")
    for chunk in chunks(voice(1.0), text_end=8):
        times.hear(chunk)
    second = chunks(np.concatenate([silence(0.2), voice(1.0)]), text_end=20, text_start=9)
    for chunk in second:
        shifted = Chunk(chunk.waveform, NO_LATENTS, chunk.start_s + 1, chunk.end_s + 1, 20, None, 9, chunk.finish)
        _, words = times.hear(shifted)
    assert [word.text for word in words] == ["Three", "four"]
    assert words[0].start_s == pytest.approx(1.2, abs=0.02) and words[1].end_s == pytest.approx(2.2, abs=0.02)


def test_what_was_heard_ends_with_a_word_and_its_mark() -> None:
    times = WordTimes(RATE)
    times.push("“Yes,” said Ada 😀.")
    for chunk in chunks(voice(1.5), len(times.text)):
        times.hear(chunk)
    ends = [times.text[: times.heard_until(played / 10)] for played in range(20)]
    assert list(dict.fromkeys(ends)) == ["", "“Yes,”", "“Yes,” said", "“Yes,” said Ada"]


@settings(max_examples=50, deadline=None)
@given(
    text=st.text(st.sampled_from("ab c.,\n日本é😀'1"), max_size=40),
    parts=st.lists(st.tuples(st.booleans(), st.floats(0.01, 0.6)), min_size=1, max_size=8),
    finish=st.sampled_from(["end", "runaway", None]),
    read=st.floats(0, 1),
)
def test_whatever_is_said_words_are_in_order_and_within_it(
    text: str, parts: list[tuple[bool, float]], finish: str | None, read: float
) -> None:
    sound = np.concatenate([(voice if is_voice else silence)(seconds) for is_voice, seconds in parts])
    times = WordTimes(RATE)
    times.push(text)
    last: list[TimedWord] = []
    for chunk in chunks(sound, round(read * len(text)), finish):
        fresh, last = times.hear(chunk)
        assert all(word.start_s <= chunk.end_s for word in fresh)
    last = last or times.settle()
    moments = [moment for word in last for moment in (word.start_s, word.end_s)]
    assert moments == sorted(moments) and all(0 <= moment <= len(sound) / RATE + 0.02 for moment in moments)
    assert all(text[word.start : word.end] == word.text for word in last)
