"""Which models can be measured: shapes with random weights, by name, and checkpoints, by family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

from loquor.errors import ConfigError
from loquor.evaluation.speed import vita
from loquor.evaluation.speed.bench import Bench
from loquor.models import DTYPES, VITA, family_of

SHAPES: Mapping[str, Callable[[torch.dtype | None, int], Bench]] = {
    name: partial(vita.bench_shape, name) for name in vita.SHAPES
}
CHECKPOINTS: Mapping[str, Callable[[Path, torch.dtype | None, int], Bench]] = {VITA.name: vita.bench_folder}


def bench_of_shape(name: str, dtype: str | None, length: int) -> Bench:
    """A shape with random weights; ConfigError if there is none of that name."""
    if name not in SHAPES:
        raise ConfigError(f"there is no shape {name!r}", hint=f"one of {', '.join(SHAPES)}")
    return SHAPES[name](DTYPES[dtype] if dtype else None, length)


def bench_of_folder(folder: Path, dtype: str | None, length: int) -> Bench:
    """The model in `folder`; ConfigError if it is of a family that nothing here measures."""
    family = family_of(folder)
    if family.name not in CHECKPOINTS:
        known = ", ".join(CHECKPOINTS)
        raise ConfigError(f"{folder} is a {family.name} model, which bench cannot measure yet", hint=f"it can: {known}")
    return CHECKPOINTS[family.name](folder, DTYPES[dtype] if dtype else None, length)
