"""What speaks against a recording is said; a good one passes in silence."""

import importlib.util

import numpy as np
import pytest

from loquor.audio import normalize_level, resample
from loquor.evaluation.fitness import examine

RATE_HZ = 24000
needs_all = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("silero_vad", "speechmos", "resemblyzer", "onnxruntime"))),
    reason="the instruments are not installed",
)


@pytest.fixture(scope="module")
def recording(spoken):
    """Eleven seconds of one speaker."""
    return normalize_level(np.concatenate(spoken))


@needs_all
def test_speech_alone_passes(recording):
    findings = examine(recording)
    assert (findings.warnings, findings.unchecked) == ((), ())
    assert set(findings.measures) == {"speech_share", "mos", "mos_speech", "mos_background", "similarity_of_parts"}


@needs_all
@pytest.mark.parametrize(
    ("flaw", "warning"),
    [
        ("noise", "noise or music"),
        ("pauses", "of it is speech"),
        ("another speaker", "several speakers"),
    ],
)
def test_each_flaw_is_named(recording, noise, flaw, warning):
    pause = np.zeros(4 * RATE_HZ, dtype=np.float32)
    spoiled = {
        "noise": recording + np.resize(noise, len(recording)) / 5,
        "pauses": np.concatenate([pause, recording[: 3 * RATE_HZ], pause]),
        "another speaker": np.concatenate([recording, resample(recording, 3 * RATE_HZ, 2 * RATE_HZ)]),
    }
    assert any(warning in said for said in examine(spoiled[flaw]).warnings)


@needs_all
def test_too_little_speech_tells_nothing_of_its_speakers(recording):
    findings = examine(recording[: 4 * RATE_HZ])
    (unchecked,) = findings.unchecked
    assert (unchecked.subject, unchecked.reason) == ("several speakers", "there is too little speech to tell")


def test_without_instruments_nothing_is_measured_and_everything_is_unchecked(recording, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    findings = examine(recording)
    assert (findings.measures, findings.warnings) == ({}, ())
    assert [missing.subject for missing in findings.unchecked] == ["pauses and music", "noise", "several speakers"]
    assert all("pip install" in missing.hint for missing in findings.unchecked)
