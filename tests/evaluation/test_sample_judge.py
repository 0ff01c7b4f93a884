"""Samples of a training are judged by what is at hand: understood, like the speaker, clean."""

import importlib.util
import logging

import numpy as np
import pytest

from evaluation.conftest import TEXTS
from loquor.evaluation.mos import PACKAGE as OPINION
from loquor.evaluation.sample_judge import SampleJudge
from loquor.evaluation.similarity import PACKAGE as ENCODER
from loquor.evaluation.transcriber import PACKAGE as RECOGNISER

INSTRUMENTS = (OPINION, ENCODER, RECOGNISER)
needs_all = pytest.mark.skipif(not all(package.is_installed for package in INSTRUMENTS), reason="no instruments here")


@needs_all
def test_a_good_sample_is_understood_alike_and_clean(spoken):
    measures = SampleJudge(spoken[:1], is_english=True)([(TEXTS[1], spoken[1])])
    assert measures.keys() == {"wer", "similarity", "mos"}
    assert measures["wer"] < 0.3 and measures["similarity"] > 0.85 and measures["mos"] > 2


@needs_all
def test_a_bad_sample_is_none_of_these(spoken, noise):
    measures = SampleJudge(spoken, is_english=True)([(TEXTS[1], noise)])
    assert measures["wer"] > 0.8 and measures["similarity"] < 0.7 and measures["mos"] < 2


@needs_all
def test_figures_are_means_over_samples_and_references(spoken, noise):
    short = slice(0, 50_000)
    samples = [(TEXTS[1], spoken[1][short]), (TEXTS[0], noise[short])]
    references = [spoken[0][short], noise[short]]
    judge = SampleJudge(references, is_english=False)
    both, each = judge(samples), [judge([sample]) for sample in samples]
    for name in ("similarity", "mos"):
        assert both[name] == pytest.approx(np.mean([measures[name] for measures in each]), rel=1e-4)
    likenesses = [SampleJudge([reference], is_english=False)(samples)["similarity"] for reference in references]
    assert both["similarity"] == pytest.approx(np.mean(likenesses), rel=1e-4)


@needs_all
def test_words_are_counted_in_english_only(spoken):
    assert SampleJudge(spoken[:1], is_english=False)([(TEXTS[1], spoken[1])]).keys() == {"similarity", "mos"}


@needs_all
@pytest.mark.parametrize("silent", ["sample", "reference"])
def test_silence_is_like_nobody(spoken, silent):
    nothing = np.zeros(24_000, dtype=np.float32)
    reference, sample = (nothing, spoken[0]) if silent == "reference" else (spoken[0], nothing)
    assert "similarity" not in SampleJudge([reference], is_english=False)([(TEXTS[0], sample)])


def test_instruments_that_are_missing_are_told_of_once_with_the_line_that_installs_them(noise, monkeypatch, caplog):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None)
    judge = SampleJudge([noise], is_english=True)
    with caplog.at_level(logging.WARNING):
        assert judge([(TEXTS[0], noise)]) == judge([(TEXTS[0], noise)]) == {}
    told = [record.getMessage() for record in caplog.records]
    assert [message.split(":")[0] for message in told] == [
        f"samples are not judged for {name}" for name in ("similarity", "mos", "wer")
    ]
    assert all("pip install" in message for message in told)
