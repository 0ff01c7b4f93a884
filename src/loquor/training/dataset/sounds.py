"""Recordings in files, and inside the tables that the `datasets` library writes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loquor.audio.io import Section, decode, read
from loquor.audio.resample import Waveform, resample
from loquor.errors import AudioError
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.training.dataset import tables
from loquor.training.dataset.records import LONGEST_READ_S

KNOWN = "wav flac mp3 ogg oga opus m4a mp4 aac webm mka amr aif aiff au caf"
SUFFIXES = frozenset(f".{name}" for name in KNOWN.split())
READ = Section(0, LONGEST_READ_S + 1)


@dataclass(frozen=True)
class SoundFile:
    """A file of its own."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path)

    def stamp(self) -> str:
        try:
            facts = self.path.stat()
        except OSError:
            return "missing"
        return f"{facts.st_size} {facts.st_mtime_ns}"

    def waveform(self) -> Waveform:
        return read(self.path, SAMPLE_RATE_HZ, section=READ)


@dataclass(frozen=True)
class TableSound:
    """A cell of a table: the path of a file, the bytes of one, or samples with their rate."""

    cell: tables.Cell
    folder: Path  # that paths are relative to

    @property
    def name(self) -> str:
        return str(self.cell)

    def stamp(self) -> str:
        return ""  # the table as a whole has one

    def waveform(self) -> Waveform:
        value = tables.sound_of(self.cell)
        if value.samples is not None:
            return _at_24_khz(value.samples, value.rate_hz, self.name)
        if value.data is not None:
            return decode(io.BytesIO(value.data), Path(value.path or self.name), SAMPLE_RATE_HZ, section=READ)
        if value.path:
            return read(self.folder / value.path, SAMPLE_RATE_HZ, section=READ)
        raise AudioError(f"{self.name} holds no recording")


def _at_24_khz(samples: Waveform, rate_hz: int, name: str) -> Waveform:
    """[T] or [C, T]; AudioError for what is no sound."""
    if samples.ndim == 2:
        samples = samples.mean(axis=0)
    if samples.ndim != 1 or samples.size == 0 or rate_hz <= 0:
        raise AudioError(f"{name} has samples of shape {samples.shape} at {rate_hz} Hz", hint="give [T] or [C, T]")
    if not np.isfinite(samples).all():
        raise AudioError(f"{name} has a sample that is no number")
    return resample(np.ascontiguousarray(samples[: int(rate_hz * (LONGEST_READ_S + 1))]), rate_hz, SAMPLE_RATE_HZ)
