"""Is a finished take fit to be heard? Each way in which long generation is known to fail is looked for on its own.

A test gives a score: how far a take is on the way to a fault, which begins at 1. So takes can be compared, and the best
of several bad ones kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from loquor.audio.level import BLOCKS_PER_S, block_levels, is_loud
from loquor.audio.resample import Waveform
from loquor.engine.podcast.repetition import repeated_s, repeated_words

FULL_SCALE = 0.999
SILENT_DBFS = -60.0  # what a closed microphone gives
WORST = 10.0  # the score of what needs no measuring


@dataclass(frozen=True)
class Limits:
    """Where faults begin."""

    longest_share: float = 2.0  # of the estimate: 9,000 sentences by a synthesiser took 0.7 to 1.3 of theirs
    longest_spare_s: float = 2.0  # a single word may be drawn out
    shortest_share: float = 0.45
    shortest_spare_s: float = 0.2
    silence_s: float = 2.0  # pauses of actors end before 1.5 s
    clipped_share: float = 0.001  # of the samples; a clean recording has none
    repeated_s: float = 0.65  # of likeness, besides what the text repeats: see `repetition`
    word_share: float = 0.3  # of the words misheard; recognisers get a tenth wrong, more of names
    words_spare: float = 2.0  # in a short text one misheard word is a large share
    similarity: float = 0.75  # to the speaker's own voice: parts of 3 s of a recording reached 0.88, others' mostly 0.7
    similarity_s: float = 3.0  # of shorter takes the embedding says little


@dataclass(frozen=True)
class Take:
    """What was said, and what should have been."""

    waveform: Waveform  # [T]
    sample_rate_hz: int
    text: str
    speaker: str
    estimated_s: float
    finish: str  # why it ended: end, or what cut it off

    @property
    def seconds(self) -> float:
        return len(self.waveform) / self.sample_rate_hz


@dataclass(frozen=True)
class Ears:
    """Judgements that need a model of their own; None leaves them out."""

    similarity: Callable[[Take], float] | None = None  # to the speaker's voice; 1 is the same
    misheard: Callable[[Take], tuple[int, int]] | None = None  # words wrong, missing or too many, and words of the text


@dataclass(frozen=True)
class Finding:
    """What one test found."""

    kind: str
    score: float  # above 1 it is a fault
    detail: str

    @property
    def is_fault(self) -> bool:
        return self.score > 1


def examine(take: Take, limits: Limits | None = None, ears: Ears | None = None) -> tuple[Finding, ...]:
    """Every test's finding, faults or not; a take of no sound, or of no numbers, has one finding only."""
    limits, ears = limits or Limits(), ears or Ears()
    if not np.isfinite(take.waveform).all():
        return (Finding("broken", WORST, "it has samples that are no numbers"),)
    if not len(take.waveform):
        return (Finding("truncated", WORST, "nothing was said"),)
    levels = block_levels(take.waveform, take.sample_rate_hz)
    if levels.max() < 10 ** (SILENT_DBFS / 20):
        return (Finding("silence", WORST, f"all {take.seconds:.1f} s are silent"),)
    found = [_runaway(take, limits), _truncated(take, limits), _silence(levels, limits), _clipping(take, limits)]
    found.append(_repetition(take, limits))
    if ears.similarity and take.seconds >= limits.similarity_s:
        found.append(_drift(ears.similarity(take), limits))
    if ears.misheard:
        found.append(_words(*ears.misheard(take), limits))
    return tuple(found)


def worst(findings: tuple[Finding, ...]) -> float:
    """The highest score: above 1, the take has a fault."""
    return max(finding.score for finding in findings)


def longest_s(estimated_s: float, limits: Limits | None = None) -> float:
    """Seconds after which a take is running away."""
    limits = limits or Limits()
    return limits.longest_share * estimated_s + limits.longest_spare_s


def _runaway(take: Take, limits: Limits) -> Finding:
    share = take.seconds / longest_s(take.estimated_s, limits)
    detail = f"{take.seconds:.1f} s for a text of about {take.estimated_s:.1f} s"
    return (
        Finding("runaway", share, detail) if take.finish == "end" else Finding("runaway", WORST, f"cut off: {detail}")
    )


def _truncated(take: Take, limits: Limits) -> Finding:
    shortest = limits.shortest_share * take.estimated_s - limits.shortest_spare_s
    detail = f"{take.seconds:.1f} s for a text of about {take.estimated_s:.1f} s"
    return Finding("truncated", max(shortest, 0.0) / take.seconds, detail)


def _silence(levels: Waveform, limits: Limits) -> Finding:
    loud = np.flatnonzero(np.concatenate([[True], is_loud(levels), [True]]))
    gaps = np.diff(loud) - 1
    longest = int(gaps.argmax())
    seconds, start_s = gaps[longest] / BLOCKS_PER_S, loud[longest] / BLOCKS_PER_S
    return Finding("silence", float(seconds / limits.silence_s), f"{seconds:.1f} s without sound at {start_s:.1f} s")


def _clipping(take: Take, limits: Limits) -> Finding:
    share = float(np.mean(np.abs(take.waveform) >= FULL_SCALE))
    return Finding("clipping", share / limits.clipped_share, f"{100 * share:.2f} % of the samples at full scale")


def _repetition(take: Take, limits: Limits) -> Finding:
    """Words that the text has twice may sound alike twice; at most as much as an exact copy would."""
    said_twice, words = repeated_words(take.text)
    excused = 0.45 * take.seconds * said_twice / max(words, 1)
    likeness = repeated_s(take.waveform, take.sample_rate_hz)
    return Finding("repetition", likeness / (limits.repeated_s + excused), f"{likeness:.2f} s of likeness to itself")


def _drift(similarity: float, limits: Limits) -> Finding:
    score = (1 - similarity) / (1 - limits.similarity)
    return Finding("drift", max(score, 0.0), f"similarity {similarity:.2f} to the speaker's voice")


def _words(errors: int, words: int, limits: Limits) -> Finding:
    score = errors / (limits.word_share * words + limits.words_spare)
    return Finding("words", score, f"{errors} of {words} words misheard")
