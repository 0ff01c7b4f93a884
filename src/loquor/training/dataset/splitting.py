"""Where a recording that is too long may be cut: at pauses that surely are the ends of its sentences.

Which of its pauses ends which sentence is not known; what is known is about how long each sentence takes to say. A
chain of sentences over pauses is scored by how far each sentence's share of the speech lies from its share of the text,
and by how long the pauses are, for speakers rest longer between sentences than inside. The forward-backward algorithm
(Rabiner, Proceedings of the IEEE 77, 1989) then gives for each sentence the probability of every pause. Cuts are made
only where one pause has nearly all of it; a recording that has too few of those stays whole and is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from loquor.audio.level import BLOCKS_PER_S, block_levels, is_loud
from loquor.audio.resample import Waveform
from loquor.models.codec import SAMPLE_RATE_HZ

Numbers = npt.NDArray[np.float64]

QUIET_DB = -40.0, -30.0  # to the loudest moment: where speech begins, in a silent room and in a noisy one
ABOVE_NOISE_DB, NOISE_PERCENTILE = 5.0, 5
SHORTEST_PAUSE_S = 0.15
SPREAD = 0.25  # standard deviation of the logarithm of a sentence's pace, within one recording
USUAL_PAUSE_S = 0.3  # as long inside a sentence as between two
PAUSE_WEIGHT, PAUSE_OCTAVES = 2.0, 1.5  # nats for twice the length, up to so many times
SURE = 0.99


@dataclass(frozen=True)
class Pause:
    """Silence, and how much speech there was before it, in seconds."""

    start_s: float
    end_s: float
    spoken_s: float

    @property
    def middle_s(self) -> float:
        return (self.start_s + self.end_s) / 2


@dataclass(frozen=True)
class Part:
    """Some sentences, first to last exclusive, and the samples they lie in."""

    first: int
    last: int
    start: int
    end: int


def quiet_db(waveform: Waveform) -> float:
    """How far below the loudest moment of waveform [T] there is no speech: a little above its noise."""
    levels = block_levels(waveform, SAMPLE_RATE_HZ)
    noise = max(float(np.percentile(levels, NOISE_PERCENTILE)), 1e-9)
    return float(np.clip(20 * np.log10(noise / max(float(levels.max()), 1e-9)) + ABOVE_NOISE_DB, *QUIET_DB))


def find_pauses(waveform: Waveform) -> tuple[list[Pause], float]:
    """The pauses inside waveform [T] at 24 kHz, and the seconds of speech in all of it."""
    loud = is_loud(block_levels(waveform, SAMPLE_RATE_HZ), quiet_db(waveform))
    edges = np.flatnonzero(np.diff(loud, prepend=False, append=False))
    shortest = round(SHORTEST_PAUSE_S * BLOCKS_PER_S)
    pauses, spoken = [], 0.0
    stretches = edges.reshape(-1, 2)
    start = int(stretches[0, 0]) if len(stretches) else 0
    for (_, end), (following, _) in pairwise(stretches):
        if following - end >= shortest:
            spoken += (end - start) / BLOCKS_PER_S
            pauses.append(Pause(end / BLOCKS_PER_S, following / BLOCKS_PER_S, spoken))
            start = following
    total = spoken + (int(stretches[-1, 1]) - start) / BLOCKS_PER_S if len(stretches) else 0.0
    return pauses, total


def probabilities(pauses: Sequence[Pause], spoken_s: float, expected_s: Sequence[float]) -> Numbers:
    """[sentences - 1, pauses], how likely each pause ends each sentence but the last, which ends with the recording.

    All zero if there are too few pauses.
    """
    cuts, count = len(expected_s) - 1, len(pauses)
    if count < cuts:
        return np.zeros((cuts, count))
    at = np.array([0.0, *(pause.spoken_s for pause in pauses), spoken_s])
    octaves = np.log2([(pause.end_s - pause.start_s) / USUAL_PAUSE_S for pause in pauses])
    rest = PAUSE_WEIGHT * np.clip(octaves, -PAUSE_OCTAVES, PAUSE_OCTAVES)
    lasted = at[None, :] - at[:, None]  # from one place to a later one
    usual = np.array(expected_s) * (spoken_s / sum(expected_s))
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(lasted > 0, np.log(np.maximum(lasted, 1e-9)), np.nan)
    steps = [np.nan_to_num(-0.5 * ((logs - np.log(one)) / SPREAD) ** 2, nan=-np.inf) for one in usual]
    forward, backward = np.empty((cuts, count)), np.empty((cuts, count))
    forward[0] = steps[0][0, 1:-1] + rest
    for i in range(1, cuts):
        forward[i] = _log_sum(forward[i - 1][:, None] + steps[i][1:-1, 1:-1], 0) + rest
    backward[-1] = steps[-1][1:-1, -1]
    for i in range(cuts - 2, -1, -1):
        backward[i] = _log_sum(steps[i + 1][1:-1, 1:-1] + (backward[i + 1] + rest)[None], 1)
    joint = forward + backward
    whole = _log_sum(joint, 1)[:, None]
    return np.where(np.isfinite(whole), np.exp(joint - np.where(np.isfinite(whole), whole, 0.0)), 0.0)


def split(waveform: Waveform, expected_s: Sequence[float], longest_s: float) -> list[Part] | None:
    """Waveform [T] in as few parts of at most longest_s as sure cuts allow; None if they do not.

    `expected_s` is how long each sentence would usually take.
    """
    if len(expected_s) < 2:
        return None
    pauses, spoken_s = find_pauses(waveform)
    likely = probabilities(pauses, spoken_s, expected_s)
    ends = {0: 0.0, len(expected_s): len(waveform) / SAMPLE_RATE_HZ}  # seconds, by the number of sentences before
    for i, row in enumerate(likely):
        if row.size and row.max() >= SURE:
            ends[i + 1] = pauses[int(row.argmax())].middle_s
    places = sorted(ends)
    fewest: dict[int, tuple[float, int]] = {0: (0.0, 0)}  # cost, and the place before
    for there in places[1:]:
        lengths = {here: ends[there] - ends[here] for here in places if here < there and here in fewest}
        costs = {here: fewest[here][0] + 1 + (s / longest_s) ** 2 for here, s in lengths.items() if s <= longest_s}
        if costs:
            best = min(costs, key=lambda here: costs[here])
            fewest[there] = costs[best], best
    if len(expected_s) not in fewest:
        return None
    parts, there = list[Part](), len(expected_s)
    while there:
        here = fewest[there][1]
        parts.append(Part(here, there, round(ends[here] * SAMPLE_RATE_HZ), round(ends[there] * SAMPLE_RATE_HZ)))
        there = here
    return parts[::-1]


def _log_sum(values: Numbers, axis: int) -> Numbers:
    """log of the sum of exponentials; -inf where all are."""
    highest = values.max(axis=axis, keepdims=True)
    highest = np.where(np.isfinite(highest), highest, 0.0)
    with np.errstate(divide="ignore"):
        summed = np.log(np.exp(values - highest).sum(axis=axis)) + np.squeeze(highest, axis)
    return np.asarray(summed)
