"""From latents to sound: the last stage, which nothing else waits for, so it may have a core and a queue of its own.

A stream's first frame is decoded before all others and alone: somebody waits for it. Of those behind it the decoder
takes up to GROUP at once, which costs less than one by one. Order and memory are each stream's own.
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

GROUP = 2  # frames of a stream in one call, at most: as many are lost when it is cancelled


class Decoded(Protocol):
    """What is asked of a stream; it is compared by identity."""

    cancelled: bool
    memory: StackState | None  # the decoder's; None: it has made no sound


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
        self._together: list[Decoded] = []  # streams whose memories are rows of
        self._memory: StackState | None = None

    def submit(self, streams: Sequence[Decoded], latents: Tensor) -> list[Future[Tensor]]:
        """One frame of each stream, [B, D]; a future is cancelled if its stream is before its turn comes."""
        jobs = [Job(stream, latent) for stream, latent in zip(streams, latents, strict=True)]
        with self._lock:
            self._waiting.extend(jobs)
        if self._pool:
            try:
                self._pool.submit(self._work)
            except RuntimeError:  # the interpreter is ending; threads that still speak decode for themselves
                self._pool.shutdown()
                self._pool = None
        if not self._pool:
            self._work()
        return [job.sound for job in jobs]

    def _work(self) -> None:
        """Decode until nothing waits."""
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
            for job in self._waiting:
                if job.stream.cancelled:
                    job.sound.cancel()
            self._waiting = deque(job for job in self._waiting if not job.sound.cancelled())
            of: dict[int, list[Job]] = {}
            for job in self._waiting:
                of.setdefault(id(job.stream), []).append(job)
            group = _firsts(of.values()) or _longest(of.values())
            taken = {job for jobs in group for job in jobs}
            self._waiting = deque(job for job in self._waiting if job not in taken)
            return group

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


def _longest(waiting: Iterable[list[Job]]) -> list[list[Job]]:
    """The frames of the stream that has waited longest, up to GROUP, and those of all that have as many."""
    heads = [jobs[:GROUP] for jobs in waiting]
    return [jobs for jobs in heads if len(jobs) == len(heads[0])]
