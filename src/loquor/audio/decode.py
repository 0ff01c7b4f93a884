"""The samples of an audio file, block by block: by libsndfile where it can, and by FFmpeg (PyAV) where it cannot.

libsndfile, which is always here, reads wav, flac, mp3, ogg and opus. Phones record m4a; that and other containers need
the extra `podcast`. FFmpeg is given the opened file and a list of the containers it may see in it: some of its other
formats are playlists, which would make it open whatever files and addresses they name.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import soundfile

from loquor.errors import AudioError, MissingExtra

Block = npt.NDArray[np.float32]  # [n, C], samples in [-1, 1]

BLOCK_SAMPLES = 1 << 16
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,asf,amr,caf,ac3,eac3,ape,avi,flv,mpeg,mpegts,tta,wv,mp3,wav"
ONLY_FFMPEG = {4: (b"ftyp",), 0: (b"\x1aE\xdf\xa3", b"\xff\xf1", b"\xff\xf9", b"#!AMR", b"0&\xb2u")}  # by offset

EXTRA = "pip install 'loquor[podcast]'"
CONVERT = "convert it first (`ffmpeg -i IN out.wav`)"


class Decoder(Protocol):
    """An audio file that is being read."""

    sample_rate_hz: int  # as its header claims

    def blocks(self, start_s: float) -> Iterator[Block]:
        """The samples from start_s on; AudioError if the file is damaged."""
        ...


def open_decoder(path: Path, data: BinaryIO) -> Decoder:
    """What can read the audio in `data`, the file at `path` opened.

    AudioError if nothing can; MissingExtra if FFmpeg could, and it is not installed.
    """
    try:
        return Libsndfile(path, data)
    except (soundfile.SoundFileError, TypeError):  # TypeError: a name that ends in .raw says too little
        data.seek(0)
    head = data.read(16)
    data.seek(0)
    if importlib.util.find_spec("av"):
        return Ffmpeg(path, data)
    if any(head.startswith(signatures, at) for at, signatures in ONLY_FFMPEG.items()):
        raise MissingExtra(f"{path} is in a format that FFmpeg reads, which is not installed", f"{EXTRA}, or {CONVERT}")
    raise _no_audio(path, f"wav, flac, mp3, ogg and opus can be read, m4a and others with {EXTRA}; {CONVERT}")


class Libsndfile:
    """A file that libsndfile reads."""

    def __init__(self, path: Path, data: BinaryIO) -> None:
        self._path = path
        self._file = soundfile.SoundFile(data)
        self.sample_rate_hz: int = self._file.samplerate

    def blocks(self, start_s: float) -> Iterator[Block]:
        try:
            with self._file as file:
                file.seek(min(round(start_s * file.samplerate), file.frames))
                while len(block := file.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
                    yield block
        except soundfile.SoundFileError as error:
            raise _no_audio(self._path, CONVERT) from error


class Ffmpeg:
    """A file that FFmpeg reads: its first sound track."""

    def __init__(self, path: Path, data: BinaryIO) -> None:
        import av

        self._path, self._error = path, av.FFmpegError
        try:
            self._container: Any = av.open(data, container_options={"format_whitelist": CONTAINERS})
        except av.FFmpegError as error:
            raise _no_audio(path, CONVERT) from error
        if not self._container.streams.audio:
            raise AudioError(f"{path} has no sound track", hint="choose another file")
        self.sample_rate_hz: int = self._container.streams.audio[0].rate or 0
        self._resampler = av.AudioResampler(format="fltp")  # makes floats of any numbers, and changes nothing else

    def blocks(self, start_s: float) -> Iterator[Block]:
        early = round(start_s * self.sample_rate_hz)  # decoded and dropped: seeking lands anywhere near
        try:
            with self._container as container:
                for frame in container.decode(audio=0):
                    for block in self._resampler.resample(frame):
                        samples = np.asarray(block.to_ndarray().T, dtype=np.float32)
                        yield samples[early:]
                        early = max(early - len(samples), 0)
        except (self._error, ValueError) as error:  # ValueError: rate or channels change on the way
            raise _no_audio(self._path, CONVERT) from error


def _no_audio(path: Path, hint: str) -> AudioError:
    return AudioError(f"{path} holds no audio that can be read", hint=hint)
