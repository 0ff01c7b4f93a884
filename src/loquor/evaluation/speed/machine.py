"""What is known of the machine that something is measured on."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

READ_BYTES, READ_TIMES = 2**28, 8  # far more than any cache holds
WORK_BYTES, WORK_TIMES = 2**20, 40  # what a core is given to do: about 30 ms, and nothing of it in memory


def facts() -> dict[str, object]:
    """Processor, cores and torch."""
    return {"processor": _processor(), "cores": os.cpu_count() or 1, "torch": torch.__version__}


def load_average() -> float | None:
    """Programs that wanted to run in the last minute; None where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def core_share(cores: int) -> float:
    """What a core does beside so many others, by what it does alone: 1 on a quiet machine that has them."""
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(_work, range(cores)))  # the threads are there
        began = time.perf_counter()
        _work(0)
        alone = time.perf_counter() - began
        began = time.perf_counter()
        list(pool.map(_work, range(cores)))
        return min(1.0, alone / (time.perf_counter() - began))


def bandwidth() -> float:
    """Bytes a second that torch, with as many threads as it has, reads of memory: the best of some passes."""
    numbers = torch.ones(READ_BYTES // 4)
    times = []
    for _ in range(READ_TIMES):
        began = time.perf_counter()
        numbers.sum()
        times.append(time.perf_counter() - began)
    return READ_BYTES / min(times)


def _work(_: int) -> None:
    data = bytes(WORK_BYTES)
    for _ in range(WORK_TIMES):
        hashlib.sha256(data)  # which lets other threads run


def _processor() -> str:
    """The name of the processor, as the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
