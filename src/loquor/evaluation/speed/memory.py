"""How much memory a subject speaks with: the most a process of its own holds, from when its model is ready."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from loquor.evaluation.speed.bench import Options
from loquor.evaluation.speed.models import bench_of
from loquor.evaluation.speed.protocol import Subject
from loquor.workers import in_processes

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
ANEW = "5"  # written to RESET: the highest resident memory is counted from now on (proc(5))


def peak_mib(model: str, options: Options, subject: Subject, threads: int) -> float | None:
    """The most memory of one go of `subject` (named as `bench_of(model)` names it), with torch, in MiB.

    What making the model took, as random weights or in other bits, is given back before. None where the system does
    not count so: Linux does.
    """
    if not RESET.exists():
        return None
    wanted = replace(options, backends=(subject.backend,))
    (found,) = in_processes(partial(_measurer, model, wanted, threads), [subject.name], 1)
    return found


def _measurer(model: str, options: Options, threads: int) -> Callable[[str], float]:
    torch.set_num_threads(threads)
    subjects = {subject.name: subject for subject in bench_of(model, options).subjects}
    return lambda name: peak_of(subjects[name])


def peak_of(subject: Subject) -> float:
    """Of one go in this process, in MiB."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    RESET.write_text(ANEW, encoding="ascii")
    subject.go()
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
