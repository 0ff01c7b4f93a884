"""Is what a model says a sound at all?"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from loquor.evaluation.verification.checks import Check

LOUDEST = 1e3  # far above full scale, which is 1
SOFTEST_DBFS = -80.0


def heard(component: str, what: str, waveform: Tensor, told: str = "") -> Check:
    """Finite, and neither silent nor absurdly loud; what a random model says may clip."""
    against = "a sound"
    if not waveform.numel():
        return Check(component, what, against, "fail", detail="nothing is said")
    if not torch.isfinite(waveform).all():
        return Check(component, what, against, "fail", detail="samples that are no numbers")
    peak, level = float(waveform.abs().max()), float(waveform.square().mean().sqrt())
    decibels = 20 * math.log10(level) if level else -math.inf
    detail = f"{decibels:.1f} dBFS{', ' + told if told else ''}"
    if peak > LOUDEST or level == 0:
        return Check(component, what, against, "fail", detail=detail)
    return Check(component, what, against, "ok" if peak <= 1 and decibels > SOFTEST_DBFS else "warn", detail=detail)
