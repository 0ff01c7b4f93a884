"""How loud a voice sample is, and where in it somebody speaks."""

import numpy as np

from loquor.audio.resample import Waveform

TARGET_DBFS = -25.0  # what the voice prompts of VibeVoice were trained at (arXiv:2508.19205)
TINY = 1e-6  # keeps silence silence


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


def trim_silence(waveform: Waveform, sample_rate_hz: int, floor_db: float = -40.0, margin_s: float = 0.05) -> Waveform:
    """waveform [T] from the first to the last loud moment, with margin_s around; nothing if all is silent.

    Loud are blocks of 10 ms whose RMS lies less than -floor_db decibels below the loudest block's, so a quiet recording
    is trimmed like a loud one.
    """
    block = max(sample_rate_hz // 100, 1)
    padded = np.pad(waveform, (0, -len(waveform) % block))
    rms = np.sqrt(np.mean(padded.reshape(-1, block) ** 2, axis=1))
    (loud,) = np.nonzero(rms > rms.max(initial=0.0) * 10 ** (floor_db / 20))
    if loud.size == 0:
        return waveform[:0]
    margin = round(margin_s * sample_rate_hz)
    return waveform[max(loud[0] * block - margin, 0) : (loud[-1] + 1) * block + margin]
