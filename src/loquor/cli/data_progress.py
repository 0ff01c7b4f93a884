"""The progress bar of `loquor data prepare`: on stderr, only on a terminal, gone when the work is done."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from loquor.training.dataset.build import Progress


@contextmanager
def preparation_bar() -> Iterator[Callable[[Progress], None]]:
    """A function that draws how far a preparation is, and how long it will take."""
    if not sys.stderr.isatty() or not logging.getLogger("loquor").isEnabledFor(logging.WARNING):
        yield lambda at: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    figures = TextColumn("items, {task.fields[kept]} kept, {task.fields[hours]:.2f} h;"), TimeRemainingColumn()
    with Bar(
        BarColumn(), MofNCompleteColumn(), *figures, TextColumn("left"), console=Console(stderr=True), transient=True
    ) as bar:

        def draw(at: Progress) -> None:
            hours = at.audio_s / 3600
            if not bar.tasks:  # what an earlier run did says nothing about the time left
                bar.add_task("", total=at.total, completed=at.items, kept=at.kept, hours=hours)
            bar.update(bar.tasks[0].id, completed=at.items, kept=at.kept, hours=hours)

        yield draw
