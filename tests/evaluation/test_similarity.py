"""One speaker is like themself, whatever is said and however it was recorded, and unlike others."""

import importlib.util
import sys

import numpy as np
import pytest
import torch

import loquor
from loquor.audio import resample
from loquor.errors import AudioError, MissingExtra
from loquor.evaluation import SpeakerEncoder, similarity
from loquor.evaluation.similarity import PACKAGE, mel_bands, similarity_of_parts
from loquor.models.speech_tokens.log_mel import mel_filters

RATE_HZ = 24000
needs_resemblyzer = pytest.mark.skipif(
    not importlib.util.find_spec("resemblyzer"), reason="the speaker encoder is not installed"
)


@pytest.fixture(scope="module")
def encoder():
    return SpeakerEncoder()


@pytest.fixture(scope="module")
def other():
    """Another speaker."""
    speaker = loquor.load()
    text = "The harbour was empty, and nobody could say where all the boats had gone that night."
    return speaker.speak(text, "en-Martin_man", seed=2).waveform.numpy()


@needs_resemblyzer
def test_one_speaker_is_more_alike_in_two_sentences_than_two_speakers(encoder, spoken, other):
    first, second, stranger = (encoder.embed(x) for x in (*spoken, other))
    assert first.shape == (256,) and np.linalg.norm(first) == pytest.approx(1, abs=1e-5)
    assert similarity(first, second) > 0.85
    assert similarity(second, stranger) < 0.75
    assert "resemblyzer" not in sys.modules  # found, not imported


@needs_resemblyzer
def test_a_copy_is_the_same_and_level_rate_and_pauses_hardly_matter(encoder, spoken):
    as_it_is = encoder.embed(spoken[0])
    assert similarity(as_it_is, encoder.embed(spoken[0].copy())) == pytest.approx(1, abs=1e-5)
    assert similarity(as_it_is, encoder.embed(spoken[0] / 10)) > 0.999
    assert similarity(as_it_is, encoder.embed(resample(spoken[0], RATE_HZ, 44100), 44100)) > 0.99
    pause = np.zeros(2 * RATE_HZ, dtype=np.float32)
    assert similarity(as_it_is, encoder.embed(np.concatenate([pause, spoken[0], pause]))) > 0.98


@needs_resemblyzer
def test_speech_shorter_than_a_window_has_a_speaker_and_silence_has_none(encoder, spoken):
    word = encoder.embed(spoken[0][RATE_HZ // 2 : RATE_HZ])
    assert np.isfinite(word).all() and np.linalg.norm(word) == pytest.approx(1, abs=1e-5)
    for nothing in (np.zeros(RATE_HZ, dtype=np.float32), np.zeros(0, dtype=np.float32)):
        with pytest.raises(AudioError, match="silence has no speaker"):
            encoder.embed(nothing)


@needs_resemblyzer
@pytest.mark.parametrize("is_in_turns", [False, True])
def test_two_speakers_in_one_recording_fall_into_unlike_parts(encoder, spoken, other, is_in_turns):
    length = 4 * RATE_HZ
    mine, theirs = np.resize(np.concatenate(spoken), 2 * length), np.resize(other, 2 * length)
    turns = [mine[:length], theirs[:length], mine[length:], theirs[length:]]
    both = np.concatenate(turns if is_in_turns else [mine, theirs])
    alone = np.concatenate([mine, mine])
    assert similarity_of_parts(encoder.windows(both)) < 0.75 < similarity_of_parts(encoder.windows(alone))


def test_parts_are_found_whatever_their_order_and_size():
    rng = np.random.default_rng(0)
    a, b = np.eye(8)[:2] + 0.02 * rng.standard_normal((2, 8))
    windows = np.stack([b, *[a] * 7, b, b, a]) + 0.02 * rng.standard_normal((11, 8))
    windows /= np.linalg.norm(windows, axis=1, keepdims=True)
    assert similarity_of_parts(windows) < 0.2
    assert similarity_of_parts(windows) > (windows @ windows.T).min()  # of whole parts, not of two windows
    assert similarity_of_parts(windows[1:8]) > 0.95
    assert similarity_of_parts(windows[:1]) == pytest.approx(1)


def test_mel_bands_cover_the_spectrum_evenly_and_each_weighs_its_width():
    filters = mel_filters(40)
    assert filters.shape == (40, 201)
    peaks = filters.argmax(dim=1)
    assert (peaks.diff() > 0).all()
    torch.testing.assert_close(filters[10:].sum(dim=1), torch.full((30,), 1 / 40), rtol=0.1, atol=0)  # 40 Hz a bin


def test_a_tone_falls_into_its_band():
    """Powers that librosa 0.11 gives for the first second of this chirp, in every eighth band."""
    t = np.arange(16000) / 16000
    chirp = (0.3 * np.sin(2 * np.pi * (100 + 150 * t) * t) * np.sin(2 * np.pi * 2 * t)).astype(np.float32)
    bands = mel_bands(torch.from_numpy(chirp))
    assert bands.shape == (101, 40)
    torch.testing.assert_close(bands[:, :16:8].sum(0), torch.tensor([53.382626, 1.6018488e-4]), rtol=1e-3, atol=0)


@needs_resemblyzer
def test_other_weights_than_those_that_are_known_are_refused(monkeypatch, tmp_path):
    changed = bytearray(PACKAGE.file("pretrained.pt").read_bytes())
    changed[-1] ^= 1
    (tmp_path / "pretrained.pt").write_bytes(changed)
    monkeypatch.setattr("loquor.models.packaged.Package.file", lambda *_: tmp_path / "pretrained.pt")
    with pytest.raises(MissingExtra, match="is not the speaker encoder of release"):
        SpeakerEncoder()


def test_without_the_weights_the_install_line_is_given(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="resemblyzer is not installed") as caught:
        SpeakerEncoder()
    assert "resemblyzer==" in caught.value.hint
