"""The loudspeaker as a sink. A thread of its own feeds the device, so that generation never waits for playback."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from loquor.audio import Waveform
from loquor.errors import AudioError, MissingExtra

SLICE_S = 0.1  # a device write; between two, an interrupt is noticed


@contextmanager
def open_player(sample_rate_hz: int) -> Iterator[Player]:
    """Plays what is written; leaves when all was heard, or at once on an exception.

    Raises MissingExtra without sounddevice, AudioError if there is no loudspeaker.
    """
    device = _open_device(sample_rate_hz)
    player = Player(device, sample_rate_hz)
    try:
        yield player
        player.finish()
    finally:
        player.stop()


def _open_device(sample_rate_hz: int) -> Any:
    try:
        import sounddevice
    except ImportError:
        raise MissingExtra("--play needs sounddevice", hint="pip install 'loquor[play]'") from None
    except OSError as error:  # the wheel for Linux looks for the system's PortAudio
        raise AudioError(f"--play needs PortAudio: {error}", hint="apt install libportaudio2") from None
    try:
        device = sounddevice.OutputStream(samplerate=sample_rate_hz, channels=1, dtype="float32")
        device.start()
    except sounddevice.PortAudioError as error:
        raise AudioError(f"there is no loudspeaker to play on: {error}", hint="write a file instead: -o FILE") from None
    return device


class Player:
    """A sink that is heard."""

    def __init__(self, device: Any, sample_rate_hz: int) -> None:
        self._device, self._rate_hz, self._slice = device, sample_rate_hz, int(SLICE_S * sample_rate_hz)
        self._written = self._played = 0  # samples
        self._queue: queue.SimpleQueue[Waveform | None] = queue.SimpleQueue()
        self._failure: Exception | None = None
        self._is_stopped = False
        self._thread = threading.Thread(target=self._play, name="loquor-player", daemon=True)
        self._thread.start()

    def write(self, chunk: Waveform) -> None:
        if self._failure:
            raise AudioError(f"playing stopped: {self._failure}") from self._failure
        self._written += len(chunk)
        self._queue.put(chunk)

    @property
    def played_s(self) -> float:
        """Seconds that were given to the device."""
        return self._played / self._rate_hz

    @property
    def is_playing(self) -> bool:
        """Whether something that was written was not given to the device yet."""
        return self._played < self._written and not self._failure

    def finish(self) -> None:
        """Wait until all was heard, unless we are silent."""
        if self._is_stopped:
            return
        self._queue.put(None)
        self._thread.join()
        self._device.stop()

    def stop(self) -> None:
        """Be silent now."""
        if self._is_stopped:
            return
        self._is_stopped = True
        self._queue.put(None)
        self._thread.join()
        self._device.close()

    def _play(self) -> None:
        try:
            while (chunk := self._queue.get()) is not None:
                for start in range(0, len(chunk), self._slice):
                    if self._is_stopped:
                        return
                    self._device.write(chunk[start : start + self._slice, None])
                    self._played += len(chunk[start : start + self._slice])
        except Exception as error:  # whatever the device says, the thread that writes shall hear it
            self._failure = error
