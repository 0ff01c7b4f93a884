"""Which models can be measured: shapes with random weights, by name, and checkpoints, by family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from loquor.engine.load import model_folder
from loquor.errors import ConfigError
from loquor.evaluation.speed import longform, realtime, vita
from loquor.evaluation.speed.bench import Bench, Options
from loquor.models import LONGFORM, REALTIME, VITA, family_of

SHAPES: Mapping[str, Callable[[Options], Bench]] = {
    name: partial(family.bench_shape, name) for family in (realtime, longform, vita) for name in family.SHAPES
}
FOLDERS: Mapping[str, Callable[[Path, Options], Bench]] = {
    REALTIME.name: realtime.bench_folder,
    LONGFORM.name: longform.bench_folder,
    VITA.name: vita.bench_folder,
}


def bench_of(name: str, options: Options) -> Bench:
    """The shape of that name with random weights, or the model it names, as `loquor.load` does.

    ConfigError if the model has no such backend.
    """
    if name in SHAPES:
        return SHAPES[name](options)
    folder = model_folder(name)
    return FOLDERS[family_of(folder).name](folder, options)


def bench_of_shape(name: str, options: Options) -> Bench:
    """A shape with random weights; ConfigError if there is none of that name."""
    if name not in SHAPES:
        raise ConfigError(f"there is no shape {name!r}", hint=f"one of {', '.join(SHAPES)}")
    return SHAPES[name](options)
