"""A check: what of a checkpoint was looked at, against what, how far apart the two were, and what that means.

A difference is the largest one between two tensors, as a share of the largest value of the second: so one tolerance
fits layers of any scale.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Verdict = Literal["ok", "warn", "fail"]
Pair = tuple[str, Tensor, Tensor]  # where, what was computed, what it must be

TOLERANCES = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}  # only the order of sums may differ
NARROW = torch.bfloat16  # the type of the published weights, which every part must bear
NARROW_BOUND = 0.1  # eight bits round by 0.4 %, some ten times in a row; a lost constant is off by half


@dataclass(frozen=True)
class Check:
    """One finding."""

    component: str  # as `loquor inspect` calls it; or config, files, tokenizer, voice NAME, end to end
    what: str
    against: str
    verdict: Verdict = "ok"
    difference: float | None = None  # None: nothing was measured
    tolerance: float | None = None
    detail: str = ""  # where the difference is, or what is wrong


def difference(actual: Tensor, expected: Tensor) -> float:
    """The largest difference as a share of the largest expected value; infinite where a number is no number."""
    if actual.shape != expected.shape:
        return math.inf
    if not expected.numel():
        return 0.0
    a, b = actual.double(), expected.double()
    scale, apart = b.abs().max(), (a - b).abs().max()
    value = float(apart / scale) if scale > 0 else float(apart)
    return value if math.isfinite(value) else math.inf


def compare(component: str, what: str, against: str, pairs: Iterable[Pair], tolerance: float) -> Check:
    """The pair that is furthest apart; it fails beyond the tolerance."""
    measured = [(difference(actual, expected), where) for where, actual, expected in pairs]
    worst, where = max(measured, default=(0.0, ""))
    return Check(component, what, against, "ok" if worst <= tolerance else "fail", worst, tolerance, where)
