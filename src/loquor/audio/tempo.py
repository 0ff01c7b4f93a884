"""Speech faster or slower at its own pitch, in one go or chunk by chunk.

A thin layer over libsonic, a port of Sonic (https://github.com/waywardgeek/sonic), which finds the periods of a voice,
and leaves some out or says them twice (pointer interval controlled overlap and add; Morita and Itakura, 1986). It is
given blocks of one length, so that however a stream is cut the result is that of the whole.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from loquor.audio.resample import Waveform
from loquor.errors import InputError, MissingExtra

if TYPE_CHECKING:
    from libsonic import SonicStream

SLOWEST, FASTEST = 0.25, 4.0
BLOCKS_PER_S = 100


def require_tempo(speed: float) -> None:
    """InputError for a speed there is not, MissingExtra for one that needs what is not installed."""
    if not SLOWEST <= speed <= FASTEST:  # and a NaN does not
        raise InputError(f"speed must lie in {SLOWEST:g} to {FASTEST:g}, got {speed:g}", hint="1 is the voice's own")
    if speed != 1 and not find_spec("libsonic"):
        raise MissingExtra("another speed than 1 needs libsonic", hint="pip install 'loquor[tempo]'")


class Tempo:
    """Changes the tempo of a stream: `push` what has come, `finish` at the end; then another may begin.

    What `push` returns lags behind by some periods of a voice, 40 ms at most of speech that is made faster. Samples are
    rounded to 16 bits. Raises as `require_tempo`.
    """

    def __init__(self, speed: float, sample_rate_hz: int) -> None:
        require_tempo(speed)
        self._speed, self._rate_hz = speed, sample_rate_hz
        self._waiting: Waveform = np.zeros(0, dtype=np.float32)  # less than a block
        self._stream = self._opened()

    def push(self, chunk: Waveform) -> Waveform:
        """chunk [T] to the samples that are complete now, perhaps none."""
        if self._stream is None:
            return chunk
        length = self._rate_hz // BLOCKS_PER_S
        waiting = np.concatenate([self._waiting, chunk])
        whole = len(waiting) // length * length
        self._waiting = waiting[whole:]
        for block in waiting[:whole].reshape(-1, length):
            self._stream.write(block)
        return self._made()

    def finish(self) -> Waveform:
        """The samples still inside."""
        if self._stream is None:
            return self._waiting
        self._stream.write(self._waiting)
        self._stream.flush()
        rest = self._made()
        self._waiting, self._stream = self._waiting[:0], self._opened()
        return rest

    def _opened(self) -> SonicStream | None:
        if self._speed == 1:
            return None
        from libsonic import SonicStream

        stream = SonicStream(self._rate_hz, 1)
        stream.set_speed(self._speed)
        return stream

    def _made(self) -> Waveform:
        assert self._stream is not None
        return np.asarray(self._stream.read(self._stream.available_frames()), dtype=np.float32)
