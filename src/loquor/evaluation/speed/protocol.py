"""How speed is measured: what is compared takes turns in one process, round after round.

A machine is never the same twice, so figures of different times are no comparison. A figure is the median over rounds,
a comparison the median of the ratios within each round, with its range. Rounds in which other programs had the
processor are left out, and counted: with one thread, where a go took a tenth longer than it worked; with several,
where cores side by side do less than 95 % of what they do alone, just before the round or just after it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch

from loquor.evaluation.speed.machine import core_share, load_average

MOST_WALL = 1.1  # times the processor's time, of a go with one thread
LEAST_SHARE = 0.95  # of what cores do alone, side by side
TRIES = 2  # rounds for each that is asked for
SHARES = (50, 95, 99)  # percentiles that are told

Figures = Mapping[str, float]
Samples = Mapping[str, Sequence[float]]


class Outcome(NamedTuple):
    """What a go gives: figures, and what there was many a time, such as waits. Names say the unit."""

    figures: Figures
    samples: Samples = MappingProxyType({})


@dataclass(frozen=True)
class Subject:
    """What takes turns with others. It runs on `backend`, and is compared with `than`, or with the first of all."""

    name: str
    go: Callable[[], Outcome]
    backend: str = "torch"
    than: str = ""


@dataclass(frozen=True)
class Go:
    """One turn of a subject."""

    figures: Figures
    wall_s: float
    cpu_s: float  # of all threads of the process
    samples: Samples = field(default_factory=dict)


@dataclass(frozen=True)
class Round:
    """One turn of every subject."""

    goes: Mapping[str, Go]
    threads: int
    load: float | None  # programs that wanted to run, before it; None where the system does not say
    core_share: float | None  # with several threads: what a core does beside the others, by what it does alone

    @property
    def is_quiet(self) -> bool:
        """Whether the machine was ours."""
        if self.core_share is not None:
            return self.core_share >= LEAST_SHARE
        return all(go.wall_s <= MOST_WALL * go.cpu_s for go in self.goes.values())


class Spread(NamedTuple):
    """A figure over rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        found = list(values)
        return cls(statistics.median(found), min(found), max(found))


@dataclass(frozen=True)
class Measurement:
    """All rounds with one number of threads. `than` says what a subject is compared with, if not with the first."""

    rounds: tuple[Round, ...]
    than: Mapping[str, str] = field(default_factory=dict)

    @property
    def quiet(self) -> tuple[Round, ...]:
        return tuple(r for r in self.rounds if r.is_quiet)

    @property
    def counted(self) -> tuple[Round, ...]:
        """The rounds that figures are taken from: the quiet ones, or all, if none was."""
        return self.quiet or self.rounds

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(self.rounds[0].goes)

    def names(self, subject: str) -> tuple[str, ...]:
        """The figures there are of a subject."""
        return tuple(self.rounds[0].goes[subject].figures)

    def figure(self, subject: str, name: str) -> Spread:
        return Spread.of(r.goes[subject].figures[name] for r in self.counted)

    def samples(self, subject: str) -> dict[str, list[float]]:
        """Of all rounds together, by name."""
        names = self.rounds[0].goes[subject].samples
        return {name: [value for r in self.counted for value in r.goes[subject].samples[name]] for name in names}

    def ratio(self, subject: str, name: str) -> Spread | None:
        """A figure by that of the subject it is compared with, round by round; None where that has none."""
        first = self.than.get(subject) or self.subjects[0]
        pairs = [(r.goes[subject].figures[name], r.goes[first].figures.get(name)) for r in self.counted]
        found = [mine / its for mine, its in pairs if its]
        return Spread.of(found) if len(found) == len(pairs) else None

    def as_dict(self) -> dict[str, Any]:
        """For machines: what was counted, and every round as it was."""
        return {
            "threads": self.rounds[0].threads,
            "rounds": len(self.counted),
            "discarded": len(self.rounds) - len(self.counted),
            "was_quiet": bool(self.quiet),
            "load": Spread.of(r.load or 0.0 for r in self.counted)._asdict(),
            "subjects": {subject: self._facts(subject) for subject in self.subjects},
            "every_round": [_as_dict(r) for r in self.rounds],
        }

    def _facts(self, subject: str) -> dict[str, Any]:
        names = self.names(subject)
        ratios = {name: found._asdict() for name in names if (found := self.ratio(subject, name))}
        facts = {"figures": {name: self.figure(subject, name)._asdict() for name in names}, "ratios": ratios}
        return facts | {"percentiles": {name: percentiles(found) for name, found in self.samples(subject).items()}}


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 of so many samples."""
    found = np.percentile(samples, SHARES).tolist()
    return {f"p{share}": value for share, value in zip(SHARES, found, strict=True)} | {"count": len(samples)}


def _as_dict(r: Round) -> dict[str, Any]:
    goes = {name: {"wall_s": go.wall_s, "cpu_s": go.cpu_s, **go.figures} for name, go in r.goes.items()}
    return {"is_quiet": r.is_quiet, "load": r.load, "core_share": r.core_share, "goes": goes}


def measure(
    subjects: Sequence[Subject], rounds: int, threads: int, told: Callable[[Round], None] = lambda _: None
) -> Measurement:
    """Rounds until so many were quiet, at most twice as many, after one go of each to warm up.

    `told` hears of each round. The number of threads of the process stays as it was.
    """
    before, found = torch.get_num_threads(), list[Round]()
    torch.set_num_threads(threads)
    try:
        for subject in subjects:
            subject.go()
        while sum(r.is_quiet for r in found) < rounds and len(found) < TRIES * rounds:
            found.append(_round(subjects, threads))
            told(found[-1])
    finally:
        torch.set_num_threads(before)
    return Measurement(tuple(found), {subject.name: subject.than for subject in subjects if subject.than})


def _round(subjects: Sequence[Subject], threads: int) -> Round:
    load, shares = load_average(), list[float]()
    if threads > 1:
        shares.append(core_share(threads))
    goes = {subject.name: _go(subject) for subject in subjects}
    if threads > 1:
        shares.append(core_share(threads))
    return Round(goes, threads, load, min(shares, default=None))


def _go(subject: Subject) -> Go:
    wall, cpu = time.perf_counter(), time.process_time()
    figures, samples = subject.go()
    return Go(figures, time.perf_counter() - wall, time.process_time() - cpu, samples)
