"""Being told to stop: by the keyboard, by a polite kill, by a terminal that closes.

A signal raises an exception wherever the program just is, so that `with` blocks clean up. That may be inside a library
that turns it into an error of its own (torch does, while it makes a tensor of a list); so that we were told is kept.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # not every system has all
told: list[int] = []  # the signals so far


def listen() -> None:
    """From now on a signal ends the program as an exception does."""
    for name in SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    told.append(number)
    raise SystemExit(exit_code())


def exit_code() -> int:
    """What the program ends with, as shells have it."""
    return 128 + told[0]


@contextmanager
def when_interrupted(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` if the block ends because we were told to stop, whatever became of the exception."""
    try:
        yield
    except BaseException:
        if told:
            act()
        raise


@contextmanager
def forgiven(act: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C ends the block, not the program: then call `act`, and go on behind it."""
    try:
        yield
    except BaseException:
        if told != [signal.SIGINT]:
            raise
        told.clear()
        act()
