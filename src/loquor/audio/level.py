"""How loud a voice sample is, and where in it there is any sound."""

import numpy as np
import numpy.typing as npt

from loquor.audio.resample import Waveform

TARGET_DBFS = -25.0  # what the voice prompts of VibeVoice were trained at (arXiv:2508.19205)
TINY = 1e-6  # keeps silence silence
BLOCKS_PER_S = 100
FLOOR_DB = -40.0


def normalize_level(waveform: Waveform, target_dbfs: float = TARGET_DBFS) -> Waveform:
    """waveform [T] scaled to an RMS of target_dbfs below full scale, then down again if a peak would clip.

    Source: the tokenizer processor of VibeVoice, which does this to each whole voice prompt.
    """
    if waveform.size == 0:
        return waveform
    rms = np.sqrt(np.mean(waveform**2))
    scaled = waveform * (10 ** (target_dbfs / 20) / (rms + TINY))
    peak = np.max(np.abs(scaled))
    return np.asarray(scaled / (peak + TINY) if peak > 1.0 else scaled, dtype=np.float32)


def level_dbfs(waveform: Waveform) -> float:
    """The RMS of waveform [T] in decibels relative to full scale; silence lies at -200."""
    rms = float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))) if waveform.size else 0.0
    return 20 * float(np.log10(max(rms, 1e-10)))


def block_levels(waveform: Waveform, sample_rate_hz: int) -> Waveform:
    """The RMS of each 10 ms of waveform [T], the last one filled up with silence."""
    block = _block_samples(sample_rate_hz)
    padded = np.pad(waveform, (0, -len(waveform) % block))
    return np.asarray(np.sqrt(np.mean(padded.reshape(-1, block) ** 2, axis=1)), dtype=np.float32)


def is_loud(levels: Waveform, floor_db: float = FLOOR_DB) -> npt.NDArray[np.bool_]:
    """Which blocks lie less than -floor_db decibels below the loudest, so a quiet recording counts like a loud one."""
    return np.asarray(levels > levels.max(initial=0.0) * 10 ** (floor_db / 20))


def sound_span(
    waveform: Waveform, sample_rate_hz: int, floor_db: float = FLOOR_DB, margin_s: float = 0.05
) -> tuple[int, int]:
    """Where the sound of waveform [T] begins and ends, in samples: its loud blocks, with margin_s around; or 0, 0."""
    (loud,) = np.nonzero(is_loud(block_levels(waveform, sample_rate_hz), floor_db))
    if loud.size == 0:
        return 0, 0
    block, margin = _block_samples(sample_rate_hz), round(margin_s * sample_rate_hz)
    return max(int(loud[0]) * block - margin, 0), min((int(loud[-1]) + 1) * block + margin, len(waveform))


def _block_samples(sample_rate_hz: int) -> int:
    return max(sample_rate_hz // BLOCKS_PER_S, 1)
