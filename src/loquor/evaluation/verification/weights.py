"""Numbers that betray damage: no numbers at all, nothing but zeros, or a scale that no sibling of the tensor has.

Siblings are the tensors with the same role in other layers. What is asked of them holds for trained models, whose
layers differ by a few times, and for random ones; a tensor without siblings must only lie within the widest bounds.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from loquor.checkpoints import Entry, Files
from loquor.evaluation.verification.checks import Check
from loquor.evaluation.verification.subject import component_of

PIECE = 1 << 24  # numbers looked at in one go
FEWEST = 3  # tensors of one role, to be compared
SHARE_OF_EMPTY_ROWS = 0.1  # of a matrix; a file whose end was never written has more
EMPTY_VOCABULARY = 0.5  # tokens that nobody uses may have empty rows
SPIKE_SHARE, SPIKE_NUMBERS = 0.5, 1024  # one number that outweighs all others of a matrix of some size
FURTHEST = {"matrix": 50.0, "norm": 100.0, "bias": 1e3, "gamma": 1e3}  # from the median of the role, times
MAY_BE_SMALL = ("bias", "gamma")  # some hardly leave the zero, or the millionth, that they begin with
BOUNDS = {"matrix": (1e-4, 1e2), "norm": (1e-3, 50.0), "bias": (0.0, 1e4), "gamma": (0.0, 1e3), "scalar": (1e-6, 1e6)}
LATENT_SCALE = "latent_scale.scale"
SHOWN = 3
TOLD = 1.1  # times off the median, from which it is said


@dataclass(frozen=True)
class Figures:
    """What a tensor's numbers look like."""

    name: str  # as published
    ours: str
    kind: str  # matrix, norm, bias, gamma, scalar
    is_finite: bool
    size: float  # root mean square, of matrices times that of their inputs: what they make of unit inputs
    peak: float
    empty_rows: float  # share
    spike: float  # share of all energy that the largest number has
    sum: float

    @property
    def role(self) -> str:
        """Its name without the numbers of layers."""
        return re.sub(r"\.\d+", ".*", self.name)

    @property
    def is_vocabulary(self) -> bool:
        return "embed" in self.name or self.ours.startswith("token_head")


def figures_of(files: Files, entries: Sequence[Entry]) -> Iterator[Figures]:
    """The figures of every tensor that a model uses, one after the other; their pages are given back."""
    for entry in entries:
        for name in entry.theirs:
            if entry.ours is None or name not in files.where:
                continue
            tensor = files[name]
            if tensor.is_floating_point():
                yield _figures(name, entry.ours, tensor)
            files.release(name)


def _figures(name: str, ours: str, tensor: Tensor) -> Figures:
    total = energy = peak = 0.0
    empty, rows = 0, tensor.reshape(len(tensor), -1) if tensor.dim() > 1 else tensor.reshape(1, -1)
    for part in torch.split(rows, max(1, PIECE // max(rows.shape[1], 1))):
        numbers = part.double()
        total, energy = total + float(numbers.sum()), energy + float(numbers.square().sum())
        peak = max(peak, float(numbers.abs().max())) if numbers.numel() else peak
        peak = float("nan") if numbers.isnan().any() else peak
        empty += int((~part.bool().any(1)).sum())
    count = max(tensor.numel(), 1)
    spread = (energy / count) ** 0.5
    return Figures(
        name=name,
        ours=ours,
        kind=_kind(ours, tensor),
        is_finite=bool(torch.isfinite(torch.tensor([energy, peak])).all()),
        size=spread * rows.shape[1] ** 0.5 if tensor.dim() > 1 else spread,
        peak=peak,
        empty_rows=empty / len(rows),
        spike=peak**2 / energy if energy > 0 and count >= SPIKE_NUMBERS else 0.0,
        sum=total,
    )


def _kind(ours: str, tensor: Tensor) -> str:
    if tensor.dim() != 1:
        return "matrix" if tensor.dim() else "scalar"
    owner, _, last = ours.rpartition(".")
    if "gamma" in last:
        return "gamma"
    return "norm" if "norm" in owner.rpartition(".")[2] and last == "weight" else "bias"


def judged(figures: Sequence[Figures]) -> list[Check]:
    """A check for each component."""
    siblings = defaultdict[str, list[Figures]](list)
    for one in figures:
        siblings[one.role].append(one)
    faults, doubts = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    furthest: dict[str, tuple[float, str]] = {}
    for one in figures:
        component = component_of(one.ours)
        others = [other for other in siblings[one.role] if other is not one]
        fault = _fault(one) or _fault_beside(one, others)
        faults[component] += [f"{one.name} {fault}"] if fault else []
        doubts[component] += [f"{one.name} equals {twin.name}" for twin in _twins(one, others)]
        furthest[component] = max(furthest.get(component, (1.0, "")), (_times(one, others), one.name))
    return [_check(component, faults[component], doubts[component], furthest[component]) for component in furthest]


def _check(component: str, faults: list[str], doubts: list[str], furthest: tuple[float, str]) -> Check:
    what, against = "weights", "finite, in use, of their siblings' scale"
    found = faults or doubts
    told = "; ".join(found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
    verdict = "fail" if faults else "warn" if doubts else "ok"
    if not told and furthest[0] > TOLD:
        told = f"{furthest[1]} is {furthest[0]:.1f} times off the median"
    return Check(component, what, against, verdict, detail=told)  # type: ignore[arg-type]


def _fault(one: Figures) -> str:
    """What is wrong with a tensor by itself."""
    if not one.is_finite:
        return "has NaN or infinite numbers"
    low, high = BOUNDS[one.kind]
    if one.peak == 0 and one.kind != "bias":
        return "" if one.kind == "scalar" and one.ours != LATENT_SCALE else "holds only zeros"
    allowed = EMPTY_VOCABULARY if one.is_vocabulary else SHARE_OF_EMPTY_ROWS
    if one.kind == "matrix" and one.empty_rows > allowed:
        return f"has only zeros in {one.empty_rows:.0%} of its rows"
    if one.kind == "matrix" and one.spike > SPIKE_SHARE:
        return f"has one number, {one.peak:.3g}, that outweighs all others"
    if not low <= one.size <= high and one.kind != "scalar":
        return f"has a scale of {one.size:.3g}, outside {low:g} to {high:g}"
    return "" if one.kind != "scalar" or one.peak <= high else f"is {one.peak:.3g}"


def _fault_beside(one: Figures, others: Sequence[Figures]) -> str:
    """What is wrong with a tensor among its siblings."""
    if len(others) < FEWEST - 1 or one.kind == "scalar":
        return ""
    if one.peak == 0:
        return "holds only zeros, unlike its siblings" if all(other.peak for other in others) else ""
    times = _times(one, others)
    return f"is {times:.3g} times off the scale of its siblings" if times > FURTHEST[one.kind] else ""


def _times(one: Figures, others: Sequence[Figures]) -> float:
    """How many times larger or smaller than the median of all of the role; 1 without siblings."""
    sizes = [other.size for other in (one, *others) if other.is_finite and other.size > 0]
    if len(sizes) < FEWEST or not one.is_finite or one.size == 0:
        return 1.0
    ratio = one.size / median(sizes)
    return ratio if one.kind in MAY_BE_SMALL else max(ratio, 1 / ratio)


def _twins(one: Figures, others: Sequence[Figures]) -> Iterator[Figures]:
    """Matrices that are the same in two layers, as copies are, told once."""
    for other in others:
        same = (one.size, one.peak, one.sum) == (other.size, other.peak, other.sum)
        if one.kind == "matrix" and same and one.name < other.name:
            yield other


def damaged(checks: Sequence[Check]) -> Mapping[str, str]:
    """Components whose files or weights failed, and why."""
    return {check.component: check.detail for check in checks if check.verdict == "fail"}
