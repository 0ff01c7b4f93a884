"""Predicted opinions order recordings as listeners would."""

import importlib.util
import sys

import numpy as np
import pytest

from loquor.audio import resample
from loquor.errors import AudioError, MissingExtra
from loquor.evaluation import OpinionPredictor

RATE_HZ = 24000
needs_speechmos = pytest.mark.skipif(
    not (importlib.util.find_spec("speechmos") and importlib.util.find_spec("onnxruntime")),
    reason="the predictor of opinion scores is not installed",
)


@pytest.fixture(scope="module")
def predictor():
    return OpinionPredictor()


@needs_speechmos
def test_the_more_noise_the_lower_the_scores(predictor, spoken, noise):
    clean, hiss, loud, only = (
        predictor.predict(x) for x in (spoken[0], spoken[0] + noise / 10, spoken[0] + noise, noise)
    )
    assert clean.background > hiss.background > loud.background > only.background
    assert clean.overall > loud.overall > only.overall
    assert clean.speech > only.speech
    assert all(1 <= score <= 5 for s in (clean, hiss, loud, only) for score in (s.overall, s.speech, s.background))
    assert "speechmos" not in sys.modules  # found, not imported


@needs_speechmos
def test_all_of_a_long_sound_counts(predictor, spoken, noise):
    speech, hiss = (np.resize(sound, round(9.01 * RATE_HZ)) for sound in (spoken[0], noise))  # each a window
    scores = [predictor.predict(np.concatenate(parts)).background for parts in ((speech, hiss), (hiss, speech))]
    alone = predictor.predict(speech).background
    assert max(scores) < alone - 0.5
    assert scores[0] == pytest.approx(scores[1], abs=0.4)


@needs_speechmos
def test_the_rate_hardly_matters(predictor, spoken):
    there = predictor.predict(resample(spoken[0], RATE_HZ, 48000), 48000)
    assert there.overall == pytest.approx(predictor.predict(spoken[0]).overall, abs=0.05)


@needs_speechmos
def test_scores_are_those_of_the_published_script(predictor):
    """Its function on the same 9.01 s was run once, in speechmos 0.0.1.1 with onnxruntime 1.31."""
    t = np.arange(144160) / 16000
    chirp = (0.3 * np.sin(2 * np.pi * (100 + 150 * t) * t) * np.sin(2 * np.pi * 2 * t)).astype(np.float32)
    scores = predictor.predict(chirp, 16000)
    assert (scores.overall, scores.speech, scores.background) == pytest.approx((1.1241, 1.2120, 1.0679), abs=1e-3)


@needs_speechmos
def test_nothing_has_no_scores(predictor):
    with pytest.raises(AudioError, match="empty"):
        predictor.predict(np.zeros(0, dtype=np.float32))


def test_without_the_weights_the_install_line_is_given(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="speechmos is not installed") as caught:
        OpinionPredictor()
    assert "speechmos==" in caught.value.hint
