"""Long text becomes the same utterances however it arrives, each of a length that a model can speak."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loquor.engine.utterances import BYTES_PER_TOKEN, Piece, UtteranceSplitter
from loquor.errors import InputError
from loquor.text.qwen_tokenizer import QwenTokenizer
from loquor.text.tokenizer import TextTokenizer, Token
from toy import ToyStream, ToyTokenizer

PROSE = (
    "It was late. Nobody came! Was that so strange? Mr. Smith, who lived at No. 5 for 3.5 years, said: “No.” "
    "(He said that often.) Then... silence\n\nA new paragraph begins here, and goes on and on without a mark\n"
    "日本語の文です。次の文です！そう？ and back to English; the end comes soon. Really soon 😀 now."
)
SOFT, HARD = 8, 24


def splitter(tokenizer: TextTokenizer | None = None, soft: int = SOFT, hard: int = HARD) -> UtteranceSplitter:
    return UtteranceSplitter(tokenizer or ToyTokenizer(), soft, hard)  # type: ignore[arg-type]


def utterances(pieces: list[Piece]) -> list[list[Token]]:
    """Tokens by utterance; the last may be open."""
    found: list[list[Token]] = [[]]
    for piece in pieces:
        found[-1] += piece.tokens
        if piece.is_last:
            found.append([])
    return found if found[-1] else found[:-1]


def split(text: str, places: list[int], by: UtteranceSplitter) -> list[list[Token]]:
    pieces = [piece for a, b in pairwise([0, *places, len(text)]) for piece in by.push(text[a:b])]
    return utterances(pieces + by.close())


def texts(pieces: list[list[Token]], text: str) -> list[str]:
    """What each utterance was made of, without the space around it."""
    return [text[tokens[0].start : tokens[-1].end].strip() for tokens in pieces]


WILD = st.text(st.sampled_from(list("ab .!?\n”)。é日😀\u200d\u0301")), max_size=200)


@given(text=st.just(PROSE) | WILD, data=st.data(), soft=st.integers(1, 12), stretch=st.integers(1, 4))
def test_however_text_is_cut_it_becomes_the_same_utterances(
    text: str, data: st.DataObject, soft: int, stretch: int
) -> None:
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    hard = soft * stretch
    whole = split(text, [], splitter(soft=soft, hard=hard))
    assert split(text, places, splitter(soft=soft, hard=hard)) == whole
    assert split(text, list(range(1, len(text))), splitter(soft=soft, hard=hard)) == whole


@given(text=WILD, soft=st.integers(1, 12), stretch=st.integers(1, 4))
def test_nothing_is_lost_and_nothing_is_too_long(text: str, soft: int, stretch: int) -> None:
    said = texts(split(text, [], splitter(soft=soft, hard=soft * stretch)), text)
    assert "".join("".join(part.split()) for part in said) == "".join(text.split())
    limit = 2 * BYTES_PER_TOKEN * soft * stretch
    assert all(len(part.encode()) < limit + 4 for part in said)


@given(data=st.data())
@settings(max_examples=10)
def test_the_published_tokenizer_gives_the_same_ids_however_text_is_cut(data: st.DataObject) -> None:
    tokenizer = QwenTokenizer()
    places = sorted(data.draw(st.lists(st.integers(0, len(PROSE)), max_size=20)))
    parts = split(PROSE, places, splitter(tokenizer))
    assert parts == split(PROSE, [], splitter(tokenizer))
    for tokens, part in zip(parts, texts(parts, PROSE), strict=True):
        assert [token.id for token in tokens] == tokenizer.encode(part)


def test_an_utterance_ends_with_a_sentence_once_it_is_long_enough() -> None:
    assert texts(split(PROSE, [], splitter(hard=200)), PROSE) == [
        "It was late. Nobody came!",
        "Was that so strange? Mr. Smith, who lived at No. 5 for 3.5 years, said: “No.”",
        "(He said that often.) Then... silence",
        "A new paragraph begins here, and goes on and on without a mark\n日本語の文です。",
        "次の文です！そう？",
        "and back to English; the end comes soon.",
        "Really soon 😀 now.",
    ]


def test_a_sentence_without_end_is_cut_at_a_space_and_a_word_without_end_anywhere() -> None:
    words = texts(split("word " * 40, [], splitter()), "word " * 40)
    assert set(words[:-1]) == {"word " * 14 + "word"}  # 24 tokens' worth of text are 72 bytes
    letters = texts(split("x" * 400, [], splitter()), "x" * 400)
    assert [len(part) for part in letters] == [144, 144, 112]


def test_a_long_sentence_is_cut_where_a_clause_ends() -> None:
    text = "One two three, four five six; seven eight nine, ten eleven twelve, and so on without any other mark."
    assert texts(split(text, [], splitter()), text) == [
        "One two three, four five six; seven eight nine,",  # the first that ends after 48 bytes, two thirds of 72
        "ten eleven twelve, and so on without any other mark.",
    ]


def test_short_text_is_one_utterance() -> None:
    assert len(split(PROSE, [], splitter(soft=1000, hard=1000))) == 1


def test_places_are_those_in_the_whole_text() -> None:
    text = "  \n One two. Three four five six. Seven."
    parts = split(text, [], splitter(soft=2, hard=50))
    assert [tokens[0].start for tokens in parts] == [4, 13, 34]
    assert parts[-1][-1].end == len(text)
    assert all(0 <= token.start <= token.end <= len(text) for tokens in parts for token in tokens)


class ChoosyStream(ToyStream):
    def end(self) -> list[Token]:
        if "😀" in self.pending:
            raise InputError("the text holds nothing that can be spoken")
        return super().end()


class Choosy(ToyTokenizer):
    """As that of a model that knows no emoji."""

    def stream(self) -> ChoosyStream:
        return ChoosyStream()


def test_an_utterance_of_which_nothing_can_be_said_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    by = splitter(Choosy())
    assert by.push("😀") == []
    assert [piece.tokens for piece in by.close()] == [[]]
    assert "left out '😀'" in caplog.text
    tokens = by.push("Hello.") + by.close()
    assert utterances(tokens)[0][0].start == 1


def test_half_a_character_changes_nothing() -> None:
    by = splitter()
    by.push("One ")
    with pytest.raises(InputError, match="character 6 of the text is half of a surrogate pair"):
        by.push("tw\ud83do")
    assert texts(utterances(by.push("two.") + by.close()), "One two.") == ["two."]


def test_a_long_sentence_is_cut_after_a_clause_rather_than_between_any_two_words() -> None:
    text = "one two three four five six seven eight, nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"

    parts = texts(split(text, [], splitter(soft=5, hard=20)), text)

    assert parts[0].rstrip() == "one two three four five six seven eight,"


def test_the_last_word_of_a_sentence_is_never_left_alone() -> None:
    sentence = "Nobody could find any keys belonging to that enormous building somewhere {}downstairs. Then it rained."
    for more in range(30):
        text = sentence.format("far away " * more)
        parts = texts(split(text, [], splitter(soft=5, hard=15)), text)
        assert not any(part.startswith("downstairs") for part in parts)


def test_a_long_sentence_is_cut_before_a_word_that_begins_a_clause() -> None:
    text = "The committee postponed the meeting that everybody had expected because nobody could find the key to it."
    assert texts(split(text, [], splitter(soft=5, hard=26)), text) == [
        "The committee postponed the meeting that everybody had expected",
        "because nobody could find the key to it.",
    ]


def test_no_utterance_ends_in_a_word_that_leans_on_the_next() -> None:
    text = "one two three four five six seven of the eight nine ten eleven twelve thirteen fourteen"
    assert (
        texts(split(text, [], splitter(soft=5, hard=12)), text)[0] == "one two three four five six seven of the eight"
    )


def test_figures_count_for_the_words_they_are_said_in() -> None:
    text = "1234567890" * 30
    assert {len(part) for part in texts(split(text, [], splitter(soft=13, hard=39)), text)} == {39, 300 % 39}
