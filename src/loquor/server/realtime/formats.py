"""Sound as Realtime clients send it and want it, in base64: 16-bit PCM at 24 kHz, or the telephone's G.711 at 8 kHz."""

from __future__ import annotations

import base64
import binascii
import io
from dataclasses import dataclass

import numpy as np
import soundfile

from loquor.audio import StreamResampler, Waveform, pcm16
from loquor.audio.sink import require_finite
from loquor.errors import AudioError


@dataclass(frozen=True)
class Format:
    """One of `FORMATS`."""

    rate_hz: int
    subtype: str  # as libsndfile calls it
    sample_bytes: int


FORMATS = {
    "audio/pcm": Format(24_000, "PCM_16", 2),
    "audio/pcmu": Format(8_000, "ULAW", 1),
    "audio/pcma": Format(8_000, "ALAW", 1),
}


def decode(audio: str, form: Format) -> Waveform:
    """The waveform [T] in a base64 string; AudioError if there is none."""
    try:
        data = base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError):
        raise AudioError("the audio is not base64", hint="encode the samples, without a data: prefix") from None
    if len(data) % form.sample_bytes:
        raise AudioError(
            f"{len(data)} bytes are no whole number of samples of {form.sample_bytes} bytes",
            hint="is it in the session's audio.input.format?",
        )
    if not data:
        return np.zeros(0, dtype=np.float32)
    raw = {"format": "RAW", "subtype": form.subtype, "endian": "LITTLE"}
    waveform, _ = soundfile.read(io.BytesIO(data), dtype="float32", samplerate=form.rate_hz, channels=1, **raw)
    return np.asarray(waveform, dtype=np.float32)


class Encoder:
    """Speech at a model's rate to base64 strings, as it comes."""

    def __init__(self, form: Format, sample_rate_hz: int) -> None:
        self._form, self._resampler = form, StreamResampler(sample_rate_hz, form.rate_hz)

    def push(self, chunk: Waveform) -> str:
        """What of chunk [T] is complete now, perhaps nothing; AudioError if a sample is no number."""
        require_finite(chunk)
        return self._encoded(self._resampler.push(chunk))

    def finish(self) -> str:
        """The rest. Nothing may be pushed afterwards."""
        return self._encoded(self._resampler.finish())

    def _encoded(self, waveform: Waveform) -> str:
        if not len(waveform):
            return ""
        file = io.BytesIO()
        raw = {"format": "RAW", "subtype": self._form.subtype, "endian": "LITTLE"}
        soundfile.write(file, pcm16(waveform), self._form.rate_hz, **raw)
        return base64.b64encode(file.getvalue()).decode("ascii")
