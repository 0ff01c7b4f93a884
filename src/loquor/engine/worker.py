"""One thread that steps a batch for all sessions of a model.

Callers in any thread open sessions, push text and take chunks; they never touch the batch. Between two frames the
worker lets new utterances in and hands out what was spoken.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable

from loquor.engine.realtime import RealtimeBatch, Stream
from loquor.engine.request import Frame
from loquor.models.realtime.model import RealtimeModel

Event = Frame | BaseException | None  # None: all has been said


class Lane:
    """The utterances of one session, spoken one after the other."""

    def __init__(self, notify: Callable[[], None]) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.waiting: deque[Stream] = deque()  # the first may be in the batch
        self.closed = False
        self.cancelled = False
        self.frames = 0
        self.notify = notify


class Worker:
    """Steps the batch while any lane has something to say; the thread ends when none is left."""

    def __init__(self, model: RealtimeModel) -> None:
        self.batch = RealtimeBatch(model)
        self.lanes: list[Lane] = []
        self.wake = threading.Condition()
        self.thread: threading.Thread | None = None

    def open(self) -> Lane:
        lane = Lane(self.notify)
        with self.wake:
            self.lanes.append(lane)
            if self.thread is None:
                self.thread = threading.Thread(target=self._run, name="loquor-engine", daemon=True)
                self.thread.start()
        return lane

    def notify(self) -> None:
        """Text was pushed, a lane was closed or cancelled."""
        with self.wake:
            self.wake.notify()

    def _run(self) -> None:
        while True:
            with self.wake:
                self._admit()
                while self.lanes and not self.batch.can_speak:
                    self.wake.wait()
                    self._admit()
                if not self.lanes:
                    self.thread = None
                    return
            try:
                for stream, frame in self.batch.step():
                    self._deliver(stream, frame)
            except BaseException as error:  # noqa: BLE001 - whatever broke belongs to every session that waits
                self._fail(error)

    def _admit(self) -> None:
        """Finished utterances out, the next of each lane in, ended lanes away."""
        for lane in list(self.lanes):
            while lane.waiting and (lane.waiting[0].finish or lane.cancelled):
                stream = lane.waiting.popleft()
                stream.cancelled = True
                lane.frames += stream.frames
            if lane.cancelled or (lane.closed and not lane.waiting):
                lane.events.put(None)
                self.lanes.remove(lane)
            elif lane.waiting and lane.waiting[0] not in self.batch.streams:
                lane.waiting[0].first_frame = lane.frames
                try:
                    self.batch.join(lane.waiting[0])
                except Exception as error:  # noqa: BLE001 - it concerns this lane only
                    lane.events.put(error)
                    self.lanes.remove(lane)

    def _deliver(self, stream: Stream, frame: Frame) -> None:
        for lane in self.lanes:
            if lane.waiting and lane.waiting[0] is stream and not lane.cancelled:
                lane.events.put(frame)

    def _fail(self, error: BaseException) -> None:
        with self.wake:
            for lane in self.lanes:
                lane.events.put(error)
            self.lanes.clear()
            self.batch.streams.clear()
            self.batch.state = None
