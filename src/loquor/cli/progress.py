"""The progress bar of `loquor speak`: on stderr, only on a terminal, gone when the work is done."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from loquor.engine.speech import Progress

Draw = Callable[[Progress, int], None]  # and how many characters are read


@contextmanager
def progress_bar(characters: int | None) -> Iterator[Draw]:
    """A function that draws how far a text of so many characters is; None: its length is not known."""
    if not sys.stderr.isatty() or not logging.getLogger("loquor").isEnabledFor(logging.WARNING):
        yield lambda progress, text_end: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    figures = TextColumn("{task.fields[seconds]:.1f} s spoken, real-time factor {task.fields[rtf]:.2f}")
    with Bar(BarColumn(), figures, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=characters, seconds=0.0, rtf=0.0)
        yield lambda progress, text_end: bar.update(
            task, completed=text_end, seconds=progress.seconds, rtf=progress.rtf
        )
