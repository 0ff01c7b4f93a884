"""From latents to sound: the last stage, which nothing else waits for, so it may have a core and a queue of its own.

A stream's first frame is decoded before all others and alone: somebody waits for it. Those behind it gather, as a group
costs less than its frames one by one; see `group_size`. Order and memory are each stream's own.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from loquor.backends.interface import RealtimeBackend
from loquor.models.codec import StackState

GROUP = 4  # frames in one call for a stream, at most: as many are lost when it is cancelled
LEAD = 3  # times its size: the frames that have been decoded when a group begins


def group_size(decoded: int, streams: int) -> int:
    """How many frames of a stream that has `decoded` frames gather to be decoded at once, beside other streams.

    A group is heard only when its last frame has been said, so it may not be larger than what the listener has in hand
    by then. That follows from the frames said: a third of these, in powers of two, leaves no gap as long as a frame
    takes three quarters of its own length or less; a slower model would leave gaps without groups too, and has fewer
    with them. Clocks have no say, so the same request is made of the same calls every time. Streams that share a call
    share what a group gains, and together they shall not hold up a newcomer's first frame: they divide GROUP.
    """
    most = max(1, GROUP // streams)
    size = 1
    while 2 * size <= most and LEAD * 2 * size <= decoded:
        size *= 2
    return size


class Decoded(Protocol):
    """What is asked of a stream; it is compared by identity."""

    cancelled: bool
    memory: StackState | None  # the decoder's; None: it has made no sound
    decoded: int  # frames


@dataclass(eq=False)
class Job:
    """A frame that is to be decoded."""

    stream: Decoded
    latent: Tensor  # [D]
    sound: Future[Tensor] = field(default_factory=Future)  # [hop] float32 on the CPU


class DecodingStage:
    """Decodes at once, or, where the backend is pipelined, in its own thread. Frames of a stream stay in order."""

    def __init__(self, backend: RealtimeBackend) -> None:
        self.backend = backend
        self._pool = ThreadPoolExecutor(1, "loquor-decoder") if backend.is_pipelined else None
        self._lock = threading.Lock()  # of what waits
        self._waiting: deque[Job] = deque()
        self._hurried: set[Decoded] = set()  # streams whose frames gather no longer
        self._together: list[Decoded] = []  # streams whose memories are rows of
        self._memory: StackState | None = None

    def submit(self, streams: Sequence[Decoded], latents: Tensor) -> list[Future[Tensor]]:
        """One frame of each stream, [B, D]; a future is cancelled if its stream is before its turn comes."""
        jobs = [Job(stream, latent) for stream, latent in zip(streams, latents, strict=True)]
        with self._lock:
            self._waiting.extend(jobs)
            self._hurried.difference_update(streams)
        self._start()
        return [job.sound for job in jobs]

    def flush(self, streams: Iterable[Decoded]) -> None:
        """Decode what has gathered of `streams`, to which nothing comes now."""
        with self._lock:
            waiting = {job.stream for job in self._waiting}
            self._hurried = waiting.intersection(streams)
        if self._hurried:
            self._start()

    def clear(self) -> None:
        """Drop what is not yet being decoded."""
        with self._lock:
            _drop(self._waiting)
            self._waiting.clear()

    def _start(self) -> None:
        if self._pool:
            try:
                self._pool.submit(self._work)
            except RuntimeError:  # the interpreter is ending; threads that still speak decode for themselves
                self._pool.shutdown()
                self._pool = None
        if not self._pool:
            self._work()

    def _work(self) -> None:
        """Decode until nothing that waits is due."""
        while group := self._take():
            try:
                sounds = self._decode(group)
            except BaseException as error:
                for job in (job for jobs in group for job in jobs):
                    job.sound.set_exception(error)
            else:
                for jobs, row in zip(group, sounds, strict=True):
                    for job, sound in zip(jobs, row.chunk(len(jobs)), strict=True):
                        job.sound.set_result(sound)

    def _take(self) -> list[list[Job]]:
        """What is decoded next: equally many frames of some streams."""
        with self._lock:
            _drop([job for job in self._waiting if job.stream.cancelled])
            self._waiting = deque(job for job in self._waiting if not job.stream.cancelled)
            of: dict[Decoded, list[Job]] = {}
            for job in self._waiting:
                of.setdefault(job.stream, []).append(job)
            group = _firsts(of.values()) or self._due(of)
            taken = {job for jobs in group for job in jobs}
            self._waiting = deque(job for job in self._waiting if job not in taken)
            for jobs in group:
                jobs[0].stream.decoded += len(jobs)
            return group

    def _due(self, of: dict[Decoded, list[Job]]) -> list[list[Job]]:
        """The group of the stream that has waited longest of those that have gathered one, and those of all that have
        as many frames."""
        found = list[list[Job]]()
        for stream, jobs in of.items():
            size = group_size(stream.decoded, len(of))
            if len(jobs) >= size or stream in self._hurried:
                found.append(jobs[:size])
        return [jobs for jobs in found if len(jobs) == len(found[0])]

    def _decode(self, group: Sequence[Sequence[Job]]) -> Tensor:
        """Sounds [B, N * hop] of N frames of B streams."""
        streams = [jobs[0].stream for jobs in group]
        latents = torch.stack([torch.stack([job.latent for job in jobs]) for jobs in group])
        return self.backend.decode(latents, self._remembered(streams)).float().cpu()

    def _remembered(self, streams: list[Decoded]) -> StackState:
        """The memories of `streams` as one batch, of which theirs are views: it is kept while they stay together."""
        if self._memory is None or streams != self._together:
            self._memory = StackState.join([s.memory or self.backend.init_decoder() for s in streams])
            self._together = streams
            for row, stream in enumerate(streams):
                stream.memory = self._memory.narrow(row, 1)
        return self._memory


def _firsts(waiting: Iterable[list[Job]]) -> list[list[Job]]:
    """The first frames of streams that have made no sound."""
    return [jobs[:1] for jobs in waiting if jobs[0].stream.memory is None]


def _drop(jobs: Iterable[Job]) -> None:
    """Whoever waits for these need not wait any longer."""
    for job in jobs:
        if job.sound.cancel():
            job.sound.set_running_or_notify_cancel()
