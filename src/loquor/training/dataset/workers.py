"""Who makes the shards: this process, several, or a Ray cluster (`on_ray`). All give the same bytes.

A worker computes on one thread: sums come out alike everywhere, and workers do not wait for each other's cores.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import islice
from multiprocessing import get_context, parent_process

import torch

from loquor.errors import LoquorError
from loquor.training.dataset.encoding import SpeechCodec
from loquor.training.dataset.shards import Job, ShardMaker, Task

AHEAD = 2  # tasks a worker: one in work, one waiting


@contextmanager
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_this_process(job: Job, codec: SpeechCodec, tasks: Iterator[Task]) -> Iterator[tuple[int, bytes]]:
    """One shard after the other."""
    with one_thread():
        make = ShardMaker(job, codec)
        for task in tasks:
            yield task.number, make(task)


def in_processes(count: int) -> Callable[[Job, SpeechCodec, Iterator[Task]], Iterator[tuple[int, bytes]]]:
    """A runner on so many processes of this machine; each shard is given as soon as it is made."""
    return partial(_in_processes, count)


def _in_processes(count: int, job: Job, codec: SpeechCodec, tasks: Iterator[Task]) -> Iterator[tuple[int, bytes]]:
    spawn = get_context("spawn")  # a forked process would inherit torch's threads half alive
    pool = ProcessPoolExecutor(count, spawn, initializer=_start, initargs=(job,))
    try:
        pending = {pool.submit(_make, task) for task in islice(tasks, count * AHEAD)}
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            pending |= {pool.submit(_make, task) for task in islice(tasks, len(done))}
            for future in done:
                yield future.result()
    except BrokenProcessPool:
        message = "a worker was ended from outside, or could not begin; memory is the usual reason"
        raise LoquorError(message, hint="give fewer --workers; what is finished is kept") from None
    finally:
        pool.shutdown(cancel_futures=True)


_maker: list[ShardMaker] = []  # of this worker process


def _start(job: Job) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches workers too; they end without a word
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _maker.append(ShardMaker(job))


def _end_with_parent() -> None:
    """A parent that is killed cannot end its workers, and they would wait for work forever."""
    if parent := parent_process():
        parent.join()
        os._exit(1)


def _make(task: Task) -> tuple[int, bytes]:
    return task.number, _maker[0](task)
