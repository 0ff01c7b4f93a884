"""One thread that steps a batch for all sessions of a model, whatever its family.

Callers in any thread open lanes, put streams into them and take frames; they never touch the batch. Between two steps
the worker lets new streams in, hands out what was spoken, and chooses who takes part in the next: a stream whose
listener takes nothing is held, and those that could wait sit out while another's listener is about to hear a gap.
"""

from __future__ import annotations

import atexit
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from loquor.engine.playback import AMPLE_S, SHORT_S, Playback
from loquor.engine.request import Piece

Event = Piece | BaseException | None  # None: all has been said


class AnyStream(Protocol):
    """What a worker knows of a stream: speech that its batch takes part by part, and that ends."""

    cancelled: bool  # the batch lets go of it at its next step
    held: bool  # it takes no part in the next step; never so before it has said something
    finish: str | None  # how it ended; None: it goes on
    frames: int  # it has said
    first_frame: int  # number of the first, for the noise


S = TypeVar("S", bound=AnyStream)


class Batch(Protocol[S]):
    """Streams that share every pass of one model. Not thread-safe: one thread steps it."""

    @property
    def streams(self) -> Sequence[S]:
        """All that have joined and not ended."""

    def join(self, stream: S) -> None:
        """Let `stream` take part from the next step on; an error if it cannot."""

    def step(self) -> Sequence[tuple[S, Piece]]:
        """One piece of every stream that can speak; streams that have ended are gone afterwards."""

    def is_ready(self, stream: S) -> bool:
        """Whether a stream that has joined has something to say now."""

    @property
    def can_speak(self) -> bool:
        """Whether a step would do anything: some stream is ready and not held, or is cancelled."""

    def clear(self) -> None:
        """Drop all streams."""


class Lane(Generic[S]):
    """The streams of one session, spoken one after the other. A lane that has ended is let go by its worker."""

    def __init__(self, wake: threading.Condition) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.waiting: deque[S] = deque()  # the first may be in the batch
        self.closed = False  # no stream will follow
        self.cancelled = False
        self.frames = 0  # of the streams that have ended
        self.finish: str | None = None  # how they ended: "end" if all did by themselves, else what stopped one first
        self.listener: Callable[[], None] | None = None  # called by the worker when there is a new event
        self.playback: Playback | None = None  # whom it is made for; None: it is taken as fast as it is made
        self._wake = wake

    def notify(self) -> None:
        """Text was pushed, or the lane was closed."""
        with self._wake:
            self._wake.notify()

    def cancel(self) -> None:
        """Stop within one frame."""
        self.closed = self.cancelled = True
        self.notify()

    def take(self, wait: bool = True) -> Event:
        """The next event; queue.Empty if there is none and the caller will not wait."""
        event = self.events.get(block=wait)
        if self.playback and self.playback.is_full:
            self.notify()  # there may be room again
        return event

    def put(self, event: Event) -> None:
        self.events.put(event)
        if listener := self.listener:
            listener()

    def retire(self) -> None:
        """Let go of the first stream, which has ended or is not wanted any more."""
        stream = self.waiting.popleft()
        stream.cancelled = True
        self.frames += stream.frames
        if self.finish in (None, "end"):
            self.finish = stream.finish or "cancelled"


class Worker(Generic[S]):
    """Steps the batch while any lane has something to say; the thread ends when none is left."""

    def __init__(self, batch: Batch[S]) -> None:
        self.batch = batch
        self.lanes: list[Lane[S]] = []
        self.wake = threading.Condition()
        self.thread: threading.Thread | None = None
        _WORKERS.add(self)

    def open(self) -> Lane[S]:
        lane = Lane[S](self.wake)
        with self.wake:
            self.lanes.append(lane)
            if self.thread is None:
                self.thread = threading.Thread(target=self._run, name="loquor-engine", daemon=True)
                _THREADS.add(self.thread)
                self.thread.start()
        return lane

    def _run(self) -> None:
        while self._has_work():
            started = time.perf_counter()
            try:
                spoken = self.batch.step()
                step_s = time.perf_counter() - started
                for stream, piece in spoken:
                    self._deliver(stream, piece, step_s)
            except BaseException as error:  # it belongs to every session in the batch
                self._fail(error)

    def _has_work(self) -> bool:
        """Wait until a step would do something; False, and the thread is forgotten, when no lane is left."""
        with self.wake:
            while True:
                self.lanes = [lane for lane in self.lanes if self._admit(lane)]
                self._choose()
                if self.batch.can_speak:
                    return True
                if not self.lanes:
                    self.thread = None
                    return False
                self.wake.wait()

    def _admit(self, lane: Lane[S]) -> bool:
        """Finished streams out, the next one in; False if the lane has ended."""
        while lane.waiting and (lane.waiting[0].finish or lane.cancelled):
            lane.retire()
        if lane.cancelled or (lane.closed and not lane.waiting):
            lane.put(None)
            return False
        if lane.waiting and lane.waiting[0] not in self.batch.streams:
            lane.waiting[0].first_frame += lane.frames
            try:
                self.batch.join(lane.waiting[0])
            except Exception as error:  # it concerns this lane only
                lane.put(error)
                return False
        return True

    def _choose(self) -> None:
        """Hold the streams that sit the next step out."""
        now, served = time.perf_counter(), list[tuple[S, Playback]]()
        for lane in self.lanes:
            if lane.waiting and lane.playback:
                lane.playback.fill(lane.events.qsize())
                if lane.playback.is_full or not self.batch.is_ready(lane.waiting[0]):
                    lane.playback.stop_clock()
                    lane.waiting[0].held = lane.playback.is_full
                else:
                    served.append((lane.waiting[0], lane.playback))
        is_short = any(playback.in_hand_s(now) < SHORT_S for _, playback in served)
        for stream, playback in served:
            stream.held = is_short and playback.in_hand_s(now) > AMPLE_S

    def _deliver(self, stream: S, piece: Piece, step_s: float) -> None:
        for lane in self.lanes:
            if lane.waiting and lane.waiting[0] is stream and not lane.cancelled:
                if lane.playback:
                    lane.playback.give(len(piece.waveform), step_s, time.perf_counter())
                lane.put(piece)

    def _fail(self, error: BaseException) -> None:
        """Whoever had a stream in the batch hears what broke; the others never notice."""
        with self.wake:
            lost = [lane for lane in self.lanes if lane.waiting and lane.waiting[0] in self.batch.streams]
            self.lanes = [lane for lane in self.lanes if lane not in lost]
            self.batch.clear()
            for lane in lost:
                lane.put(error)


_WORKERS: weakref.WeakSet[Worker[Any]] = weakref.WeakSet()
_THREADS: weakref.WeakSet[threading.Thread] = weakref.WeakSet()  # those that are just leaving too


@atexit.register
def _stop_all() -> None:
    """A thread that the interpreter's end catches inside torch takes the process down with an abort."""
    for worker in list(_WORKERS):
        for lane in list(worker.lanes):
            lane.cancel()
    for thread in list(_THREADS):
        thread.join()  # a frame at most
