"""A step of a verification: a component, and the checks of it, which are made when the step's turn has come."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from loquor.evaluation.verification.checks import Check


@dataclass(frozen=True)
class Step:
    """What is looked at next."""

    component: str
    look: Callable[[], Iterable[Check]]
