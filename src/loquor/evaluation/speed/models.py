"""Which models can be measured: shapes with random weights, by name, and checkpoints, by family."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from loquor.errors import ConfigError
from loquor.evaluation.speed import realtime, vita
from loquor.evaluation.speed.bench import Bench
from loquor.models import DTYPES, REALTIME, VITA, family_of

SHAPES: Mapping[str, Callable[[torch.dtype | None, int], Bench]] = {
    name: partial(vita.bench_shape, name) for name in vita.SHAPES
}


def bench_of_shape(name: str, dtype: str | None, length: int, backends: Sequence[str] = ()) -> Bench:
    """A shape with random weights; ConfigError if there is none of that name, or it has no such backend."""
    chosen = DTYPES[dtype] if dtype else None
    if name in realtime.SHAPES:
        return realtime.bench_shape(name, chosen, length, backends)
    if name not in SHAPES:
        raise ConfigError(f"there is no shape {name!r}", hint=f"one of {', '.join([*SHAPES, *realtime.SHAPES])}")
    _require_torch(name, backends)
    return SHAPES[name](chosen, length)


def bench_of_folder(folder: Path, dtype: str | None, length: int, backends: Sequence[str] = ()) -> Bench:
    """The model in `folder`; ConfigError if it is of a family that nothing here measures, or has no such backend."""
    family, chosen = family_of(folder), DTYPES[dtype] if dtype else None
    if family is REALTIME:
        return realtime.bench_folder(folder, chosen, length, backends)
    if family is not VITA:
        known = ", ".join([REALTIME.name, VITA.name])
        raise ConfigError(f"{folder} is a {family.name} model, which bench cannot measure yet", hint=f"it can: {known}")
    _require_torch(str(folder), backends)
    return vita.bench_folder(folder, chosen, length)


def _require_torch(what: str, backends: Sequence[str]) -> None:
    if other := [name for name in backends if name != "torch"]:
        raise ConfigError(f"{what} runs on torch only, not on {other[0]}", hint="leave the backend out")
