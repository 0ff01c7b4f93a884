"""How far speech is from a reference of the same words: mel-cepstral distance along the best alignment in time.

Kubichek, "Mel-cepstral distance measure for objective speech quality assessment" (PACRIM 1993), with dynamic time
warping, by the package mel-cepstral-distance (MIT licence): 20 mel bands up to 8 kHz, coefficients 1 to 15, frames of
32 ms. The scale is the package's: compare figures with each other only.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

import soundfile

from loquor.audio.resample import Waveform, resample
from loquor.errors import AudioError, MissingExtra

RATE_HZ = 16_000  # 32 ms are then a power of two of samples
INSTALL_HINT = "pip install 'loquor[eval]'"


class MelCepstralDistance(NamedTuple):
    """Of one pair of recordings."""

    decibel: float  # mean over aligned frames
    stretched: float  # share of the alignment in which one of both stands still, 0 to 1


def mel_cepstral_distance(speech: Waveform, reference: Waveform, sample_rate_hz: int = 24_000) -> MelCepstralDistance:
    """The distance of speech [T] to a reference [T']. AudioError if one is empty, MissingExtra without the package."""
    try:
        from mel_cepstral_distance import compare_audio_files
    except ImportError as error:
        raise MissingExtra("the mel-cepstral distance needs mel-cepstral-distance", hint=INSTALL_HINT) from error
    if not len(speech) or not len(reference):
        raise AudioError("an empty recording has no mel-cepstral distance to anything")
    with tempfile.TemporaryDirectory() as folder:  # the package reads files only
        paths = [Path(folder, "speech.wav"), Path(folder, "reference.wav")]
        for path, waveform in zip(paths, (speech, reference), strict=True):
            soundfile.write(path, resample(waveform, sample_rate_hz, RATE_HZ), RATE_HZ, subtype="PCM_16")
        return MelCepstralDistance(*map(float, compare_audio_files(*paths)))
