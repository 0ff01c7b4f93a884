"""How far an episode is: a bar on a terminal, a line now and then in a log.

The bar stands on stderr and is gone when the work is done. Without a terminal, `-v` logs a line for every take.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from loquor.audio.chapters import clock
from loquor.cli.bar import Part, is_watched, terminal_bar
from loquor.engine.podcast.produce import Progress

logger = logging.getLogger(__name__)

Draw = Callable[[Progress], None]


@contextmanager
def podcast_progress() -> Iterator[Draw]:
    """A function that shows how far a production is."""
    if not is_watched():
        yield TakeLog()
        return
    with terminal_bar(Part.bar, "{task.fields[line]}") as bar:
        yield lambda progress: bar.show("", progress.seconds, progress.expected_s, line=in_a_line(progress))


class TakeLog:
    """Logs when another take begins."""

    def __init__(self) -> None:
        self._begun = (-1, 0)

    def __call__(self, progress: Progress) -> None:
        if (progress.take, progress.attempt) != self._begun:
            self._begun = progress.take, progress.attempt
            logger.info("%s", in_a_line(progress))


def in_a_line(progress: Progress) -> str:
    """Take 3 of 12, 00:01:05 of 00:04:10 spoken, 00:02:00 left."""
    take = f"take {progress.take + 1} of {progress.takes}"
    if progress.attempt:
        take += f" (attempt {progress.attempt + 1})"
    said = f"{short_clock(progress.seconds)} of {short_clock(progress.expected_s)} spoken"
    left = "" if progress.left_s is None else f", {short_clock(progress.left_s)} left"
    return f"{take}, {said}{left}"


def short_clock(seconds: float) -> str:
    """65.2 as 00:01:05."""
    return clock(round(seconds)).partition(".")[0]
