"""Error rates in the manner of WeNet; recorded ones are compared in tests/parity/test_vita_scoring.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.evaluation.wenet import Errors, align, script_of, wenet_score, wenet_tokens

words = st.lists(st.sampled_from("abc"), max_size=12)


def distance(said: list[str], heard: list[str]) -> int:
    """By the definition: the last tokens match, or one of three edits ends the alignment."""
    rows = {(i, j): i + j for i in range(len(said) + 1) for j in range(len(heard) + 1) if not i or not j}
    for i, token in enumerate(said, start=1):
        for j, other in enumerate(heard, start=1):
            edits = rows[i - 1, j] + 1, rows[i, j - 1] + 1, rows[i - 1, j - 1] + (token != other)
            rows[i, j] = min(edits)
    return rows[len(said), len(heard)]


@given(said=words, heard=words)
def test_an_alignment_is_as_short_as_any_and_turns_one_into_the_other(said: list[str], heard: list[str]) -> None:
    steps = align(said, heard)

    assert sum(operation != "correct" for operation, _ in steps) == distance(said, heard)
    assert [token for operation, token in steps if operation != "inserted"] == said
    assert sum(operation != "deleted" for operation, _ in steps) == len(heard)
    kept = iter(heard)
    for operation, token in steps:
        other = next(kept) if operation != "deleted" else None
        assert (token == other) == (operation in ("correct", "inserted"))


@pytest.mark.parametrize(
    ("said", "heard", "operations"),
    [
        ("a b", "b a", ["inserted", "correct", "deleted"]),
        ("a b c", "b c d", ["deleted", "correct", "correct", "inserted"]),
        ("a", "b a", ["inserted", "correct"]),
        ("a b", "b", ["deleted", "correct"]),
        ("a a", "a", ["correct", "deleted"]),
    ],
)
def test_where_alignments_tie_a_deletion_comes_before_an_insertion_and_that_before_others(
    said: str, heard: str, operations: list[str]
) -> None:
    assert [operation for operation, _ in align(said.split(), heard.split())] == operations


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("我有3个apple", ["我", "有", "3", "个", "APPLE"]),
        ("yes!我", ["YES!", "我"]),
        ("！？ 「我」", ["我"]),
        ("a<noise>b <unk>c d", ["AB", "C", "D"]),
        ("<a b>c", ["B>C"]),
        ("é\u3000x", ["É", "X"]),
        ("", []),
    ],
)
def test_texts_are_cut_where_the_scripts_cut_them(text: str, tokens: list[str]) -> None:
    assert wenet_tokens(text) == tokens


def test_letters_spell_words_out_but_those_with_signs_inside() -> None:
    assert wenet_tokens("it's ok 12", letters=True) == ["IT'S", "O", "K", "1", "2"]


@pytest.mark.parametrize(
    ("token", "script"),
    [
        ("APPLE", "English"),
        ("DON'T", "English"),
        ("É", "English"),
        ("甚", "Mandarin"),
        ("42", "Number"),
        ("の", "Japanese"),
        ("A1", "Other"),
        ("5,000", "Other"),
        ("-", "Other"),
        ("\x00", "Other"),
    ],
)
def test_a_token_is_of_the_script_of_all_its_characters(token: str, script: str) -> None:
    assert script_of(token) == script


def test_a_report_counts_by_sentence_in_all_and_by_script() -> None:
    said, heard = [["HI", "我"], ["1", "2"]], [["HI", "你", "X"], []]

    report = wenet_score(said, heard)

    assert report.sentences == (Errors(1, 1, 0, 1), Errors(0, 0, 2, 0))
    assert report.overall == Errors(1, 1, 2, 1) and report.overall.rate == 1.0
    assert report.scripts == {
        "English": Errors(1, 0, 0, 1),
        "Mandarin": Errors(0, 1, 0, 0),
        "Number": Errors(0, 0, 2, 0),
    }


def test_without_tokens_the_rate_is_zero_and_unequal_lengths_are_refused() -> None:
    assert wenet_score([[]], [["A"]]).overall.rate == 0.0
    with pytest.raises(ValueError, match="shorter"):
        wenet_score([["A"], ["B"]], [["A"]])
