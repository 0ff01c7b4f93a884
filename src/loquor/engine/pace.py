"""Chunks of speech at another speed than they are made: the sound, and the times a listener hears it at.

Changing the tempo takes the watermark's steps apart, so speech is marked afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np
import torch

from loquor.audio.resample import Waveform
from loquor.audio.tempo import Tempo
from loquor.audio.watermark import Marker
from loquor.engine.request import Chunk


class Paced:
    """Changes one text's chunks, which come without a mark; those given out have one if `is_marked`.

    Every utterance is complete with its last chunk, if that says so. Raises as `Tempo`.
    """

    def __init__(self, speed: float, sample_rate_hz: int, is_marked: bool) -> None:
        self._tempo, self._rate_hz = Tempo(speed, sample_rate_hz), sample_rate_hz
        self._marker = Marker(sample_rate_hz) if is_marked else None
        self._samples = 0  # given out
        self._open: Chunk | None = None  # the last of an utterance that may go on

    def hear(self, chunk: Chunk) -> Chunk | None:
        """A chunk as it is heard; None if its sound is not ready yet, and comes with the next."""
        waveform = self._tempo.push(chunk.waveform.numpy())
        self._open = None if chunk.finish else chunk
        if chunk.finish:
            waveform = np.concatenate([waveform, self._tempo.finish()])
        is_held = not len(waveform) and len(chunk.waveform)
        return None if is_held else self._timed(chunk, waveform)

    def rest(self) -> Chunk | None:
        """The last of speech whose chunks do not say where it ends."""
        waveform = self._tempo.finish()
        return self._timed(self._open, waveform) if self._open and len(waveform) else None

    def _timed(self, chunk: Chunk, waveform: Waveform) -> Chunk:
        marked = self._marker.mark(waveform) if self._marker else waveform
        start_s = self._samples / self._rate_hz
        self._samples += len(marked)
        end_s = self._samples / self._rate_hz
        return replace(chunk, waveform=torch.from_numpy(marked), start_s=start_s, end_s=end_s)


def at_pace(chunks: Iterator[Chunk], paced: Paced) -> Iterator[Chunk]:
    """All chunks of a text as they are heard; closing the iterator closes theirs."""
    with closing(chunks) as spoken:  # type: ignore[type-var]
        for chunk in spoken:
            if heard := paced.hear(chunk):
                yield heard
    if rest := paced.rest():
        yield rest
