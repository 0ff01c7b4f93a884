"""From finished takes to an episode: when each is heard, and the sound of everybody or of one speaker, block by block.

Only one take is in memory at a time, however long the episode. Takes never overlap, so that the stems of all speakers
add up to the mix, sample by sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from loquor.audio.chapters import Chapter
from loquor.audio.resample import Waveform
from loquor.engine.podcast.plan import Take
from loquor.text.subtitles import Cue, cues_of

TURN_GAP_S = 0.25  # between turns, where the script asks for no pause of its own
PIECE_GAP_S = 0.1  # between the pieces of one turn
FADE_S = 0.005  # a take may begin and end in the middle of a wave
BLOCK_SAMPLES = 1 << 15


@dataclass(frozen=True)
class Span:
    """When a take is heard, in samples of the episode; `stop` is exclusive."""

    start: int
    stop: int


@dataclass(frozen=True)
class Timeline:
    """The takes of an episode and when they are heard."""

    takes: tuple[Take, ...]
    spans: tuple[Span, ...]
    sample_rate_hz: int

    @property
    def samples(self) -> int:
        return self.spans[-1].stop

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate_hz

    def times_s(self, index: int) -> tuple[float, float]:
        """When take `index` begins and ends."""
        return self.spans[index].start / self.sample_rate_hz, self.spans[index].stop / self.sample_rate_hz

    def cues(self) -> list[Cue]:
        """Subtitles: the words of every take within its time."""
        return [cue for take in self.takes for cue in cues_of(take.text, take.speaker, *self.times_s(take.index))]

    def chapters(self) -> list[Chapter]:
        """The chapters that the script marks."""
        return [Chapter(self.times_s(t.index)[0], t.chapter) for t in self.takes if t.chapter is not None]


def timeline(takes: Sequence[Take], samples: Sequence[int], sample_rate_hz: int) -> Timeline:
    """When takes of so many samples each are heard, with the script's pauses between them, or else short gaps."""
    spans: list[Span] = []
    for take, length in zip(takes, samples, strict=True):
        gap_s = take.pause_before_s or (0.0 if not spans else TURN_GAP_S if take.piece == 0 else PIECE_GAP_S)
        start = (spans[-1].stop if spans else 0) + round(gap_s * sample_rate_hz)
        spans.append(Span(start, start + length))
    return Timeline(tuple(takes), tuple(spans), sample_rate_hz)


def sound(when: Timeline, waveform: Callable[[int], Waveform], speaker: str | None = None) -> Iterator[Waveform]:
    """The episode in blocks [T, 1]; only what `speaker` says, in silence of the same length, if one is named.

    `waveform` gives the sound [T] of a take by its index.
    """
    done = 0
    for take, span in zip(when.takes, when.spans, strict=True):
        is_heard = speaker in (None, take.speaker)
        yield from _silence((span.start if is_heard else span.stop) - done)
        if is_heard:
            yield from _blocks(_faded(waveform(take.index), when.sample_rate_hz))
        done = span.stop


def _faded(waveform: Waveform, sample_rate_hz: int) -> Waveform:
    """waveform [T] with soft edges."""
    length = min(round(FADE_S * sample_rate_hz), len(waveform) // 2)
    faded = waveform.astype(np.float32)  # a copy
    ramp = np.linspace(0, 1, length, endpoint=False, dtype=np.float32)
    faded[:length] *= ramp
    faded[len(faded) - length :] *= ramp[::-1]
    return faded


def _blocks(waveform: Waveform) -> Iterator[Waveform]:
    for start in range(0, len(waveform), BLOCK_SAMPLES):
        yield waveform[start : start + BLOCK_SAMPLES, None]


def _silence(samples: int) -> Iterator[Waveform]:
    for start in range(0, samples, BLOCK_SAMPLES):
        yield np.zeros((min(BLOCK_SAMPLES, samples - start), 1), dtype=np.float32)
