import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.errors import MissingExtra
from loquor.evaluation import score, wer, word_error_rate

words = st.sampled_from(["the", "cat", "sat", "on", "a", "mat"])
sentences = st.lists(words, max_size=8).map(" ".join)
pairs = st.lists(st.tuples(sentences, sentences), min_size=1, max_size=6)


def edit_distance(said: list[str], heard: list[str]) -> int:
    """Levenshtein, the long way round."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        previous, row = row, [i]
        for j, other in enumerate(heard, 1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (word != other)))
    return row[-1]


@given(pairs)
def test_errors_are_the_least_edits_and_the_total_is_that_of_all_words(rows):
    said, heard = zip(*rows, strict=True)
    report = word_error_rate(said, heard)
    for row in report.sentences:
        assert row.errors == edit_distance(row.reference.split(), row.hypothesis.split())
    assert report.words == sum(len(text.split()) for text in said)
    assert report.errors == sum(row.errors for row in report.sentences)
    assert report.wer == report.errors / max(report.words, 1)
    rates = [row.wer for row in report.sentences]
    assert rates == sorted(rates, reverse=True)
    assert report.interval[0] <= report.interval[1]


def test_spelling_that_sounds_the_same_is_no_error():
    said = ["He's got 21 colours, hasn't he?", "Dr. Smith paid twenty dollars."]
    heard = ["he has got twenty one colors has not he", "doctor smith paid $20"]
    assert word_error_rate(said, heard).errors == 0


def test_each_kind_of_error_is_counted_where_it_happened():
    report = word_error_rate(["an apple fell", "all is well", "quiet"], ["an apple fell down", "all was", ""])
    kinds = [(row.reference, row.substitutions, row.deletions, row.insertions) for row in report.sentences]
    assert kinds == [("quiet", 0, 1, 0), ("all is well", 1, 1, 0), ("an apple fell", 0, 0, 1)]
    assert str(report).startswith("WER 57.1%")
    assert json.loads(json.dumps(report.as_dict()))["sentences"][0]["reference"] == "quiet"


def test_the_interval_is_repeatable_and_narrows_with_more_sentences():
    said, heard = ["a b c d"] * 10, ["a b c d", "a b x d"] * 5
    few, many = word_error_rate(said, heard), word_error_rate(said * 20, heard * 20)
    assert few == word_error_rate(said, heard)
    assert few.interval[0] < few.wer < few.interval[1]
    assert many.interval[1] - many.interval[0] < (few.interval[1] - few.interval[0]) / 3


def test_score_asks_the_transcriber_about_each_utterance():
    class Echo:
        def transcribe(self, waveform, sample_rate_hz):
            return f"{len(waveform)} samples at {sample_rate_hz}"

    spoken = [("160 samples at 16000", np.zeros(160, dtype=np.float32), 16000)]
    assert score(iter(spoken), Echo()).wer == 0.0


def test_lists_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match="no sentences"):
        word_error_rate([], [])
    with pytest.raises(ValueError, match="shorter"):
        word_error_rate(["one", "two"], ["one"])


def test_a_missing_extra_is_named_with_its_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "jiwer", None)
    wer._tools.cache_clear()
    with pytest.raises(MissingExtra, match="jiwer") as caught:
        word_error_rate(["one"], ["one"])
    assert "loquor[eval]" in caught.value.hint
