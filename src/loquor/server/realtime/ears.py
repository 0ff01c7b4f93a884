"""What a Realtime session hears: sound is kept until the client says it is a turn, or a detector finds turns in it."""

from __future__ import annotations

from functools import cache

import numpy as np

from loquor.audio import Waveform
from loquor.engine.turn_detector import LONGEST_S, SpeechEnded, TurnDetector, TurnEvent
from loquor.models.silero import Silero
from loquor.server.realtime.events import EventError
from loquor.server.realtime.formats import FORMATS, Format
from loquor.server.realtime.items import Sound
from loquor.server.realtime.settings import Input, ServerVad


@cache
def network() -> Silero:
    """One for all sessions; what it remembers of each is theirs."""
    return Silero()


class Ears:
    """All but `attend` is called for one client's event after the other, from any thread."""

    def __init__(self, settings: Input) -> None:
        """MissingExtra if turns are to be found, and the detector is not installed."""
        self._before_s = 0.0  # heard before the present settings
        self._samples, self.form = 0, FORMATS[settings.format.type]  # since
        self.attend(settings)

    def attend(self, settings: Input) -> None:
        """Listen as the settings say; what was heard before belongs to no turn. Raises as `__init__`."""
        vad = settings.turn_detection
        detector = _detector(FORMATS[settings.format.type], vad) if vad else None
        self._before_s += self._samples / self.form.rate_hz
        self.form, self._detector, self._samples = FORMATS[settings.format.type], detector, 0
        self._kept: list[Waveform] = []

    def push(self, waveform: Waveform) -> list[TurnEvent]:
        """What the next samples [T] show; without a detector, nothing. EventError if too much is kept already."""
        if self._detector is None and self._seconds_kept + len(waveform) / self.form.rate_hz > LONGEST_S:
            raise EventError(
                f"the buffer may hold {LONGEST_S:g} s of sound",
                "commit or clear it",
                "input_audio_buffer_full",
            )
        self._samples += len(waveform)
        if self._detector:
            return self._detector.push(waveform)
        self._kept.append(waveform)
        return []

    def take(self) -> Sound:
        """The turn that the client says ends here; nothing of it is kept. It may be empty."""
        if self._detector:
            ended = next((event for event in self._detector.cut() if isinstance(event, SpeechEnded)), None)
            nothing = np.zeros(0, dtype=np.float32)
            return (ended.waveform, ended.sample_rate_hz) if ended else (nothing, self.form.rate_hz)
        waveform = np.concatenate([np.zeros(0, dtype=np.float32), *self._kept])
        self._kept = []
        return waveform, self.form.rate_hz

    def clear(self) -> None:
        """What was heard so far belongs to no turn."""
        self._kept = []
        if self._detector:
            self._detector.forget()

    def at_ms(self, seconds: float) -> int:
        """A detector's time as the client has it: since the session's first sample."""
        return max(0, round(1000 * (self._before_s + seconds)))

    @property
    def _seconds_kept(self) -> float:
        return sum(map(len, self._kept)) / self.form.rate_hz


def _detector(form: Format, vad: ServerVad) -> TurnDetector:
    return TurnDetector(
        form.rate_hz,
        pause_s=vad.silence_duration_ms / 1000,
        network=network(),
        begins=vad.threshold,
        before_s=vad.prefix_padding_ms / 1000,
    )
