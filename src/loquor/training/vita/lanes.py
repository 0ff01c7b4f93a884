"""Rows for the batches of every step, in the same order however many processes share them.

The batches of a step are numbered, and each number is a lane of its own: it goes through its part of the
conversations, row after row and pass after pass, each pass in another order. A process reads the lanes of its batches.
So what is learned does not depend on the number of processes, and the places of all lanes are where a run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from loquor.training.vita.feed import Feed, Tally
from loquor.training.vita.packing import PackedRow

OpenPass = Callable[[int], Feed]  # of its number


class Lane:
    """The rows of one batch of every step, without end."""

    def __init__(self, open_pass: OpenPass, place: dict[str, Any] | None = None) -> None:
        self._open = open_pass
        self.number = place["pass"] if place else 0
        self.feed = open_pass(self.number)
        if place:
            self.feed.resume(place["feed"])

    def place(self) -> dict[str, Any]:
        """Where the lane is, as JSON takes it."""
        return {"pass": self.number, "feed": self.feed.place()}

    def __iter__(self) -> Iterator[PackedRow]:
        """InputError as of `Feed`; each of its passes gives a row, or raises."""
        while True:
            yield from self.feed
            self.number += 1
            tally = self.feed.tally
            self.feed = self._open(self.number)
            self.feed.tally = tally


def tally_of(places: dict[str, Any]) -> Tally:
    """What became of the conversations of all lanes."""
    total = Tally()
    for place in places.values():
        total.seen += place["feed"]["seen"]
        total.skipped.update(place["feed"]["skipped"])
    return total
