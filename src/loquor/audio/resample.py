"""Sample rate conversion, in one go or chunk by chunk.

A thin layer over soxr (the SoX resampler, https://sourceforge.net/p/soxr), whose polyphase filters have linear phase
and no audible aliasing at the quality used here. The streaming form carries the filter's state, so that however a
stream is cut the result is that of the whole, a filter's length later.
"""

import numpy as np
import numpy.typing as npt
import soxr

Waveform = npt.NDArray[np.float32]

QUALITY = "HQ"  # 20 bit: the noise it adds lies below that of 16-bit files


def resample(waveform: Waveform, from_hz: int, to_hz: int) -> Waveform:
    """waveform [T] at from_hz to [round(T * to_hz / from_hz)] at to_hz."""
    if from_hz == to_hz or waveform.size == 0:
        return waveform
    return np.asarray(soxr.resample(waveform, from_hz, to_hz, quality=QUALITY), dtype=np.float32)


class StreamResampler:
    """The same conversion for a stream: `push` what has come, `finish` once at the end.

    What `push` returns lags behind by the filter's length (some milliseconds); `finish` returns the rest.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._same = from_hz == to_hz
        self._stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality=QUALITY)

    def push(self, chunk: Waveform) -> Waveform:
        """chunk [T] to the samples that are complete now, perhaps none."""
        return chunk if self._same else self._convert(chunk, is_last=False)

    def finish(self) -> Waveform:
        """The samples still inside. Nothing may be pushed afterwards."""
        nothing = np.zeros(0, dtype=np.float32)
        return nothing if self._same else self._convert(nothing, is_last=True)

    def _convert(self, chunk: Waveform, is_last: bool) -> Waveform:
        return np.asarray(self._stream.resample_chunk(chunk, last=is_last), dtype=np.float32)
