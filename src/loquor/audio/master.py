"""Loudness as platforms measure it, and a master of a wanted loudness.

Integrated loudness, gate and true peak are those of ITU-R BS.1770, the loudness range that of EBU Tech 3342. FFmpeg
does the work through PyAV: its `ebur128` filter is a tested R 128 meter, its `alimiter` holds peaks at four times the
sample rate, and both take a recording block by block, so that an hour needs no more memory than a second. (pyloudnorm
wants the whole waveform at once, brings scipy and knows no true peak; FFmpeg's `loudnorm` rides the level of speech, or
gives up its target where a peak is in the way.)

Targets: podcast platforms ask for -16 LUFS and peaks below -1 dBTP (Apple Podcasts, audio requirements), AES TD1008
asks -18 for speech on line, EBU R 128 -23 for broadcast. A file is measured as it is: a mono file as one channel.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loquor.audio.decode import Decoder, open_decoder
from loquor.audio.filters import FORMAT, Blocks, block_of, filtered
from loquor.audio.resample import Waveform
from loquor.audio.sink import open_sink
from loquor.errors import AudioError, InputError

PODCAST_LUFS, BROADCAST_LUFS = -16.0, -23.0
HIGHEST_PEAK_DBTP = -1.0  # leaves lossy encoders room for what they add
ABSOLUTE_GATE_LUFS = -70.0  # BS.1770: what lies below does not count, so nothing is ever measured lower
OVERSAMPLING = 4  # BS.1770 annex 2: so many times the rate show the peaks between samples
LIMITER_MARGIN_DB = 0.1  # returning to the sample rate adds 0.03 dB to speech, more to noise
CLOSE_ENOUGH_LU, MAX_PASSES = 0.1, 6  # limiting takes loudness away: the gain is found by measuring what comes out
LEAST_SLOPE = 0.2  # where the limiter swallows more than that there is no more loudness to be had


@dataclass(frozen=True)
class Loudness:
    """What a meter shows at the end."""

    integrated_lufs: float
    true_peak_dbtp: float
    range_lu: float


@dataclass(frozen=True)
class Target:
    """What a master shall have."""

    lufs: float = PODCAST_LUFS
    true_peak_dbtp: float = HIGHEST_PEAK_DBTP

    def __post_init__(self) -> None:
        if not -40 <= self.lufs <= -5:
            raise InputError(
                f"a loudness of {self.lufs:g} LUFS is none to master at",
                hint=f"{PODCAST_LUFS:g} is usual for podcasts, {BROADCAST_LUFS:g} for broadcast",
            )
        if not -20 <= self.true_peak_dbtp <= 0:
            raise InputError(f"a true peak must lie in -20 to 0 dBTP, got {self.true_peak_dbtp:g}")


@dataclass(frozen=True)
class Treatment:
    """What makes a master of a recording: a gain, and a limiter if peaks are in its way."""

    gain_db: float
    ceiling_dbtp: float | None  # of the limiter; None: there is none
    loudness: Loudness  # of what comes out

    def apply(self, blocks: Blocks, sample_rate_hz: int) -> Iterator[Waveform]:
        """blocks [T, C] as they come out, as many samples in all as go in."""
        if self.ceiling_dbtp is not None:
            return _limited(blocks, sample_rate_hz, self.gain_db, self.ceiling_dbtp)
        gain = np.float32(10 ** (self.gain_db / 20))
        return (np.asarray(block * gain, dtype=np.float32) for block in blocks)


def measure(blocks: Blocks, sample_rate_hz: int) -> Loudness:
    """The loudness of a recording given block by block [T, C]; AudioError if it is silent or shorter than 0.4 s."""
    meter = ("ebur128", {"metadata": "1", "peak": "true", "framelog": "quiet"})
    last: dict[str, str] = {}
    for frame in filtered(blocks, sample_rate_hz, [meter]):
        last = frame.metadata or last
    integrated = float(last.get("lavfi.r128.I", ABSOLUTE_GATE_LUFS))
    if integrated <= ABSOLUTE_GATE_LUFS:
        raise AudioError("there is no loudness to measure: silence, or less than 0.4 s of sound")
    peak = float(last["lavfi.r128.true_peak"])
    return Loudness(integrated, 20 * math.log10(max(peak, 1e-6)), float(last["lavfi.r128.LRA"]))


def treatment(recording: Callable[[], Blocks], sample_rate_hz: int, target: Target) -> Treatment:
    """How `recording`, which gives the same blocks [T, C] each time it is called, becomes a master.

    Raises AudioError like `measure`.
    """
    before = measure(recording(), sample_rate_hz)
    gain = target.lufs - before.integrated_lufs
    peak = before.true_peak_dbtp + gain
    if peak <= target.true_peak_dbtp:
        return Treatment(gain, None, dataclasses.replace(before, integrated_lufs=target.lufs, true_peak_dbtp=peak))
    ceiling = target.true_peak_dbtp - LIMITER_MARGIN_DB
    tried: list[Treatment] = []
    for _ in range(MAX_PASSES):
        after = measure(_limited(recording(), sample_rate_hz, gain, ceiling), sample_rate_hz)
        tried.append(Treatment(gain, ceiling, after))
        missing, excess = target.lufs - after.integrated_lufs, after.true_peak_dbtp - target.true_peak_dbtp
        if abs(missing) <= CLOSE_ENOUGH_LU and excess <= 0:
            break
        ceiling -= max(excess, 0.0)
        gain += missing / _slope(tried)
    return min(tried, key=lambda one: _fault(one.loudness, target))


def _fault(loudness: Loudness, target: Target) -> tuple[float, float]:
    """How far a master is from what it should be; peaks weigh more than loudness."""
    excess = max(loudness.true_peak_dbtp - target.true_peak_dbtp, 0.0)
    return round(excess, 1), abs(target.lufs - loudness.integrated_lufs)


def _slope(tried: Sequence[Treatment]) -> float:
    """How much louder a decibel of gain has made it last; a limiter at work swallows some of it."""
    if len(tried) < 2:
        return 1.0
    (one, other) = tried[-2:]
    if other.gain_db == one.gain_db:
        return 1.0
    gained = other.loudness.integrated_lufs - one.loudness.integrated_lufs
    return min(max(gained / (other.gain_db - one.gain_db), LEAST_SLOPE), 1.0)


def measure_loudness(path: str | Path) -> Loudness:
    """The loudness of a mono or stereo file; AudioError if it cannot be read, or like `measure`."""
    rate, _ = _format(path)
    return measure(_blocks(path), rate)


def master(
    source: str | Path, target: str | Path, lufs: float = PODCAST_LUFS, true_peak_dbtp: float = HIGHEST_PEAK_DBTP
) -> Loudness:
    """Writes `target`, whole or not at all: `source` (mono or stereo) at that loudness. Gives what it came to.

    The gain is one for the whole file; where peaks would pass `true_peak_dbtp` a limiter turns them down. Raises
    AudioError if the source cannot be read or measured, and like `open_sink`.
    """
    wanted = Target(lufs, true_peak_dbtp)
    rate, channels = _format(source)
    with open_sink(target, rate, channels) as sink:  # first: a target that cannot be written costs no measuring
        chosen = treatment(lambda: _blocks(source), rate, wanted)
        for block in chosen.apply(_blocks(source), rate):
            sink.write(block)
    return chosen.loudness


def _limited(blocks: Blocks, sample_rate_hz: int, gain_db: float, ceiling_dbtp: float) -> Iterator[Waveform]:
    """blocks [T, C] louder by gain_db, with a look-ahead limiter that lets no true peak pass."""
    steps = [
        ("volume", {"volume": f"{gain_db}dB", "precision": "float"}),
        ("aresample", {"sample_rate": str(OVERSAMPLING * sample_rate_hz)}),
        (
            "alimiter",
            {"limit": f"{ceiling_dbtp}dB", "level": "0", "latency": "1"},
        ),  # adds nothing to the level or the time
        ("aresample", {"sample_rate": str(sample_rate_hz)}),
        ("aformat", {"sample_fmts": FORMAT}),
    ]
    return map(block_of, filtered(blocks, sample_rate_hz, steps))


def _format(path: str | Path) -> tuple[int, int]:
    """Sample rate in Hz and channels of a file."""
    with _opened(path) as decoder:
        first = next(decoder.blocks(0.0), None)
    if first is None:
        raise AudioError(f"{path} is empty: it has no samples")
    return decoder.sample_rate_hz, first.shape[1]


def _blocks(path: str | Path) -> Iterator[Waveform]:
    """The samples of a file, [T, C] at a time."""
    with _opened(path) as decoder:
        yield from decoder.blocks(0.0)


@contextmanager
def _opened(path: str | Path) -> Iterator[Decoder]:
    try:
        data = Path(path).open("rb")  # noqa: SIM115 - closed below, where errors are another's
    except OSError as error:
        raise AudioError(f"cannot read {path}: {error.strerror}") from error
    with data:
        yield open_decoder(Path(path), data)
