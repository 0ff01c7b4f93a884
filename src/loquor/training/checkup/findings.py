"""What a check found: a verdict, the figures it rests on, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from loquor.configs import read_json
from loquor.errors import LoquorError
from loquor.training.dataset.indexing import PLAN
from loquor.training.dataset.reader import Dataset
from loquor.training.recipes.recipe import VibeVoiceRecipe

Verdict = Literal["ok", "warn", "fail"]
Figure = float | int | str | None
SHOWN = 3  # names in a line; JSON has all


@dataclass(frozen=True)
class Finding:
    """One line of the report. `items` are the ids, or names, that it is about."""

    name: str
    verdict: Verdict
    detail: str
    advice: str = ""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    items: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Case:
    """What is examined: a recipe, its model in float32 on the CPU, that model's folder, and the data."""

    recipe: VibeVoiceRecipe
    folder: Path
    model: Any
    data: Dataset  # both splits
    train: Dataset

    @property
    def plan(self) -> Mapping[str, Any]:
        """What the data was prepared with, by the names of the options; nothing, if that is not known."""
        path = self.data.folder / PLAN
        return read_json(path) if path.is_file() else {}


def attempt(name: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What `look` finds; an error of ours, which ends it, is a finding too."""
    try:
        yield from look()
    except LoquorError as error:
        yield failure(name, error)


def failure(name: str, error: LoquorError) -> Finding:
    return Finding(name, "fail", str(error), error.hint)


def some(names: Sequence[str]) -> str:
    """The first few names."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def counted(count: int, noun: str) -> str:
    """1 item, 2 items, 3 batches."""
    ending = "" if count == 1 else "es" if noun.endswith("ch") else "s"
    return f"{count:,} {noun}{ending}"
