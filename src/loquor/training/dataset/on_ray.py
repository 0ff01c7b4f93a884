"""The same shards on a Ray cluster: a Ray Data job whose actors each hold the codec once.

Actors only compute and send the bytes of a shard back; the process that started the job writes them. So nodes need to
read the recordings and the model under the same paths, and to write nowhere.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from loquor.errors import LoquorError, MissingExtra
from loquor.training.dataset.encoding import SpeechCodec
from loquor.training.dataset.shards import Job, ShardMaker, Task

QUIETER = {  # of Ray's own loggers, which otherwise tell every step, and that our rows are no columns of numbers
    "": logging.WARNING,
    "._internal.progress": logging.ERROR,
    "._internal.tensor_extensions.arrow": logging.ERROR,
}


def on_ray(workers: int) -> Callable[[Job, SpeechCodec, Iterator[Task]], Iterator[tuple[int, bytes]]]:
    """A runner with so many actors of one core each on the cluster at $RAY_ADDRESS, else on a local one.

    MissingExtra where Ray is not installed.
    """
    try:
        import ray.data
    except ImportError:
        raise MissingExtra("preparing on a cluster needs Ray", hint="pip install 'loquor[ray]'") from None
    return partial(_on_ray, ray, workers)


class ShardActor:
    """Lives on a node and makes the shards that it is sent, a row each."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(1)
        self.make = ShardMaker(job)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"number": row["task"].number, "shard": self.make(row["task"])}


def _on_ray(ray: Any, workers: int, job: Job, codec: SpeechCodec, tasks: Iterator[Task]) -> Iterator[tuple[int, bytes]]:
    rows = [{"task": task} for task in tasks]
    if not rows:
        return
    started_here = not ray.is_initialized()
    if started_here:
        ray.init(log_to_driver=False, logging_level=logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False
    for part, level in QUIETER.items():
        logging.getLogger(f"ray.data{part}").setLevel(level)
    try:
        # a block a row, or a node that is given a hundred shards would send none before it has made them all
        shards = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            ShardActor,
            fn_constructor_args=(job,),
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows))),
            num_cpus=1,
            num_gpus=1 if job.device == "cuda" else None,
        )
        for row in shards.iter_rows():
            yield row["number"], row["shard"]
    except ray.exceptions.RayError as error:
        told = str(error).strip().splitlines()[-1]  # above it stands a traceback, which the cause below carries too
        raise LoquorError(f"the Ray job failed: {told}", hint="what is finished is kept: run it again") from error
    finally:
        if started_here:
            ray.shutdown()
