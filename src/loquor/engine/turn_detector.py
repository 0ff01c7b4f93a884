"""When somebody begins to speak into a microphone, and when they have finished: turns, cut out of sound as it comes.

Silero's network says of each 32 ms how likely they are speech. Two thresholds keep a doubtful moment from beginning or
ending anything; a turn ends with a pause. Frames are counted from the stream's first sample, so what is found does not
depend on how the sound was cut when it was pushed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from loquor.audio.resample import StreamResampler, Waveform
from loquor.errors import InputError
from loquor.models.silero import Silero

BEGINS = 0.5  # probability
DOUBT = 0.15  # so much less likely, it ends
PAUSE_S = 0.6  # of silence that ends a turn
SHORTEST_S = 0.2  # of speech, or it was a click or a cough
BEFORE_S, AFTER_S = 0.25, 0.1  # kept around what was found: words begin and end softly
LONGEST_S = 120.0  # a turn ends here, pause or not


@dataclass(frozen=True)
class SpeechBegan:
    """Somebody speaks; known SHORTEST_S of speech after it began."""

    at_s: float  # since the stream's first sample


@dataclass(frozen=True, eq=False)
class SpeechEnded:
    """A whole turn."""

    start_s: float
    end_s: float
    waveform: Waveform  # [T] at 16 kHz, a little more than the turn
    sample_rate_hz: int = Silero.SAMPLE_RATE_HZ


TurnEvent = SpeechBegan | SpeechEnded


class TurnDetector:
    """Turns of one stream of sound. MissingExtra if Silero is not installed."""

    def __init__(
        self,
        sample_rate_hz: int,
        pause_s: float = PAUSE_S,
        network: Silero | None = None,
        begins: float = BEGINS,
        before_s: float = BEFORE_S,
    ) -> None:
        """Speech `begins` where it is that likely. Several detectors may share one `network`.

        InputError for a pause of no length.
        """
        if not 0 < pause_s <= LONGEST_S:
            raise InputError(f"a pause of {pause_s} s cannot end a turn", hint=f"{PAUSE_S} is usual")
        self._begins, self._ends = begins, max(begins - DOUBT, begins / 2)
        self._network = network or Silero()
        self._memory = self._network.init_state()
        self._resampler = StreamResampler(sample_rate_hz, Silero.SAMPLE_RATE_HZ)
        self._rest = np.zeros(0, dtype=np.float32)  # less than a frame
        self._pause, self._shortest, self._before, self._after, self._longest = (
            math.ceil(seconds / self._network.frame_s)
            for seconds in (pause_s, SHORTEST_S, before_s, AFTER_S, LONGEST_S)
        )
        self._frame = 0  # number of the next
        self.forget()

    def forget(self) -> None:
        """What was heard so far belongs to no turn."""
        self._kept: list[Waveform] = []  # the last frames; all of a turn that goes on
        self._start: int | None = None  # frame at which a turn may have begun
        self._end = 0  # frame after the last that was speech
        self._spoken = 0  # frames of speech
        self._has_begun = False

    def push(self, chunk: Waveform) -> list[TurnEvent]:
        """What the next samples [T] show, in order."""
        return self._listen(self._resampler.push(np.ascontiguousarray(chunk, dtype=np.float32)))

    def finish(self) -> list[TurnEvent]:
        """The sound is over: a turn that goes on ends here."""
        rest = self._resampler.finish()
        missing = -(len(self._rest) + len(rest)) % Silero.FRAME
        events = self._listen(np.pad(rest, (0, missing)))
        return [*events, *self.cut()]

    def cut(self) -> list[TurnEvent]:
        """The turn that goes on, if there is one, ends here; nothing of it is kept."""
        events: list[TurnEvent] = []
        if self._start is not None and self._has_begun:
            unused = max(0, self._frame - self._end - self._after)
            waveform = np.concatenate(self._kept[: len(self._kept) - unused])
            frame_s = self._network.frame_s
            events.append(SpeechEnded(self._start * frame_s, self._end * frame_s, waveform))
        self.forget()
        return events

    def _listen(self, samples: Waveform) -> list[TurnEvent]:
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // Silero.FRAME * Silero.FRAME
        self._rest = samples[whole:]
        frames = samples[:whole].reshape(-1, Silero.FRAME)
        return [event for frame in frames for event in self._judge(frame)]

    def _judge(self, frame: Waveform) -> list[TurnEvent]:
        likely = float(self._network(frame, self._memory)[0])  # frame by frame: the same however they come
        self._kept.append(frame)
        self._frame += 1
        if self._start is None:
            if likely >= self._begins:
                self._start, self._end, self._spoken = self._frame - 1, self._frame, 1
            del self._kept[: max(0, len(self._kept) - self._before - 1)]
            return []
        if likely >= self._ends:
            self._end, self._spoken = self._frame, self._spoken + 1
        events: list[TurnEvent] = []
        if self._spoken >= self._shortest and not self._has_begun:
            self._has_begun = True
            events.append(SpeechBegan(self._start * self._network.frame_s))
        if self._frame - self._end >= self._pause or self._frame - self._start >= self._longest:
            events += self.cut()
        return events
