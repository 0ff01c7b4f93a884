"""One thread that steps a batch for all sessions of a model, whatever its family.

Callers in any thread open lanes, put streams into them and take frames; they never touch the batch. Between two steps
the worker lets new streams in and hands out what was spoken.
"""

from __future__ import annotations

import atexit
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from loquor.engine.request import Frame

Event = Frame | BaseException | None  # None: all has been said


class AnyStream(Protocol):
    """What a worker knows of a stream: speech that its batch takes part by part, and that ends."""

    cancelled: bool  # the batch lets go of it at its next step
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

    def step(self) -> Sequence[tuple[S, Frame]]:
        """One frame of every stream that can speak; streams that have ended are gone afterwards."""

    @property
    def can_speak(self) -> bool:
        """Whether a step would do anything."""

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
        self._wake = wake

    def notify(self) -> None:
        """Text was pushed, or the lane was closed."""
        with self._wake:
            self._wake.notify()

    def cancel(self) -> None:
        """Stop within one frame."""
        self.closed = self.cancelled = True
        self.notify()

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
            try:
                for stream, frame in self.batch.step():
                    self._deliver(stream, frame)
            except BaseException as error:  # it belongs to every session in the batch
                self._fail(error)

    def _has_work(self) -> bool:
        """Wait until a step would do something; False, and the thread is forgotten, when no lane is left."""
        with self.wake:
            while True:
                self.lanes = [lane for lane in self.lanes if self._admit(lane)]
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

    def _deliver(self, stream: S, frame: Frame) -> None:
        for lane in self.lanes:
            if lane.waiting and lane.waiting[0] is stream and not lane.cancelled:
                lane.put(frame)

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
