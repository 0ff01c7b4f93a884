"""Audio files in and out: whatever a user has becomes mono float32 at the rate a model works at, and back.

Reading goes block by block through mixing and resampling, so what is held in memory is bounded by the result and not by
what a header claims.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from loquor.audio.resample import StreamResampler, Waveform
from loquor.audio.sink import open_sink
from loquor.errors import AudioError

BLOCK_FRAMES = 1 << 16
LONGEST_S = 2 * 3600.0
RATES_HZ = range(1_000, 768_001)  # below and above there is no speech, only damaged headers

READABLE_HINT = "wav, flac, mp3, ogg and opus can be read; convert other files first (`ffmpeg -i IN out.wav`)"


def read(path: str | Path, sample_rate_hz: int, longest_s: float = LONGEST_S) -> Waveform:
    """The sound of a file as waveform [T] at sample_rate_hz, channels averaged.

    Raises AudioError if there is no such file, it holds no audio, none of its samples, or samples that are no numbers,
    or more than longest_s seconds.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise AudioError(f"{path} is no file" if os.path.exists(path) else f"{path} does not exist")
    try:
        with path.open("rb") as data, soundfile.SoundFile(data) as file:
            waveform = np.concatenate([*_converted(file, path, sample_rate_hz, longest_s)])
    except OSError as error:
        raise AudioError(f"cannot read {path}: {error.strerror or error}") from error
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a name that ends in .raw says too little
        raise AudioError(f"{path} holds no audio that can be read", hint=READABLE_HINT) from error
    if waveform.size == 0:
        raise AudioError(f"{path} is empty: it has no samples", hint="record it again, or choose another file")
    return waveform


def write(path: str | Path, waveform: Waveform, sample_rate_hz: int) -> None:
    """Saves waveform [T], whole or not at all, in the format the suffix names; raises like `open_sink`."""
    with open_sink(path, sample_rate_hz) as sink:
        sink.write(waveform)


def _converted(file: soundfile.SoundFile, path: Path, sample_rate_hz: int, longest_s: float) -> Iterator[Waveform]:
    """The file's blocks [T], mixed and resampled; at least one, perhaps empty."""
    if file.samplerate not in RATES_HZ:
        raise AudioError(f"{path} claims a sample rate of {file.samplerate} Hz", hint="its header is damaged")
    resampler = StreamResampler(file.samplerate, sample_rate_hz)
    done = 0
    while len(block := file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
        mono = np.ascontiguousarray(block.mean(axis=1))
        if not np.isfinite(mono).all():
            second = (done + int(np.argmin(np.isfinite(mono)))) / file.samplerate
            raise AudioError(f"{path} has a sample that is no number at {second:.2f} s", hint="export it again")
        done += len(mono)
        if done > longest_s * file.samplerate:
            raise AudioError(f"{path} is longer than {longest_s:g} s", hint="cut it first")
        yield resampler.push(mono)
    yield resampler.finish()
