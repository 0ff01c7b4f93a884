"""Two systems on the same items: how much they differ, and whether that may be luck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loquor.errors import InputError
from loquor.evaluation.report import AVERAGED, Case, Report
from loquor.evaluation.statistics import holm, paired_difference

SURE = 0.05
TIMES = ("first_audio_ms", "rtf")  # of one machine only
COMPARED = (*AVERAGED, *TIMES)


@dataclass(frozen=True)
class Contrast:
    """One figure of both, over the cases that both have; `p` is adjusted for how many figures are compared."""

    name: str
    first: float
    second: float
    difference: float  # second less first
    low: float
    high: float
    p: float
    count: int

    @property
    def is_significant(self) -> bool:
        return self.p < SURE


@dataclass(frozen=True)
class Comparison:
    """`notes` say what makes it less than fair."""

    first: str
    second: str
    contrasts: tuple[Contrast, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The comparison as JSON takes it."""
        return asdict(self)


def compare(first: Report, second: Report) -> Comparison:
    """Compare by the items that both reports have. InputError if there are none."""
    pairs = _pairs(first, second)
    found: dict[str, Contrast] = {}
    for unit, name in (("words", "wer"), ("characters", "cer")):
        counted = [(a, b) for a, b in pairs if _tokens(a, unit) and _tokens(a, unit) == _tokens(b, unit)]
        if counted:
            weights = [a.measures["tokens"] for a, _ in counted]
            found[name] = _contrast(name, counted, "errors", weights)
    for name in COMPARED:
        if both := [(a, b) for a, b in pairs if name in a.measures and name in b.measures]:
            found[name] = _contrast(name, both, name)
    adjusted = holm({name: contrast.p for name, contrast in found.items()})
    contrasts = (Contrast(**asdict(contrast) | {"p": adjusted[name]}) for name, contrast in found.items())
    return Comparison(first.system["model"], second.system["model"], tuple(contrasts), _notes(first, second, pairs))


def _pairs(first: Report, second: Report) -> list[tuple[Case, Case]]:
    """Cases of the same task and text, in the order of their ids."""
    others = {(case.id, case.task, case.text): case for case in second.cases}
    pairs = [(a, others[known]) for a in first.cases if (known := (a.id, a.task, a.text)) in others]
    if not pairs:
        raise InputError("the two reports have no item in common", hint="evaluate both systems on the same set")
    return sorted(pairs, key=lambda pair: pair[0].id)


def _tokens(case: Case, unit: str) -> float:
    return case.measures.get("tokens", 0.0) if case.unit == unit else 0.0


def _contrast(name: str, pairs: Sequence[tuple[Case, Case]], measure: str, weights: Sequence[float] = ()) -> Contrast:
    before, after = ([case.measures[measure] for case in cases] for cases in zip(*pairs, strict=True))
    whole = sum(weights) or len(pairs)
    found = paired_difference(before, after, weights)
    return Contrast(name, sum(before) / whole, sum(after) / whole, *found, count=len(pairs))


def _notes(first: Report, second: Report, pairs: Sequence[object]) -> tuple[str, ...]:
    notes = []
    left_out = max(len(first.cases), len(second.cases)) - len(pairs)
    if left_out:
        notes.append(f"{left_out} items are not in both reports and are left out")
    for name in ("transcriber", "rule", "workers", "threads"):
        if first.options.get(name) != second.options.get(name):
            notes.append(f"{name}: {first.options.get(name)} in the first, {second.options.get(name)} in the second")
    different = [name for name, value in first.made_with.items() if second.made_with.get(name) != value]
    if different:
        notes.append(f"made with other {', '.join(different)}")
    return tuple(notes)
