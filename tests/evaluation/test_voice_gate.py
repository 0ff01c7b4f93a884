"""The gate that new voices pass: it knows the person, and hears whether the words arrive."""

import importlib.util

import pytest

from evaluation.conftest import TEXTS
from loquor.evaluation.voice_gate import TEST_SENTENCES, Original, VoiceLimits, judge, sentences_for


@pytest.fixture
def sentence(spoken):
    """The second sentence, as the voice of the first says it."""
    return [(TEXTS[1], spoken[1])]


def test_a_voice_that_is_the_person_and_understood_passes(spoken, sentence):
    verdict = judge(Original(spoken[0]), sentence)
    assert verdict.failures == verdict.unchecked == ()
    assert verdict.measures["similarity"] > 0.85
    assert verdict.measures["word_error_rate"] < 0.3


def test_a_voice_made_of_noise_is_refused_with_the_figure(noise, sentence):
    verdict = judge(Original(noise), sentence)
    (failure,) = verdict.failures
    assert failure == f"it is only {verdict.measures['similarity']:.2f} like the recording, 0.75 is the least"


def test_the_codec_is_named_where_it_is_the_one_that_cannot(spoken, noise, sentence):
    able = judge(Original(noise, copy=noise), sentence)
    assert able.measures["similarity_of_copy"] == pytest.approx(1)
    assert able.failures[0].endswith("0.75 is the least")
    unable = judge(Original(noise, copy=spoken[0]), sentence)
    copy = f"{unable.measures['similarity_of_copy']:.2f}"
    assert unable.failures[0].endswith(f"(the codec's copy is {copy} like it: the model cannot make this voice)")


def test_a_voice_that_says_something_else_is_refused_with_the_figure(spoken):
    verdict = judge(Original(spoken[0]), [(TEXTS[0], spoken[1])])
    (failure,) = verdict.failures
    assert failure == f"{verdict.measures['word_error_rate']:.0%} of its words are understood wrongly, 60% is the most"


def test_the_limits_decide(spoken, sentence):
    assert len(judge(Original(spoken[0]), sentence, VoiceLimits(similarity=1.0, word_error_rate=-1.0)).failures) == 2
    assert judge(Original(spoken[0]), [(TEXTS[0], spoken[1])], VoiceLimits(word_error_rate=9.0)).failures == ()


def test_a_voice_of_another_language_says_its_own_text_and_is_not_judged_by_english_ears(spoken, sentence):
    assert sentences_for("fa", "Salaam.") == ("Salaam.",)
    assert sentences_for("", "Hello.") == sentences_for("en", "Hello.") == TEST_SENTENCES
    verdict = judge(Original(spoken[0], language="fa"), [("Salaam.", spoken[1])])
    assert (verdict.failures, verdict.measures.keys()) == ((), {"similarity"})
    (missing,) = verdict.unchecked
    assert (missing.subject, missing.reason) == ("being understood", "the recogniser knows English only, not 'fa'")


def test_without_the_instruments_nothing_is_refused_and_it_is_told(noise, sentence, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None)
    verdict = judge(Original(noise), sentence)
    assert (verdict.failures, verdict.measures) == ((), {})
    assert [missing.subject for missing in verdict.unchecked] == ["likeness to the recording", "being understood"]
    assert all("pip install" in missing.hint for missing in verdict.unchecked)
