"""How items sound: as they were recorded, and as the model's codec gives them back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loquor.audio.io import Section, read
from loquor.audio.level import block_levels
from loquor.audio.resample import Waveform
from loquor.errors import AudioError
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.training.dataset.reader import Dataset

LONGEST_S = 8.0  # of an item that is listened to
BLOCKS = 5  # of 10 ms, over which an envelope is taken
QUIET = 1e-3  # below this a level is as good as silence
STEADY = 1e-3  # an envelope that varies less never changes


def recorded(data: Dataset, index: int) -> Waveform | None:
    """The first seconds of an item, [T] at 24 kHz, from the set or from where it came from; None if it is gone."""
    record = data.records[index]
    end_s = min(record.end_s, record.start_s + LONGEST_S)
    if record.first_sample is not None:
        return np.asarray(data.waveform(index)[: round((end_s - record.start_s) * SAMPLE_RATE_HZ)])
    if not Path(record.source).is_file():
        return None
    try:
        return read(record.source, SAMPLE_RATE_HZ, section=Section(record.start_s, end_s))
    except AudioError:
        return None


@torch.inference_mode()
def decoded(model: Any, latents: Tensor) -> Waveform:
    """What the model's codec makes of the first seconds of latents [N, D] that are not normalised, [T]."""
    hop = model.codec.config.hop_samples
    frames = latents[: max(1, round(LONGEST_S * SAMPLE_RATE_HZ / hop))]
    waveform: Tensor = model.codec.decoder(frames[None])
    return np.asarray(waveform.flatten().float().numpy())


def echoes(model: Any, data: Dataset, most: int) -> Iterator[float]:
    """For up to `most` items, spread over the set, how closely the decoder follows their loudness, from -1 to 1."""
    indices = np.unique(np.linspace(0, len(data) - 1, min(most, len(data))).astype(int)).tolist()
    for index in indices:
        original = recorded(data, index)
        if original is not None:
            yield _agreement(original, decoded(model, data[index].speech.means))


def _agreement(one: Waveform, other: Waveform) -> float:
    """The correlation of two envelopes in decibels; 0 where one of them never changes."""
    length = min(len(one), len(other))
    a, b = _envelope(one[:length]), _envelope(other[:length])
    return float(np.corrcoef(a, b)[0, 1]) if min(a.std(), b.std()) > STEADY else 0.0


def _envelope(waveform: Waveform) -> Waveform:
    levels = np.log(block_levels(waveform, SAMPLE_RATE_HZ) + QUIET)
    whole = levels[: len(levels) // BLOCKS * BLOCKS] if len(levels) >= BLOCKS else levels.repeat(BLOCKS)
    return np.asarray(whole.reshape(-1, BLOCKS).mean(axis=1))
