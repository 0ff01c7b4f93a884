"""Audio files in and out: whatever a user has becomes mono float32 at the rate a model works at, and back.

Reading goes block by block through mixing and resampling, so what is held in memory is bounded by the result and not by
what a header claims.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from loquor.audio.decode import Decoder, open_decoder
from loquor.audio.provenance import COMMENT
from loquor.audio.resample import StreamResampler, Waveform
from loquor.audio.sink import open_sink
from loquor.errors import AudioError

LONGEST_S = 2 * 3600.0
RATES_HZ = range(1_000, 768_001)  # below and above there is no speech, only damaged headers


@dataclass(frozen=True)
class Section:
    """A part of a file, in seconds; without an end, to the end of the file. AudioError if it holds no time."""

    start_s: float = 0.0
    end_s: float | None = None

    def __post_init__(self) -> None:
        end = math.inf if self.end_s is None else self.end_s
        if not 0 <= self.start_s < end or self.end_s == math.inf:
            raise AudioError(f"a section cannot go {self}", hint="it starts at 0 or later, and ends after it starts")

    def __str__(self) -> str:
        return f"from {self.start_s:g} s to {'the end' if self.end_s is None else f'{self.end_s:g} s'}"


WHOLE = Section()


def read(path: str | Path, sample_rate_hz: int, longest_s: float = LONGEST_S, section: Section = WHOLE) -> Waveform:
    """The sound of a file, or of a section of it, as waveform [T] at sample_rate_hz, channels averaged.

    Raises AudioError if there is no such file, it holds no audio, none of its samples, or samples that are no numbers,
    or more than longest_s seconds; MissingExtra if only FFmpeg could read it.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise AudioError(f"{path} is no file" if os.path.exists(path) else f"{path} does not exist")
    try:
        with path.open("rb") as data:
            return decode(data, path, sample_rate_hz, longest_s, section)
    except OSError as error:
        raise AudioError(f"cannot read {path}: {error.strerror or error}") from error


def decode(
    data: BinaryIO, path: Path, sample_rate_hz: int, longest_s: float = LONGEST_S, section: Section = WHOLE
) -> Waveform:
    """`read`, of a file that is open, or in memory; `path` is its name."""
    waveform = np.concatenate([*_converted(open_decoder(path, data), path, sample_rate_hz, longest_s, section)])
    if waveform.size == 0 and section.start_s:
        raise AudioError(f"{path} ends before {section.start_s:g} s", hint="start earlier")
    if waveform.size == 0:
        raise AudioError(f"{path} is empty: it has no samples", hint="record it again, or choose another file")
    return waveform


def write(path: str | Path, waveform: Waveform, sample_rate_hz: int, comment: str = COMMENT) -> None:
    """Saves waveform [T], whole or not at all, in the format the suffix names; raises like `open_sink`."""
    with open_sink(path, sample_rate_hz, comment=comment) as sink:
        sink.write(waveform)


def _converted(
    decoder: Decoder, path: Path, sample_rate_hz: int, longest_s: float, section: Section
) -> Iterator[Waveform]:
    """The blocks [T] of a section, mixed and resampled; at least one, perhaps empty."""
    rate = decoder.sample_rate_hz
    if rate not in RATES_HZ:
        raise AudioError(f"{path} claims a sample rate of {rate} Hz", hint="its header is damaged")
    resampler = StreamResampler(rate, sample_rate_hz)
    left = math.inf if section.end_s is None else round(section.end_s * rate) - round(section.start_s * rate)
    done = 0
    for block in decoder.blocks(section.start_s):
        mono = np.ascontiguousarray(block[: int(min(left - done, len(block)))].mean(axis=1))
        if not np.isfinite(mono).all():
            second = section.start_s + (done + int(np.argmin(np.isfinite(mono)))) / rate
            raise AudioError(f"{path} has a sample that is no number at {second:.2f} s", hint="export it again")
        done += len(mono)
        if done > longest_s * rate:
            raise AudioError(
                f"{path} is longer than {longest_s:g} s", hint="cut it first, or choose a part by a start and an end"
            )
        yield resampler.push(mono)
        if done >= left:
            break
    yield resampler.finish()
