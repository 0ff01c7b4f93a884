"""Output formats by ElevenLabs' names: codec, sample rate in Hz and, where there is one, bit rate in kbit/s."""

from __future__ import annotations

import re
from dataclasses import dataclass

from loquor.audio.resample import StreamResampler, Waveform
from loquor.audio.streaming import FORMATS, SoundfileEncoder, StreamEncoder, open_encoder
from loquor.errors import InputError

RATES_HZ = {  # of each codec
    "mp3": (22_050, 24_000, 44_100),
    "pcm": (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    "wav": (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    "opus": (48_000,),
    "ulaw": (8_000,),
    "alaw": (8_000,),
}
NAME = re.compile(rf"(?P<codec>{'|'.join(RATES_HZ)})_(?P<rate>[0-9]{{4,5}})(_[0-9]{{2,3}})?")
TELEPHONY = ("ulaw", "alaw")  # G.711, without a header
DEFAULT = "mp3_44100_128"


@dataclass(frozen=True)
class OutputFormat:
    """Ours are the bit rates: what a client names beside the sample rate is not followed."""

    codec: str
    sample_rate_hz: int

    @property
    def media_type(self) -> str:
        return "audio/basic" if self.codec in TELEPHONY else FORMATS[self.codec].media_type

    def open(self, source_hz: int, is_whole: bool = False) -> StreamEncoder:
        """An encoder of waveforms at another rate."""
        if self.codec in TELEPHONY:
            encoder: StreamEncoder = SoundfileEncoder(("RAW", self.codec.upper()), self.sample_rate_hz, is_whole, "")
        else:
            encoder = open_encoder(self.codec, self.sample_rate_hz, is_whole)
        return Resampling(encoder, StreamResampler(source_hz, self.sample_rate_hz))


def output_format(name: str) -> OutputFormat:
    """A format by its name; InputError if there is none such."""
    found = NAME.fullmatch(name)
    if not found or int(found["rate"]) not in RATES_HZ[found["codec"]]:
        raise InputError(f"there is no output_format {name!r}", hint=f"such as {DEFAULT} or pcm_24000")
    return OutputFormat(found["codec"], int(found["rate"]))


class Resampling:
    """An encoder of waveforms that come at another rate."""

    def __init__(self, encoder: StreamEncoder, resampler: StreamResampler) -> None:
        self._encoder, self._resampler = encoder, resampler

    def push(self, chunk: Waveform) -> bytes:
        return self._encoder.push(self._resampler.push(chunk))

    def finish(self) -> bytes:
        return self._encoder.push(self._resampler.finish()) + self._encoder.finish()
