"""How speech moves: pitch, pace and pauses.

Pitch is tracked by SwiftF0 (Nieradzik 2025, arXiv:2508.18440), a network of 14,000 weights that come in the package
swift-f0 (MIT licence). Its spread is given in semitones, which say the same of a low voice and of a high one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loquor.audio.level import block_levels, is_loud, sound_span
from loquor.audio.resample import Waveform, resample
from loquor.errors import MissingExtra
from loquor.text.timing import word_count

SURE = 0.5  # confidence from which a frame counts as voiced
LOWEST_HZ, HIGHEST_HZ = 50.0, 600.0  # of speech
SHORTEST_PAUSE_BLOCKS = 15  # of 10 ms: the closure of a stop is shorter


@dataclass(frozen=True)
class Contour:
    """Pitch, a frame each 16 ms: times [N] in s, pitch [N] in Hz, NaN where there is none."""

    seconds: npt.NDArray[np.float64]
    hertz: npt.NDArray[np.float64]

    @property
    def voiced(self) -> npt.NDArray[np.float64]:
        return self.hertz[np.isfinite(self.hertz)]


class PitchTracker:
    """SwiftF0 on one core. MissingExtra if it is not installed."""

    SAMPLE_RATE_HZ = 16000

    def __init__(self) -> None:
        try:
            from swift_f0 import SwiftF0
        except ImportError as error:
            raise MissingExtra("pitch needs swift-f0", hint="pip install 'loquor[eval]'") from error
        self._detector = SwiftF0(threads=1)

    def track(self, waveform: Waveform, sample_rate_hz: int = 24_000) -> Contour:
        """The pitch of waveform [T]; none of an empty one."""
        audio = resample(waveform, sample_rate_hz, self.SAMPLE_RATE_HZ)
        if not audio.size:
            return Contour(np.zeros(0), np.zeros(0))
        found = self._detector.detect(audio, self.SAMPLE_RATE_HZ, fmin=LOWEST_HZ, fmax=HIGHEST_HZ)
        hertz = np.where(found.confidence >= SURE, found.pitch_hz, np.nan)
        return Contour(found.timestamps, hertz)


def pitch_measures(contour: Contour) -> dict[str, float]:
    """Median pitch in Hz, and its standard deviation in semitones; nothing of what has no pitch."""
    voiced = contour.voiced
    if not voiced.size:
        return {}
    semitones = 12 * np.log2(voiced / np.median(voiced))
    return {"pitch_hz": float(np.median(voiced)), "pitch_spread_semitones": float(semitones.std())}


def pace_measures(waveform: Waveform, sample_rate_hz: int, text: str) -> dict[str, float]:
    """Words a minute from the first sound to the last, and the share of that time in pauses of 0.15 s and more.

    Where a language writes no spaces, every character is a word. Nothing of silence.
    """
    start, end = sound_span(waveform, sample_rate_hz, margin_s=0.0)
    minutes = (end - start) / sample_rate_hz / 60
    if not minutes:
        return {}
    loud = np.flatnonzero(is_loud(block_levels(waveform[start:end], sample_rate_hz)))
    gaps = np.diff(loud) - 1
    paused = int(gaps[gaps >= SHORTEST_PAUSE_BLOCKS].sum())
    return {"words_per_minute": word_count(text) / minutes, "pause_share": paused / max(int(loud[-1]) + 1, 1)}
