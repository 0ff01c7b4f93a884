"""Where in a recording somebody speaks: Silero's voice activity detector (package silero-vad, MIT).

A recurrent network reads 32 ms at a time and says how likely they are speech. Stretches are cut out of those numbers
with two thresholds, so that a doubtful moment neither ends nor begins one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loquor.audio.resample import Waveform, resample
from loquor.models.silero import Silero


@dataclass(frozen=True)
class Stretch:
    """Uninterrupted speech, in seconds from the start."""

    start_s: float
    end_s: float


@dataclass(frozen=True)
class Activity:
    """Speech in a recording of that many seconds."""

    seconds: float
    stretches: tuple[Stretch, ...]

    @property
    def speech_share(self) -> float:
        """How much of the time somebody speaks, from 0 to 1."""
        return sum(s.end_s - s.start_s for s in self.stretches) / self.seconds if self.seconds else 0.0


class VoiceActivityDetector:
    """Silero's detector on one core. MissingExtra if it is not installed."""

    BEGINS, ENDS = 0.5, 0.35  # probabilities
    SHORTEST_SPEECH_S, SHORTEST_PAUSE_S = 0.25, 0.1

    def __init__(self) -> None:
        self._network = Silero()

    def listen(self, waveform: Waveform, sample_rate_hz: int = 24_000) -> Activity:
        """Where somebody speaks in waveform [T]."""
        likely = self.probabilities(waveform, sample_rate_hz)
        seconds, frame_s = len(waveform) / sample_rate_hz, self._network.frame_s
        spans = [(start * frame_s, min(end * frame_s, seconds)) for start, end in self._spans(likely)]
        return Activity(seconds, tuple(Stretch(*span) for span in spans if span[1] - span[0] >= self.SHORTEST_SPEECH_S))

    def probabilities(self, waveform: Waveform, sample_rate_hz: int = 24_000) -> npt.NDArray[np.float32]:
        """How likely each 32 ms of waveform [T] are speech, [N]; the last are filled up with silence."""
        audio = resample(waveform, sample_rate_hz, Silero.SAMPLE_RATE_HZ)
        return self._network(np.pad(audio, (0, -len(audio) % Silero.FRAME)))

    def _spans(self, likely: npt.NDArray[np.float32]) -> list[tuple[int, int]]:
        """Frames [start, end) of speech: from one that begins it to a pause that is long enough."""
        pause = math.ceil(self.SHORTEST_PAUSE_S / self._network.frame_s)
        spans: list[tuple[int, int]] = []
        start, end = None, 0  # of the speech that goes on; its last frame that was not doubtful
        for frame, probability in enumerate(likely):
            if probability >= self.BEGINS and start is None:
                start = frame
            if start is not None and probability >= self.ENDS:
                end = frame + 1
            if start is not None and frame + 1 - end >= pause:
                spans.append((start, end))
                start = None
        return spans if start is None else [*spans, (start, end)]
