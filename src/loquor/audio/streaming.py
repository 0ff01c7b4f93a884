"""Speech as bytes while it is made: what a server sends, in the formats that OpenAI's speech endpoint knows.

A file is written front to back and finished by going back to its header; a stream cannot go back. So wav and flac are
sent with lengths left open, as their formats allow, and mp3 at a constant rate, from which players know its length.
What a header would have said in the end is in the bytes of `is_whole`, which come all at once.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import soundfile

from loquor.audio.provenance import COMMENT
from loquor.audio.resample import Waveform
from loquor.audio.sink import encoder_blocks, pcm16, require_finite
from loquor.errors import AudioError, MissingExtra

MP3_SETTINGS = {"bitrate_mode": "CONSTANT", "compression_level": 0.5}  # 80 kbit/s of what 24 kHz allows
OGG_PAGE_LATENCY_MS, SET_OGG_PAGE_LATENCY_MS = 100.0, 0x1302  # libsndfile would fill pages of a second
AAC_BITS_PER_S = 96_000
UNKNOWN = 0xFFFFFFFF  # length of what is still being made


class StreamEncoder(Protocol):
    """Waveforms in, bytes out."""

    def push(self, chunk: Waveform) -> bytes:
        """The bytes that are complete now, perhaps none; AudioError if a sample of chunk [T] is no number."""
        ...

    def finish(self) -> bytes:
        """The rest. Nothing may be pushed afterwards."""
        ...


class PcmEncoder:
    """16-bit little-endian samples, and nothing else."""

    def push(self, chunk: Waveform) -> bytes:
        require_finite(chunk)
        return pcm16(chunk).tobytes()

    def finish(self) -> bytes:
        return b""


class WavEncoder(PcmEncoder):
    """The same behind a header that leaves the length open, as streaming players expect."""

    def __init__(self, sample_rate_hz: int, comment: str = COMMENT) -> None:
        self._header = _wav_header(sample_rate_hz, comment)

    def push(self, chunk: Waveform) -> bytes:
        header, self._header = self._header, b""
        return header + super().push(chunk)

    def finish(self) -> bytes:
        return self._header


class SoundfileEncoder:
    """What libsndfile writes; a whole file, if wanted, comes out at the end."""

    def __init__(self, kind: tuple[str, str], sample_rate_hz: int, is_whole: bool, comment: str = COMMENT) -> None:
        container, subtype = kind
        self._output = io.BytesIO() if is_whole else _Outgoing()
        settings: dict[str, Any] = MP3_SETTINGS if container == "MP3" else {}
        self._file = soundfile.SoundFile(
            self._output, "w", sample_rate_hz, channels=1, format=container, subtype=subtype, **settings
        )
        if container == "OGG" and not is_whole:
            _shorten_pages(self._file)
        if comment:  # some containers hold none
            self._file.comment = comment
        self._is_lossless = subtype == "PCM_16"

    def push(self, chunk: Waveform) -> bytes:
        for block in encoder_blocks(chunk, self._is_lossless):
            self._file.write(block)
        return self._output.take() if isinstance(self._output, _Outgoing) else b""

    def finish(self) -> bytes:
        self._file.close()
        return self._output.take() if isinstance(self._output, _Outgoing) else self._output.getvalue()


class AacEncoder:
    """AAC in ADTS frames, by FFmpeg (PyAV); MissingExtra if it is not installed."""

    def __init__(self, sample_rate_hz: int) -> None:
        try:
            import av
        except ImportError as error:
            raise MissingExtra(
                "aac is written by FFmpeg, which is not installed", "pip install 'loquor[podcast]'"
            ) from error
        self._frame_of = av.AudioFrame.from_ndarray
        self._output = _Outgoing()
        self._container: Any = av.open(self._output, "w", format="adts")
        self._stream = self._container.add_stream("aac", rate=sample_rate_hz, layout="mono")
        self._stream.bit_rate, self._rate, self._samples = AAC_BITS_PER_S, sample_rate_hz, 0

    def push(self, chunk: Waveform) -> bytes:
        require_finite(chunk)
        if len(chunk):
            frame = self._frame_of(np.clip(chunk, -1.0, 1.0)[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = self._rate, self._samples
            self._samples += len(chunk)
            self._container.mux(self._stream.encode(frame))
        return self._output.take()

    def finish(self) -> bytes:
        if self._samples:  # an encoder that never started has nothing to end
            self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._output.take()


@dataclass(frozen=True)
class StreamFormat:
    """A format by what HTTP calls it, and its encoder: of a sample rate, and of whether the file is wanted whole."""

    media_type: str
    open: Callable[[int, bool], StreamEncoder]


def _soundfile(container: str, subtype: str) -> Callable[[int, bool], StreamEncoder]:
    return lambda rate, is_whole: SoundfileEncoder((container, subtype), rate, is_whole)


def _wav(sample_rate_hz: int, is_whole: bool) -> StreamEncoder:
    return SoundfileEncoder(("WAV", "PCM_16"), sample_rate_hz, True) if is_whole else WavEncoder(sample_rate_hz)


FORMATS = {
    "mp3": StreamFormat("audio/mpeg", _soundfile("MP3", "MPEG_LAYER_III")),
    "opus": StreamFormat("audio/ogg", _soundfile("OGG", "OPUS")),
    "aac": StreamFormat("audio/aac", lambda rate, _: AacEncoder(rate)),
    "flac": StreamFormat("audio/flac", _soundfile("FLAC", "PCM_16")),
    "wav": StreamFormat("audio/wav", _wav),
    "pcm": StreamFormat("audio/pcm", lambda rate, _: PcmEncoder()),
}


def open_encoder(name: str, sample_rate_hz: int, is_whole: bool = False) -> StreamEncoder:
    """An encoder of the format called `name`; with `is_whole` all bytes may come at the end, with every length right.

    AudioError for an unknown format or a rate it cannot hold, MissingExtra for aac without FFmpeg.
    """
    if name not in FORMATS:
        raise AudioError(f"there is no format {name!r}", hint=f"one of {', '.join(FORMATS)}")
    try:
        return FORMATS[name].open(sample_rate_hz, is_whole)
    except (soundfile.SoundFileError, ValueError) as error:
        raise AudioError(f"{name} cannot hold {sample_rate_hz} Hz", hint="wav, flac and pcm take any rate") from error


class _Outgoing(io.RawIOBase):
    """What an encoder writes, handed out as it comes; what it would change of bytes already gone stays as it was."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._end = self._position = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        fresh = bytes(data)[max(0, self._end - self._position) :]
        self._waiting += fresh
        self._position += len(data)
        self._end = max(self._end, self._position)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + (0, self._position, self._end)[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def take(self) -> bytes:
        data = bytes(self._waiting)
        self._waiting.clear()
        return data


def _shorten_pages(file: soundfile.SoundFile) -> None:
    """Let an Ogg encoder send what it has ten times a second. soundfile has no public name for this command."""
    library, ffi = getattr(soundfile, "_snd", None), getattr(soundfile, "_ffi", None)
    if library is not None and ffi is not None:
        library.sf_command(file._file, SET_OGG_PAGE_LATENCY_MS, ffi.new("double*", OGG_PAGE_LATENCY_MS), 8)


def _wav_header(sample_rate_hz: int, comment: str) -> bytes:
    """RIFF of 16-bit mono with a comment, its data of unknown length."""
    text = comment.encode() + b"\0" * (2 - len(comment.encode()) % 2)
    info = b"INFO" + struct.pack("<4sI", b"ICMT", len(text)) + text
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate_hz, 2 * sample_rate_hz, 2, 16)
    chunks = form + struct.pack("<4sI", b"LIST", len(info)) + info + struct.pack("<4sI", b"data", UNKNOWN)
    return struct.pack("<4sI4s", b"RIFF", UNKNOWN, b"WAVE") + chunks
