"""The microphone as a row of blocks. The device's own thread fills a queue, so nothing is lost while we compute."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from loquor.audio import Waveform
from loquor.errors import AudioError, MissingExtra

SAMPLE_RATE_HZ = 16_000
BLOCK_SAMPLES = 512  # 32 ms


class Microphone:
    """What was heard and not yet taken; it ends when the device does."""

    def __init__(self) -> None:
        self._blocks: queue.SimpleQueue[Waveform | None] = queue.SimpleQueue()

    def heard(self, block: Any, *_: object) -> None:
        """Called by the device for each block [T, 1]."""
        self._blocks.put(block[:, 0].copy())

    def ended(self) -> None:
        """Called by the device when it stops."""
        self._blocks.put(None)

    def __iter__(self) -> Iterator[Waveform]:
        """Blocks [T], each as soon as it is there."""
        while (block := self._blocks.get()) is not None:
            yield block

    def waiting(self) -> list[Waveform]:
        """The blocks that are there now."""
        return [block for _ in range(self._blocks.qsize()) if (block := self._next()) is not None]

    def _next(self) -> Waveform | None:
        block = self._blocks.get()
        if block is None:  # the end is for whoever waits
            self._blocks.put(None)
        return block


@contextmanager
def open_microphone() -> Iterator[Microphone]:
    """The default microphone at 16 kHz. MissingExtra without sounddevice, AudioError if there is no microphone."""
    try:
        import sounddevice
    except ImportError:
        raise MissingExtra("--mic needs sounddevice", hint="pip install 'loquor[play]'") from None
    except OSError as error:  # the wheel for Linux looks for the system's PortAudio
        raise AudioError(f"--mic needs PortAudio: {error}", hint="apt install libportaudio2") from None
    microphone = Microphone()
    try:
        device = sounddevice.InputStream(
            samplerate=SAMPLE_RATE_HZ,
            blocksize=BLOCK_SAMPLES,
            channels=1,
            dtype="float32",
            callback=microphone.heard,
            finished_callback=microphone.ended,
        )
        device.start()
    except sounddevice.PortAudioError as error:
        raise AudioError(f"there is no microphone to listen to: {error}", hint="give a recording: @FILE") from None
    try:
        yield microphone
    finally:
        device.close()
