"""A recording that comes in pieces over Wyoming, and what is said in it."""

from __future__ import annotations

import asyncio

import numpy as np
from wyoming.event import Event

from loquor.audio.resample import Waveform
from loquor.errors import InputError, MissingExtra
from loquor.server.keys import Client
from loquor.server.service import Service

RATES_HZ = range(8_000, 192_001)
MOST_CHANNELS = 8
SAMPLE_BYTES = 2


class Recording:
    """`audio-start`, then `audio-chunk` again and again: signed 16-bit samples, channels in turn."""

    def __init__(self, start: Event, most_bytes: int) -> None:
        """InputError for a format that is not read here."""
        rate_hz, width, channels = (start.data.get(key) for key in ("rate", "width", "channels"))
        if width != SAMPLE_BYTES:
            raise InputError(f"audio must have samples of {SAMPLE_BYTES} bytes, got {width!r}")
        if not isinstance(rate_hz, int) or rate_hz not in RATES_HZ:
            raise InputError(f"audio must have {RATES_HZ[0]} to {RATES_HZ[-1]} samples a second, got {rate_hz!r}")
        if not isinstance(channels, int) or not 1 <= channels <= MOST_CHANNELS:
            raise InputError(f"audio must have 1 to {MOST_CHANNELS} channels, got {channels!r}")
        self.sample_rate_hz, self._channels, self._most_bytes = rate_hz, channels, most_bytes
        self._data = bytearray()

    def add(self, chunk: Event) -> None:
        """InputError if it grows too long."""
        self._data += chunk.payload or b""
        if len(self._data) > self._most_bytes:
            raise InputError(f"a recording may have {self._most_bytes} bytes", hint="send a shorter one")

    @property
    def waveform(self) -> Waveform:
        """[T], the mean of its channels."""
        whole = len(self._data) - len(self._data) % (SAMPLE_BYTES * self._channels)
        samples = np.frombuffer(self._data[:whole], dtype="<i2").reshape(-1, self._channels)
        return np.asarray(samples.mean(axis=1) / 32768, dtype=np.float32)


async def transcript(service: Service, recording: Recording, client: Client) -> str:
    """What is said in it; takes a slot meanwhile. MissingExtra without a transcriber, InputError for silence of no
    length, RefusedError as `Admission.slot`."""
    if service.transcriber is None:
        raise MissingExtra("this server has no transcriber", hint="its operator chooses one: --transcriber")
    waveform = await asyncio.to_thread(lambda: recording.waveform)  # 25 MB at most
    if not len(waveform):
        raise InputError("the recording is empty")
    async with service.admission.slot(client):
        return await asyncio.to_thread(service.transcriber.transcribe, waveform, recording.sample_rate_hz)
