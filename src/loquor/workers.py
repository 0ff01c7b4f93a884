"""Work in this process or in several, each of which makes its own tools once, such as a model of one thread."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

import torch

from loquor.errors import LoquorError

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 2  # tasks a worker: one in work, one waiting


def each(make: Callable[[], Callable[[T], R]], tasks: Sequence[T], workers: int) -> Iterator[R]:
    """The result of each task, as they are done, by what `make` makes once in each of so many processes.

    With one worker it is this process. Raises as `in_processes` does.
    """
    count = min(workers, len(tasks))
    if count > 1:
        yield from in_processes(make, tasks, count)
    elif tasks:
        work = make()
        for task in tasks:
            yield work(task)


def in_processes(make: Callable[[], Callable[[T], R]], tasks: Iterable[T], count: int) -> Iterator[R]:
    """The same in `count` processes of one thread each; tasks are taken as they are needed.

    Raises what a task raises; LoquorError if a worker was ended from outside.
    """
    waiting = iter(tasks)
    spawn = get_context("spawn")  # a forked process would inherit torch's threads half alive
    pool = ProcessPoolExecutor(count, spawn, initializer=_start, initargs=(make,))
    try:
        pending = {pool.submit(_work, task) for task in islice(waiting, count * AHEAD)}
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            pending |= {pool.submit(_work, task) for task in islice(waiting, len(done))}
            for future in done:
                yield future.result()
    except BrokenProcessPool:
        message = "a worker was ended from outside, or could not begin; memory is the usual reason"
        raise LoquorError(message, hint="give fewer --workers; what is finished is kept") from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads of torch, and afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_works: list[Callable[[Any], Any]] = []  # of this worker process


def _start(make: Callable[[], Callable[[Any], Any]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches workers too; they end without a word
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _works.append(make())


def _end_with_parent() -> None:
    """A parent that is killed cannot end its workers, and they would wait for work forever."""
    if parent := parent_process():
        parent.join()
        os._exit(1)


def _work(task: Any) -> Any:
    return _works[0](task)
