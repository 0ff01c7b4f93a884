"""An inaudible mark in all speech that is made here, and finding it again in a recording.

Spread spectrum in the magnitudes of the spectrum (Kirovski and Malvar, "Spread-spectrum watermarking of audio signals",
IEEE Transactions on Signal Processing 51(4), 2003): for each 40 ms and each of 40 bands a keyed sequence of signs says
whether the sound there becomes louder or softer by about a decibel. Such gains survive what keeps a recording worth
hearing: codecs, other sample rates and levels, noise. They follow the sound, so it masks them and silence stays silent.

Two things differ from the paper. Marking is a filter that changes with time, one of minimum phase (Oppenheim and
Schafer, "Discrete-time signal processing", on the cepstrum), so a stream is marked without waiting for what comes
next. And the detector's chance of a false alarm has a bound that holds whatever the recording (Hoeffding, 1963).

The key is no secret: whoever has this file can detect the mark, and a filter that knows it can take it away again.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from loquor.audio.resample import Waveform, resample

Array = npt.NDArray[np.float64]

KEY = b"loquor watermark 1"
SLOTS_PER_S, SLOTS = 25, 64  # a sign lasts 40 ms; all of them 2.56 s, then they come again
BANDS, LOWEST_HZ, HIGHEST_HZ = 40, 300.0, 7000.0
STRENGTHS_DB = 1.0, 1.75  # below and above the next, above which an ear hears several bands as one
STRONGER_FROM_HZ = 1000.0
TAPS_S = 0.016  # of a filter: what bands of 167 Hz need

RATE_HZ, HOP, WINDOW = 16_000, 160, 512  # what the detector hears: 32 ms every 10
FRAMES_PER_S = RATE_HZ // HOP
FRAMES_PER_SLOT = FRAMES_PER_S // SLOTS_PER_S
SPAN_FRAMES, SPAN_STEP_FRAMES = 5 * FRAMES_PER_S, 5 * FRAMES_PER_S // 2
BLOCK_FRAMES = 60 * FRAMES_PER_S  # in which noise is taken to be one and the same
FALSE_ALARM = 1e-6  # at most so often is a recording without the mark taken for one with it


class Marker:
    """Marks one stream; however it is cut, the result is that of the whole, and every sample comes back at once."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate_hz, self._position = sample_rate_hz, 0
        self._taps = _taps(sample_rate_hz)
        self._past: Array | None = None  # [C, taps - 1]

    def mark(self, chunk: Waveform) -> Waveform:
        """chunk [T] or [T, C] with the mark in it, of the same shape."""
        length = len(chunk)
        given = np.atleast_2d(np.asarray(chunk, dtype=np.float64).T)  # [C, T]
        if self._past is None:
            self._past = np.zeros((len(given), self._taps - 1))
        heard = np.concatenate([self._past, given], axis=1)
        marked = np.empty_like(given)
        start = 0
        while start < length:
            slot = (self._position + start) * SLOTS_PER_S // self._rate_hz
            stop = min(-(-(slot + 1) * self._rate_hz // SLOTS_PER_S) - self._position, length)
            marked[:, start:stop] = self._filtered(heard[:, start : stop + self._taps - 1], slot, start)
            start = stop
        self._past = heard[:, length:]
        self._position += length
        return marked.T.astype(np.float32).reshape(np.shape(chunk))

    def _filtered(self, heard: Array, slot: int, start: int) -> Array:
        """The samples [C, T] of heard [C, taps - 1 + T], all of one slot, in which its filter gives way to the next."""
        filters = [_filter(self._rate_hz, number % SLOTS) for number in (slot, slot + 1)]
        size = 2 * (len(filters[0]) - 1)
        spectrum = np.fft.rfft(heard, size)
        one, other = (np.fft.irfft(spectrum * f, size)[:, self._taps - 1 : heard.shape[1]] for f in filters)
        samples = self._position + start + np.arange(one.shape[1])
        share = np.clip(2 * (samples * SLOTS_PER_S / self._rate_hz - slot) - 0.5, 0, 1)
        return np.asarray(one + share * (other - one))


@dataclass(frozen=True)
class Detection:
    """What was found in a recording."""

    present: bool
    confidence: float  # 1 - the chance, at most, that a recording without the mark looks so much like one with it
    score: float  # in standard deviations of what chance gives
    spans_s: tuple[tuple[float, float], ...]  # where the mark is: begin and end, in seconds


def detect(waveform: Waveform, sample_rate_hz: int) -> Detection:
    """Whether waveform [T] has the mark, as a whole or in stretches of 5 s; shorter ones hold less of it.

    The signs are independent of any recording that was made without them, so a sum of values with these signs exceeds
    `score` times its deviation with a chance of at most exp(-score^2 / 2) (Hoeffding's inequality). All places in the
    sequence and all stretches are tried, and the chance is that of all together.
    """
    powers = _band_levels(resample(waveform, sample_rate_hz, RATE_HZ))
    blocks = range(0, max(len(powers), 1), BLOCK_FRAMES)
    values = np.concatenate([_features(powers[start : start + BLOCK_FRAMES]) for start in blocks])
    starts = range(0, max(len(values) - SPAN_FRAMES + SPAN_STEP_FRAMES, 1), SPAN_STEP_FRAMES)
    spans = [(start, min(start + SPAN_FRAMES, len(values))) for start in starts]
    if len(spans) > 1:
        spans.append((0, len(values)))  # a weak mark shows in the whole
    trials = len(spans) * SLOTS * FRAMES_PER_SLOT
    scores = [_score(values[start:stop]) for start, stop in spans]
    least = math.sqrt(2 * math.log(trials / FALSE_ALARM))
    found = [span for span, score in zip(spans, scores, strict=True) if score >= least]
    parts = [span for span in found if span[1] - span[0] <= SPAN_FRAMES] or found
    chance = min(trials * math.exp(-(max(scores) ** 2) / 2), 1.0)
    return Detection(bool(found), 1 - chance, max(scores), _joined(parts))


def _joined(spans: list[tuple[int, int]]) -> tuple[tuple[float, float], ...]:
    """Spans of frames that overlap or touch as one, in seconds."""
    joined: list[tuple[int, int]] = []
    for start, stop in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], stop
        else:
            joined.append((start, stop))
    return tuple((start / FRAMES_PER_S, stop / FRAMES_PER_S) for start, stop in joined)


def _edges_hz() -> Array:
    return np.linspace(LOWEST_HZ, HIGHEST_HZ, BANDS + 1, dtype=np.float64)


@lru_cache(maxsize=1)
def _signs() -> Array:
    """[SLOTS, BANDS] of 1 and -1."""
    digest = np.frombuffer(hashlib.shake_256(KEY).digest(SLOTS * BANDS // 8), dtype=np.uint8)
    return 2 * np.unpackbits(digest).reshape(SLOTS, BANDS).astype(np.float64) - 1


@lru_cache(maxsize=8 * SLOTS)
def _filter(sample_rate_hz: int, slot: int) -> npt.NDArray[np.complex128]:
    """The spectrum [F] of the filter of a slot, padded so that the samples of a slot can be convolved with it."""
    taps = _taps(sample_rate_hz)
    points = 1 << (4 * taps).bit_length()  # a cepstrum has died away before
    centres, edges = np.fft.rfftfreq(points, 1 / sample_rate_hz), _edges_hz()
    strengths = np.where(edges[:-1] < STRONGER_FROM_HZ, *STRENGTHS_DB)
    gains_db = np.concatenate([[0], _signs()[slot] * strengths, [0]])[np.searchsorted(edges, centres, side="right")]
    cepstrum = np.fft.irfft(gains_db * math.log(10) / 20, points)
    causal = np.zeros(points)  # what makes it that of a filter of minimum phase, and fades it out within the taps
    causal[0] = 1
    causal[1:taps] = 2 * np.cos(np.pi / 2 * np.arange(1, taps) / taps)
    response = np.fft.irfft(np.exp(np.fft.rfft(cepstrum * causal)), points)[:taps]
    longest = -(-sample_rate_hz // SLOTS_PER_S) + taps
    return np.asarray(np.fft.rfft(response, 1 << longest.bit_length()))


def _taps(sample_rate_hz: int) -> int:
    return round(TAPS_S * sample_rate_hz)


def _band_levels(waveform: Waveform) -> Array:
    """The power [N, BANDS] of waveform [T] at RATE_HZ in each band, every 10 ms."""
    frames = max((len(waveform) - WINDOW) // HOP + 1, 0)
    edges = np.searchsorted(np.fft.rfftfreq(WINDOW, 1 / RATE_HZ), _edges_hz())
    shape = np.hanning(WINDOW)
    powers = np.empty((frames, BANDS))
    for start in range(0, frames, SPAN_FRAMES):  # hours would not fit at once
        part = waveform[start * HOP : (min(start + SPAN_FRAMES, frames) - 1) * HOP + WINDOW]
        windows = np.lib.stride_tricks.sliding_window_view(part, WINDOW)[::HOP]
        power = np.abs(np.fft.rfft(windows * shape)) ** 2
        sums = np.add.reduceat(power, edges, axis=1)[:, :-1]
        powers[start : start + len(sums)] = sums / np.diff(edges)
    return powers


def _features(powers: Array) -> Array:
    """What is left [N, BANDS] of levels without the speech: each against its neighbours in frequency and time.

    Levels count by how far they are above the noise, which is what the quietest tenth of a band has.
    """
    if not len(powers):
        return powers
    powers = powers + 1e-14
    noise = np.percentile(powers, 10, axis=0)
    weights = np.where(powers < powers.max() * 10**-8.5, 0.0, powers / (powers + noise))
    values, counted = 10 * np.log10(powers), weights + 1e-3
    for axis, reach in ((1, 1), (0, 10)):
        values = values - _sums(values * counted, reach, axis) / _sums(counted, reach, axis)
    spread = np.sqrt(_sums(values**2 * counted, 15, axis=0) / _sums(counted, 15, axis=0))
    return np.asarray(np.clip(values / (spread + 0.5), -2, 2) * weights)


def _sums(values: Array, reach: int, axis: int) -> Array:
    """For each value along an axis the sum of those up to `reach` steps away."""
    padding = [(0, 0), (0, 0)]
    padding[axis] = (reach + 1, reach)
    totals = np.moveaxis(np.cumsum(np.pad(values, padding), axis=axis), axis, 0)
    return np.moveaxis(totals[2 * reach + 1 :] - totals[: -2 * reach - 1], 0, axis)


def _score(values: Array) -> float:
    """The best agreement of values [N, BANDS] with the signs, of all places in the sequence they may begin at."""
    best, signs = 0.0, np.fft.rfft(_signs(), axis=0)
    for first in range(FRAMES_PER_SLOT):
        slots = (len(values) - first) // FRAMES_PER_SLOT
        if slots < 1:
            break
        sums = values[first : first + slots * FRAMES_PER_SLOT].reshape(slots, FRAMES_PER_SLOT, BANDS).sum(axis=1)
        rounds = np.pad(sums, ((0, -slots % SLOTS), (0, 0))).reshape(-1, SLOTS, BANDS).sum(axis=0)
        agreement = np.fft.irfft((signs * np.fft.rfft(rounds, axis=0).conj()).sum(axis=1), SLOTS)
        deviation = math.sqrt(float((rounds**2).sum()))
        best = max(best, float(agreement.max()) / deviation if deviation else 0.0)
    return best
