"""The mel-cepstral distance: nothing between equals, little for another tempo, more for other words."""

import numpy as np
import pytest

import loquor
from loquor.errors import AudioError
from loquor.evaluation.mel_cepstral import mel_cepstral_distance


@pytest.fixture(scope="module")
def spoken():
    speaker = loquor.load()
    return {
        key: speaker.speak(text, seed=seed).waveform.numpy()
        for key, (text, seed) in {
            "said": ("The old boat came back.", 0),
            "again": ("The old boat came back.", 1),
            "other": ("Please sing me five songs.", 0),
        }.items()
    }


def test_a_recording_is_at_no_distance_to_itself_however_loud(spoken):
    assert mel_cepstral_distance(spoken["said"], spoken["said"]).decibel == 0
    assert mel_cepstral_distance(0.5 * spoken["said"], spoken["said"]).decibel < 0.5  # of 16-bit silence


def test_the_same_words_are_nearer_than_others(spoken):
    near, far = (mel_cepstral_distance(spoken[key], spoken["said"]).decibel for key in ("again", "other"))
    assert 0 < near < 0.8 * far


def test_a_pause_stretches_the_alignment(spoken):
    said = spoken["said"]
    paused = np.concatenate([said[:12_000], np.zeros(12_000, dtype=np.float32), said[12_000:]])
    assert mel_cepstral_distance(paused, said).stretched > mel_cepstral_distance(said, said).stretched


def test_nothing_has_no_distance(spoken):
    with pytest.raises(AudioError, match="empty"):
        mel_cepstral_distance(np.zeros(0, dtype=np.float32), spoken["said"])
