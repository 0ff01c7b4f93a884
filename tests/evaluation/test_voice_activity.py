"""Speech is found where it is, and nowhere else."""

import importlib.util
import itertools
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.audio import resample
from loquor.errors import MissingExtra
from loquor.evaluation import Activity, VoiceActivityDetector
from loquor.evaluation.voice_activity import Stretch

RATE_HZ = 24000
needs_silero = pytest.mark.skipif(
    not (importlib.util.find_spec("silero_vad") and importlib.util.find_spec("onnxruntime")),
    reason="the voice activity detector is not installed",
)


@pytest.fixture(scope="module")
def detector():
    return VoiceActivityDetector()


@needs_silero
def test_speech_is_found_between_silences(detector, spoken):
    pause = np.zeros(2 * RATE_HZ, dtype=np.float32)
    activity = detector.listen(np.concatenate([pause, spoken[0], pause, spoken[1], pause]))
    first, second = len(spoken[0]) / RATE_HZ, len(spoken[1]) / RATE_HZ
    assert activity.seconds == pytest.approx(6 + first + second)
    assert activity.speech_share == pytest.approx((first + second) / activity.seconds, abs=0.1)
    for stretch in activity.stretches:
        is_first = 1.8 < stretch.start_s < stretch.end_s < 2.2 + first
        assert is_first or 3.8 + first < stretch.start_s < stretch.end_s < 4.2 + first + second
    assert activity.stretches[0].start_s < 2.5 and activity.stretches[-1].end_s > activity.seconds - 2.5
    assert "silero_vad" not in sys.modules  # found, not imported


@needs_silero
def test_noise_tones_and_silence_are_no_speech(detector, noise):
    tone = 0.1 * np.sin(np.arange(3 * RATE_HZ) / 10).astype(np.float32)
    for sound in (noise, tone, np.zeros_like(tone), tone[:100], tone[:0]):
        assert detector.listen(sound).speech_share == 0


@needs_silero
@pytest.mark.parametrize("rate_hz", [16000, 44100])
def test_rate_and_level_hardly_matter(detector, spoken, rate_hz):
    share = detector.listen(spoken[0]).speech_share
    other = 0.3 * resample(spoken[0], RATE_HZ, rate_hz)
    assert detector.listen(other, rate_hz).speech_share == pytest.approx(share, abs=0.05)


@needs_silero
@given(st.lists(st.floats(0, 1, width=32), max_size=100))
def test_spans_are_made_of_probabilities_by_both_thresholds(detector, likely):
    spans = detector._spans(np.array(likely, dtype=np.float32))
    inside = {frame for start, end in spans for frame in range(start, end)}
    assert all(start < end for start, end in spans)
    assert all(later - end >= 4 for (_, end), (later, _) in itertools.pairwise(spans))
    assert all(likely[start] >= 0.5 and likely[end - 1] >= 0.35 for start, end in spans)
    assert {frame for frame, probability in enumerate(likely) if probability >= 0.5} <= inside


@needs_silero
@pytest.mark.parametrize(
    ("likely", "spans"),
    [
        ([0.4] * 9, []),  # doubt begins nothing
        ([0.6, *[0.4] * 9], [(0, 10)]),  # and ends nothing
        ([0.6, *[0.3] * 3, 0.4, *[0.3] * 9], [(0, 5)]),  # a short pause goes on
        ([0.6, *[0.3] * 4, 0.4, 0.6], [(0, 1), (6, 7)]),  # a long one does not
    ],
)
def test_a_doubtful_moment_neither_begins_nor_ends_speech(detector, likely, spans):
    assert detector._spans(np.array(likely)) == spans


def test_the_share_counts_the_stretches():
    assert Activity(4.0, (Stretch(0, 1), Stretch(2, 2.5))).speech_share == 0.375
    assert Activity(0.0, ()).speech_share == 0


def test_without_the_weights_the_install_line_is_given(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="the voice activity detector is missing: silero-vad is not") as caught:
        VoiceActivityDetector()
    assert "pip install --no-deps" in caught.value.hint and "silero-vad==" in caught.value.hint
