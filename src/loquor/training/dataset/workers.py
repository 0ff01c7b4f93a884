"""Who makes the shards: this process, several, or a Ray cluster (`on_ray`). All give the same bytes.

A worker computes on one thread: sums come out alike everywhere, and workers do not wait for each other's cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from loquor import workers
from loquor.training.dataset.encoding import SpeechCodec
from loquor.training.dataset.shards import Job, ShardMaker, Task


def in_this_process(job: Job, codec: SpeechCodec, tasks: Iterator[Task]) -> Iterator[tuple[int, bytes]]:
    """One shard after the other."""
    with workers.threads(1):
        yield from map(_maker(job, codec), tasks)


def in_processes(count: int) -> Callable[[Job, SpeechCodec, Iterator[Task]], Iterator[tuple[int, bytes]]]:
    """A runner on so many processes of this machine; each shard is given as soon as it is made."""
    return lambda job, codec, tasks: workers.in_processes(partial(_maker, job), tasks, count)


def _maker(job: Job, codec: SpeechCodec | None = None) -> Callable[[Task], tuple[int, bytes]]:
    """What makes the shard of a task, and numbers it."""
    make = ShardMaker(job, codec)
    return lambda task: (task.number, make(task))
