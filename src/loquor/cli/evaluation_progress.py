"""The progress bar of `loquor eval`: on stderr, only on a terminal, gone when the work is done."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from loquor.evaluation.run import Progress


@contextmanager
def evaluation_bar() -> Iterator[Callable[[Progress], None]]:
    """A function that draws how far an evaluation is."""
    if not sys.stderr.isatty() or not logging.getLogger("loquor").isEnabledFor(logging.WARNING):
        yield lambda at: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks = {}

        def draw(at: Progress) -> None:
            if at.stage not in tasks:  # what an earlier run did says nothing about the time left
                tasks[at.stage] = bar.add_task(at.stage, total=at.total, completed=at.done)
            bar.update(tasks[at.stage], completed=at.done)

        yield draw
