"""A check of `loquor doctor`: its name, how it went, what was seen, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from loquor.errors import LoquorError

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """One finding."""

    name: str
    verdict: Verdict
    detail: str
    advice: str = ""


def attempt(name: str, look: Callable[[], Check]) -> Check:
    """The check `look` makes; an error of ours is a failed one."""
    try:
        return look()
    except LoquorError as error:
        return Check(name, "fail", str(error), error.hint)
