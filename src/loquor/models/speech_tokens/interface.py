"""Speech as ids: the one interface behind which the discrete codecs of speech language models stand.

A waveform becomes ids of a codebook, at a fixed rate, and ids become a waveform, whole or as they come. The memory of
a stream is data that the caller keeps: one model serves any number of streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from loquor.audio.resample import Waveform, resample
from loquor.errors import AudioError, InputError
from loquor.state import State

LONGEST_S = 2700  # 45 minutes at 12.5 ids a second are more than the 32768 positions of the language models
LOWEST_HZ, HIGHEST_HZ = 1000, 768_000


class SpeechTokens(Protocol):
    """A discrete codec of speech."""

    @property
    def codebook_size(self) -> int:
        """Ids are 0 to this, excluded."""
        ...

    @property
    def frame_rate_hz(self) -> float:
        """Ids for a second of speech."""
        ...

    @property
    def sample_rate_hz(self) -> int:
        """Of the waveforms that `decode` gives."""
        ...

    def encode(self, waveform: Waveform, sample_rate_hz: int) -> list[int]:
        """waveform [T], mono, at any rate, to ids; AudioError if it is empty, too long or not finite."""
        ...

    def init_state(self, seed: int = 0) -> State:
        """The memory of a stream before its first id; what is drawn on the way follows from the seed."""
        ...

    def decode(self, ids: Sequence[int], state: State | None = None, is_final: bool = False) -> Tensor:
        """Ids to a waveform [T] float32: all of it without a state, else what is complete by now.

        With a state, which is updated, ids may come in any portions, even none, and the pieces together are what one
        call would have given; `is_final` says that no more come, and gives the rest. InputError for ids outside the
        codebook, and for none at all.
        """
        ...


def to_rate(waveform: Waveform, sample_rate_hz: int, wanted_hz: int) -> Tensor:
    """waveform [T] as float32 at `wanted_hz`; AudioError if nothing can be heard in it."""
    waveform = np.asarray(waveform, dtype=np.float32)
    if waveform.ndim != 1:
        raise AudioError(f"the waveform has shape {list(waveform.shape)}, expected one channel [T]")
    if not LOWEST_HZ <= sample_rate_hz <= HIGHEST_HZ:
        raise AudioError(f"a sample rate of {sample_rate_hz} Hz is no rate of audio")
    if not len(waveform):
        raise AudioError("the waveform is empty", hint="was anything recorded?")
    if len(waveform) > LONGEST_S * sample_rate_hz:
        seconds = len(waveform) / sample_rate_hz
        raise AudioError(f"the waveform lasts {seconds:.0f} s, more than {LONGEST_S} s", hint="cut it into pieces")
    if not np.isfinite(waveform).all():
        raise AudioError("the waveform holds values that are not finite")
    resampled = resample(waveform, sample_rate_hz, wanted_hz)
    if not len(resampled):
        raise AudioError(f"the waveform of {len(waveform)} samples is too short to resample")
    return torch.from_numpy(np.ascontiguousarray(resampled))


def checked(ids: Sequence[int], codebook_size: int) -> Tensor:
    """ids as [1, N]; InputError names the first that the codebook does not have."""
    for place, i in enumerate(ids):
        if not 0 <= i < codebook_size:
            raise InputError(
                f"id {i} at place {place} lies outside the codebook of {codebook_size}",
                hint="give ids of speech alone: subtract the first audio token, leave out the markers",
            )
    return torch.tensor([list(ids)], dtype=torch.long)


def checked_seed(seed: int) -> Tensor:
    """The seed [1] of a stream; InputError unless it is a whole number from 0 to 2^63 - 1."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise InputError(f"a seed is a whole number from 0 to 2^63 - 1, got {seed!r}")
    return torch.tensor([seed])


def require_some(ids: Sequence[int]) -> None:
    """InputError if there is nothing to decode."""
    if not len(ids):
        raise InputError("there are no ids to decode")
