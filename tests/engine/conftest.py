"""No test of the engine may hang, or leave a thread behind."""

from __future__ import annotations

import faulthandler
import threading
import time
from collections.abc import Iterator

import pytest

HANGS_AFTER_S = 300
OURS = ("loquor-engine", "loquor-text")


@pytest.fixture(autouse=True)
def all_threads_end() -> Iterator[None]:
    faulthandler.dump_traceback_later(HANGS_AFTER_S, exit=True)
    yield
    deadline = time.monotonic() + 30
    while (left := [t.name for t in threading.enumerate() if t.name in OURS]) and time.monotonic() < deadline:
        time.sleep(0.01)
    faulthandler.cancel_dump_traceback_later()
    assert not left
