"""What is done to a recording before a model listens to it, and what is wrong with it.

The voice prompts VibeVoice was trained on are mono speech at 24 kHz, each as a whole at -25 dBFS (arXiv:2508.19205). A
user's recording is brought there: the offset goes, then the silence at both ends, then the level is set. What cannot be
mended is refused if no voice can come of it, and warned of otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loquor.audio.level import BLOCKS_PER_S, block_levels, is_loud, level_dbfs, normalize_level, sound_span
from loquor.audio.resample import Waveform
from loquor.errors import VoiceError
from loquor.models.codec import SAMPLE_RATE_HZ

SHORTEST_S, LONGEST_S = 3.0, 60.0  # of a voice, from its first sound to its last
SILENT_DBFS = -60.0  # no block louder: what a closed microphone gives
SOUND_SHARE = 0.1  # less of it above the floor is a click or two, not speech

NARROW_HZ = 4000  # telephone speech ends here
NARROW_DB = -55.0  # of the energy above, to the whole; in six recordings at 16 kHz and more it was -15 to -24
CLIPPED_DB = 1.5  # from the 99th to the 99.9th percentile of the magnitudes; those recordings had 2.9 to 4.3
SPECTRUM_SAMPLES = 1024


@dataclass(frozen=True, eq=False)
class Cleaned:
    """A recording made ready, and what was done to it; times are in seconds of what was read."""

    waveform: Waveform  # [T] at 24 kHz
    read_s: float
    start_s: float  # of what was kept
    end_s: float
    before_dbfs: float  # the level of what was kept, as it was
    after_dbfs: float
    warnings: tuple[str, ...]


def clean(waveform: Waveform, source: str) -> Cleaned:
    """waveform [T] at 24 kHz without offset, trimmed and levelled.

    VoiceError, naming `source`, if it is silent or has less than 3 or more than 60 s of sound.
    """
    seconds = len(waveform) / SAMPLE_RATE_HZ
    centred = waveform - waveform.mean(dtype=np.float64).astype(np.float32)
    _require_sound(centred, source)
    start, end = sound_span(centred, SAMPLE_RATE_HZ)
    kept, start_s, end_s = centred[start:end], start / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ
    _require_length(end_s - start_s, source)
    levelled = normalize_level(kept)
    return Cleaned(
        levelled, seconds, start_s, end_s, level_dbfs(kept), level_dbfs(levelled), tuple(_warnings(levelled))
    )


def _require_sound(waveform: Waveform, source: str) -> None:
    levels = block_levels(waveform, SAMPLE_RATE_HZ)
    again = "record it again, nearer to the microphone"
    loudest = level_dbfs(levels.max(keepdims=True))
    if loudest < SILENT_DBFS:
        raise VoiceError(f"{source} is silent: nothing in it is louder than {SILENT_DBFS:g} dBFS", hint=again)
    loud = is_loud(levels)
    if loud.mean() < SOUND_SHARE:
        raise VoiceError(
            f"{source} is silent but for {loud.sum() / BLOCKS_PER_S:.2f} of {len(levels) / BLOCKS_PER_S:.1f} s",
            hint=again,
        )


def _require_length(seconds: float, source: str) -> None:
    if seconds < SHORTEST_S:
        raise VoiceError(
            f"{source} has {seconds:.1f} s of sound, a voice needs at least {SHORTEST_S:g}",
            hint="record 10 to 30 s of one person speaking",
        )
    if seconds > LONGEST_S:
        raise VoiceError(
            f"{source} has {seconds:.1f} s of sound, a voice may have at most {LONGEST_S:g}",
            hint="choose 10 to 30 s of it, by a start and an end",
        )


def _warnings(waveform: Waveform) -> list[str]:
    warnings = []
    if _share_above(waveform, NARROW_HZ) < 10 ** (NARROW_DB / 10):
        warnings.append(f"its band is narrow: there is nothing above {NARROW_HZ // 1000} kHz, as on a telephone line")
    if is_clipped(waveform):
        warnings.append("it is clipped: its loudest moments are cut off at one height")
    return warnings


def is_clipped(waveform: Waveform, least_db: float = CLIPPED_DB) -> bool:
    """Whether the loudest moments of waveform [T] are cut off: speech has few that are as loud as its peaks."""
    high, higher = np.quantile(np.abs(waveform), [0.99, 0.999])
    return bool(higher < high * 10 ** (least_db / 20))


def _share_above(waveform: Waveform, frequency_hz: float) -> float:
    """The share of the energy of waveform [T] that lies above a frequency, over windows of 43 ms."""
    count = len(waveform) // SPECTRUM_SAMPLES
    frames = waveform[: count * SPECTRUM_SAMPLES].reshape(count, SPECTRUM_SAMPLES) * np.hanning(SPECTRUM_SAMPLES)
    power = (np.abs(np.fft.rfft(frames)) ** 2).sum(axis=0)
    frequencies = np.fft.rfftfreq(SPECTRUM_SAMPLES, 1 / SAMPLE_RATE_HZ)
    return float(power[frequencies > frequency_hz].sum() / power.sum())
