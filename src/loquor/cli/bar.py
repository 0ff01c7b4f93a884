"""The progress bars of all commands: on stderr, only on a terminal, none with -q, gone when the work is done."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Part(Enum):
    """What a line can show beside text."""

    bar = auto()
    count = auto()  # 3/12
    time_left = auto()


class Bar:
    """A line for each stage of some work; without a terminal, nothing."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self._stages: dict[str, TaskID] = {}

    def show(self, stage: str, done: float, total: float | None, **fields: Any) -> None:
        """Draw how far a stage is, of a total that may not be known; `fields` are what its texts name."""
        if self._progress is None:
            return
        if stage not in self._stages:
            self._stages[stage] = self._progress.add_task(stage, total=None, **fields)
        self._progress.update(self._stages[stage], total=total, completed=done, **fields)


@contextmanager
def terminal_bar(*columns: Part | str) -> Iterator[Bar]:
    """A bar whose lines show these; a text is a format of rich's `task`: "{task.description}" is the stage."""
    if not is_watched():
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    parts = {Part.bar: BarColumn, Part.count: MofNCompleteColumn, Part.time_left: TimeRemainingColumn}
    drawn = [TextColumn(column) if isinstance(column, str) else parts[column]() for column in columns]
    with Progress(*drawn, console=Console(stderr=True), transient=True) as progress:
        yield Bar(progress)


def is_watched() -> bool:
    """Whether somebody sees a bar."""
    return sys.stderr.isatty() and logging.getLogger("loquor").isEnabledFor(logging.WARNING)
