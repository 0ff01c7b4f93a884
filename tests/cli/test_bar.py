"""The bars of all commands."""

import io
import logging
import re
import sys

import pytest

from loquor.cli.bar import Part, terminal_bar

LINES = Part.bar, Part.count, "{task.description}, loss {task.fields[loss]:.1f}"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def drawn(stderr, monkeypatch):
    """What two stages of some work show."""
    monkeypatch.setattr(sys, "stderr", stderr)
    with terminal_bar(*LINES) as bar:
        bar.show("takes", 12, 12, loss=1.25)
        bar.show("steps", 3, None, loss=0.5)
        bar.show("steps", 7, 40, loss=0.25)
    return stderr.getvalue()


def test_every_stage_has_a_line_that_tells_where_it_is_now(monkeypatch):
    shown = drawn(Terminal(), monkeypatch)
    text = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", shown)
    assert "12/12 takes, loss 1.2" in text
    assert "7/40 steps, loss 0.2" in text
    assert shown.rsplit("steps", 1)[1].count("\x1b[2K") == 2  # both lines are gone at the end


@pytest.mark.parametrize(
    ("stderr", "level"), [(io.StringIO(), logging.WARNING), (Terminal(), logging.ERROR)], ids=["no terminal", "-q"]
)
def test_nothing_is_drawn_where_nobody_looks_or_wants_it(stderr, level, monkeypatch, caplog):
    caplog.set_level(level, "loquor")
    assert drawn(stderr, monkeypatch) == ""
