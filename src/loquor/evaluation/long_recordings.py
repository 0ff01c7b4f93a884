"""Recordings longer than a recogniser was made for: cut where nobody speaks, and written down piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loquor.audio.resample import Waveform
from loquor.evaluation.transcriber import Transcriber
from loquor.evaluation.voice_activity import Stretch, VoiceActivityDetector

LONGEST_S = 20.0  # of a piece
MARGIN_S = 0.2  # kept on both sides: words begin and end softly


class InPieces:
    """A transcriber for recordings of any length; short ones reach it whole."""

    def __init__(self, transcriber: Transcriber) -> None:
        self._transcriber = transcriber
        self._detector: VoiceActivityDetector | None = None

    def transcribe(self, waveform: Waveform, sample_rate_hz: int) -> str:
        """The words of waveform, float32 [T] in [-1, 1]. MissingExtra if it is long and Silero is not installed."""
        if len(waveform) <= LONGEST_S * sample_rate_hz:
            return self._transcriber.transcribe(waveform, sample_rate_hz)
        self._detector = self._detector or VoiceActivityDetector()
        activity = self._detector.listen(waveform, sample_rate_hz)
        heard = []
        for piece in pieces(activity.stretches):
            start, end = max(0.0, piece.start_s - MARGIN_S), piece.end_s + MARGIN_S
            part = waveform[round(start * sample_rate_hz) : round(end * sample_rate_hz)]
            heard.append(self._transcriber.transcribe(part, sample_rate_hz))
        return " ".join(filter(None, heard))


def pieces(stretches: Sequence[Stretch], longest_s: float = LONGEST_S) -> Iterator[Stretch]:
    """Neighbouring stretches of speech joined up to `longest_s`; one that is longer by itself is cut."""
    start = end = 0.0
    for stretch in stretches:
        if end > start and stretch.end_s - start > longest_s:
            yield Stretch(start, end)
            start = end = 0.0
        start = start if end > start else stretch.start_s
        end = stretch.end_s
        while end - start > longest_s:
            yield Stretch(start, start + longest_s)
            start += longest_s
    if end > start:
        yield Stretch(start, end)
