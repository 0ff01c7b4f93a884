"""When a listener who plays speech as it comes would run out of it: what a served stream has as its deadline.

Whoever plays a stream hears a gap if a piece is made after the one before it has been played to its end. A worker asks
every lane how much speech it has in hand, lets those go first that have little, and lets those wait whose listener
takes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

SHORT_S = 0.5  # of speech in hand: the listener is close to a gap
AMPLE_S = 2.0  # this stream can sit out while another is short


@dataclass
class Playback:
    """The listener of one lane. Times are those of `time.perf_counter`."""

    sample_rate_hz: int
    room: int  # pieces that may wait to be taken; then the stream is held until half of them are
    given_s: float = 0.0  # speech made
    compute_s: float = 0.0  # steps that made it, shared ones in full
    gaps: int = 0  # pieces that came too late
    is_full: bool = False
    _ends_at: float | None = None  # when what was given has been played; None: the clock stands

    def give(self, samples: int, step_s: float, now: float) -> None:
        """A piece was made by a step that took `step_s`."""
        seconds = samples / self.sample_rate_hz
        self.given_s += seconds
        self.compute_s += step_s
        if self._ends_at is not None and self._ends_at < now:
            self.gaps += 1
            self._ends_at = None
        self._ends_at = (now if self._ends_at is None else self._ends_at) + seconds

    def stop_clock(self) -> None:
        """What comes next is late through no fault of ours: there was no text, or nobody took what there was."""
        self._ends_at = None

    def in_hand_s(self, now: float) -> float:
        """Seconds until a gap; 0 before the first sound, which is always wanted at once."""
        return 0.0 if self._ends_at is None else self._ends_at - now

    def fill(self, waiting: int) -> None:
        """So many pieces wait to be taken."""
        self.is_full = waiting >= (self.room + 1) // 2 if self.is_full else waiting >= self.room
