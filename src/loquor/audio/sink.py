"""Where speech goes while it is made: a file in one of five formats, or 16-bit PCM on standard output.

A file appears under its name only when it is complete: it grows beside it under another name (same folder, so that
`os.replace` is atomic, POSIX rename(2)) and goes away on any failure. Files carry a comment that says a machine spoke.
"""

from __future__ import annotations

import errno
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import soundfile

from loquor.audio.provenance import COMMENT
from loquor.audio.resample import Waveform
from loquor.errors import AudioError, LoquorError

BLOCK_SAMPLES = 1 << 15  # libsndfile's Vorbis encoder keeps a whole call on the stack: long calls crash it


@dataclass(frozen=True)
class Container:
    """A file format as libsndfile names it, and the sample rates it can hold (empty: any)."""

    format: str
    subtype: str
    rates_hz: tuple[int, ...] = ()

    @property
    def is_lossless(self) -> bool:
        return self.subtype == "PCM_16"


CONTAINERS = {
    ".wav": Container("WAV", "PCM_16"),
    ".flac": Container("FLAC", "PCM_16"),
    ".mp3": Container("MP3", "MPEG_LAYER_III", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)),
    ".ogg": Container("OGG", "VORBIS"),
    ".opus": Container("OGG", "OPUS", (8000, 12000, 16000, 24000, 48000)),
}

WRITE_HINTS = {
    errno.ENOSPC: "free some space, or write to another disk",
    errno.EDQUOT: "free some space, or write to another disk",
    errno.EFBIG: "write to another disk, or make a .mp3, .ogg or .opus: they are smaller",
    errno.EACCES: "choose a folder you may write to",
    errno.EROFS: "choose a folder you may write to",
    errno.ENOENT: "make the folder first",
}


class Sink(Protocol):
    """Takes speech chunk by chunk."""

    def write(self, chunk: Waveform) -> None:
        """chunk [T] (or [T, C]) in [-1, 1]; louder samples are clipped, samples that are no number raise AudioError."""
        ...


def open_sink(
    target: str | Path, sample_rate_hz: int, channels: int = 1, comment: str = COMMENT
) -> AbstractContextManager[Sink]:
    """A sink for `with`: a file whose suffix names its format, or for "-" 16-bit little-endian PCM on stdout.

    The file exists when the block ends without an exception, else nothing is left behind. A reader of stdout that has
    enough (a broken pipe) ends the block quietly. `comment` is what the file says of itself (`Provenance.comment`).
    Raises AudioError at once if the target cannot take such audio, and LoquorError when writing fails.
    """
    if str(target) == "-":
        return _stdout_sink(sample_rate_hz)
    path = Path(target)
    container = _container(path, sample_rate_hz)
    return _file_sink(lambda: _FileSink(path, container, sample_rate_hz, channels, comment))


def require_writable(path: str | Path, sample_rate_hz: int) -> None:
    """Raises what `open_sink` would for a file, and leaves nothing behind."""
    target = Path(path)
    _FileSink(target, _container(target, sample_rate_hz), sample_rate_hz).discard()


def pcm16(waveform: Waveform) -> npt.NDArray[np.int16]:
    """waveform [T] in [-1, 1] to 16-bit samples, rounded and clipped, full scale 32767, little-endian."""
    return np.asarray(np.rint(np.clip(waveform, -1.0, 1.0) * 32767.0), dtype="<i2")


def encoder_blocks(chunk: Waveform, is_lossless: bool) -> Iterator[Waveform | npt.NDArray[np.int16]]:
    """chunk [T] (or [T, C]) cut to what libsndfile takes in one call, clipped; AudioError if a sample is no number."""
    require_finite(chunk)
    for start in range(0, len(chunk), BLOCK_SAMPLES):
        block = chunk[start : start + BLOCK_SAMPLES]
        yield pcm16(block) if is_lossless else np.clip(block, -1.0, 1.0)


def _container(path: Path, sample_rate_hz: int) -> Container:
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        known = ", ".join(CONTAINERS)
        raise AudioError(f"{path} does not say which format to write", hint=f"end the name in one of {known}")
    if container.rates_hz and sample_rate_hz not in container.rates_hz:
        rates = ", ".join(map(str, container.rates_hz))
        raise AudioError(f"{path.suffix} cannot hold {sample_rate_hz} Hz", hint=f"it takes {rates} Hz; .wav takes any")
    if os.path.exists(path) and not os.path.isfile(path):
        raise AudioError(f"{path} exists and is no regular file", hint="choose another name")
    return container


@contextmanager
def _file_sink(begin: Callable[[], _FileSink]) -> Iterator[Sink]:
    sink = begin()
    try:
        yield sink
        sink.commit()
    finally:
        sink.discard()


@contextmanager
def _stdout_sink(sample_rate_hz: int) -> Iterator[Sink]:
    if sys.stdout.isatty():
        hint = f"pipe it on, for example into `aplay -f S16_LE -r {sample_rate_hz}`"
        raise AudioError("standard output is a terminal, which cannot show sound", hint=hint)
    sink = _PcmSink(sys.stdout.buffer)
    try:
        yield sink
    except BrokenPipeError:
        if not sink.has_failed:
            raise  # some other pipe of the caller's


class _FileSink:
    """Encodes into a file beside the wanted one, until `commit` gives it its name or `discard` removes it."""

    def __init__(
        self, path: Path, container: Container, sample_rate_hz: int, channels: int = 1, comment: str = COMMENT
    ) -> None:
        self._path, self._is_lossless = path, container.is_lossless
        self._target = Path(os.path.realpath(path))  # a link stays, the file it points to is replaced
        with _failures_named(path):
            self._output = _NotingFile(self._target.with_name(f".loquor-{secrets.token_hex(6)}.part"))
            self._encoder = self._start_encoder(container, sample_rate_hz, channels)
            self._encoder.comment = _readable(comment, container)
        self._is_empty = True

    def write(self, chunk: Waveform) -> None:
        self._is_empty = self._is_empty and len(chunk) == 0
        for block in encoder_blocks(chunk, self._is_lossless):
            self._encoder.write(block)
            with _failures_named(self._path):
                self._output.raise_if_failed()

    def commit(self) -> None:
        if self._is_empty:  # encoders that never started leave a file that no player opens
            raise AudioError(f"there is no sound to write to {self._path}")
        with _failures_named(self._path):
            self._encoder.close()
            self._output.rename(self._target)

    def discard(self) -> None:
        with suppress(soundfile.SoundFileError):  # whatever the encoder misses, the file goes
            self._encoder.close()
        self._output.remove()

    def _start_encoder(self, container: Container, sample_rate_hz: int, channels: int) -> soundfile.SoundFile:
        try:
            return soundfile.SoundFile(
                self._output, "w", sample_rate_hz, channels, container.subtype, format=container.format
            )
        except soundfile.SoundFileError:
            self._output.remove()
            raise


class _NotingFile:
    """The growing file, as libsndfile wants it: called from C, where an exception would be printed and lost.

    The first error is noted; from then on it pretends, so that the encoder ends in order and the cause is not hidden.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("xb+", buffering=0)
        self._error: OSError | None = None

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        while rest and self._error is None:
            try:
                rest = rest[self._file.write(rest) :]
            except OSError as error:
                self._error = error
        return len(data)

    def read(self, count: int = -1) -> bytes:
        return self._file.read(count) or b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def raise_if_failed(self) -> None:
        if self._error is not None:
            raise self._error

    def rename(self, target: Path) -> None:
        """Ends the file and gives it its name, replacing what had it."""
        self.raise_if_failed()
        self._file.close()  # network file systems say only here that the disk is full
        os.replace(self._path, target)

    def remove(self) -> None:
        with suppress(OSError):  # a file that cannot be closed can still be removed
            self._file.close()
        self._path.unlink(missing_ok=True)


class _PcmSink:
    """16-bit PCM into a byte stream, each chunk sent at once."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.has_failed = False

    def write(self, chunk: Waveform) -> None:
        require_finite(chunk)
        try:
            self._stream.write(pcm16(chunk).tobytes())
            self._stream.flush()
        except OSError as error:
            self.has_failed = True
            self._point_nowhere()
            if isinstance(error, BrokenPipeError):
                raise
            raise _cannot_write("standard output", error) from error

    def _point_nowhere(self) -> None:
        """Lets the interpreter flush what is left at its end without a second error."""
        with suppress(OSError):  # a stand-in for stdout may have no file descriptor
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def require_finite(chunk: Waveform) -> None:
    """AudioError if a sample is no number."""
    if not np.isfinite(chunk).all():
        raise AudioError(
            "the speech has samples that are no numbers", hint="`loquor doctor` looks at the model's files"
        )


def _readable(comment: str, container: Container) -> str:
    """As players show it: libsndfile says of an mp3's comment that it is in Latin-1, whatever it is in."""
    return comment.encode("ascii", "replace").decode() if container.format == "MP3" else comment


@contextmanager
def _failures_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, soundfile.SoundFileError) as error:
        raise _cannot_write(str(path), error) from error


def _cannot_write(target: str, error: Exception) -> LoquorError:
    """What went wrong as the system says it, with the remedy for the usual causes."""
    number = error.errno if isinstance(error, OSError) else None
    message = f"cannot write {target}: {os.strerror(number) if number else error}"
    return LoquorError(message, hint=WRITE_HINTS.get(number or 0, ""))
