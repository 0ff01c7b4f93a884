"""The result of an evaluation: figures with their intervals, every case worst first, and how all of it was made."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from loquor.checkpoints import write_text
from loquor.errors import InputError
from loquor.evaluation.error_rate import Pair
from loquor.evaluation.performance import Cache
from loquor.evaluation.statistics import mean_interval, percentiles, ratio_interval

FORMAT = 1
FEWEST_FOR_CONSISTENCY = 3
SHARES = (50, 90, 99)


class Measure(NamedTuple):
    """What a figure is called, its unit, and which way is better, if one is."""

    label: str
    unit: str
    better: Literal["lower", "higher", ""]


MEASURES = {
    "wer": Measure("Word error rate", "%", "lower"),
    "wer_of_spoken": Measure("Word error rate where there is sound", "%", "lower"),
    "cer": Measure("Character error rate", "%", "lower"),
    "cer_of_spoken": Measure("Character error rate where there is sound", "%", "lower"),
    "right": Measure("Right answers", "%", "higher"),
    "right_aloud": Measure("Right answers, as heard", "%", "higher"),
    "similarity": Measure("Similarity to the voice asked for", "", "higher"),
    "consistency": Measure("Similarity to its other sentences", "", "higher"),
    "mos": Measure("Predicted opinion (DNSMOS)", "", "higher"),
    "mos_speech": Measure("Predicted opinion of the speech", "", "higher"),
    "mos_background": Measure("Predicted opinion of the background", "", "higher"),
    "mel_cepstral_distance": Measure("Mel-cepstral distance to the reference", "dB", "lower"),
    "pitch_hz": Measure("Pitch, median of a sentence", "Hz", ""),
    "pitch_spread_semitones": Measure("Pitch, spread in a sentence", "semitones", ""),
    "words_per_minute": Measure("Pace", "words/min", ""),
    "pause_share": Measure("Pauses", "%", ""),
    "fault": Measure("Sentences with a fault", "%", "lower"),
    "first_audio_ms": Measure("First audio", "ms", "lower"),
    "gap_ms": Measure("Wait between chunks", "ms", "lower"),
    "stall_ms": Measure("Playback stalls", "ms", "lower"),
    "rtf": Measure("Real-time factor", "", "lower"),
    "seconds": Measure("Speech in all", "s", ""),
    "compute_s": Measure("Computed in all", "s", "lower"),
    "peak_memory_mb": Measure("Peak memory", "MB", "lower"),
    "accelerator_memory_mb": Measure("Peak memory of the accelerator", "MB", "lower"),
}
AVERAGED = (
    *("right", "right_aloud", "similarity", "consistency", "mos", "mos_speech", "mos_background"),
    *("mel_cepstral_distance", "pitch_hz", "pitch_spread_semitones", "words_per_minute", "pause_share", "fault"),
)


def measure_of(figure: str) -> tuple[Measure, str]:
    """The measure of a figure, and its percentile if it is one: first_audio_ms_p90 is that of first_audio_ms, p90."""
    name, _, share = figure.rpartition("_p")
    return (MEASURES[name], f"p{share}") if name in MEASURES else (MEASURES[figure], "")


def in_words(figure: str, value: float) -> str:
    """A value of a figure, in the unit of its measure, which is not said: 0.0889 of a rate is 8.9."""
    measure, _ = measure_of(figure)
    if measure.unit == "%":
        return f"{100 * value:.1f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


@dataclass(frozen=True)
class Figure:
    """A figure over so many cases; with a 95 % interval where it is a mean or a rate."""

    value: float
    count: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Case:
    """An item and what became of it."""

    id: str
    task: str
    text: str
    language: str
    key: str  # of its sound in the cache
    heard: str | None = None
    unit: str = "words"
    pairs: tuple[Pair, ...] = ()
    measures: dict[str, float] = field(default_factory=dict)
    gaps_ms: tuple[float, ...] = ()
    faults: dict[str, str] = field(default_factory=dict)
    error: str = ""
    answers: tuple[str, ...] = ()
    recording: str = ""  # what was to be transcribed or answered
    voice: tuple[float, ...] = field(default=(), repr=False)

    @property
    def badness(self) -> tuple[bool, float, float]:
        """The worst has the most: no result at all, then words wrong, a fault counting like all of them."""
        wrong = self.measures.get("error_rate", 0.0) + self.measures.get("fault", 0.0)
        missed = 1 - self.measures.get("right_aloud", self.measures.get("right", 1.0))
        return (bool(self.error), wrong + missed, -self.measures.get("mos", 5.0))


@dataclass(frozen=True)
class Report:
    """All of an evaluation. Cases stand worst first; `missing` is what nobody measured, and why."""

    system: dict[str, Any]
    options: dict[str, Any]
    made_with: dict[str, str]
    figures: dict[str, Figure]
    cases: tuple[Case, ...]
    missing: dict[str, str]
    cache: Path  # where the sounds are

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON takes it, without the embeddings of voices."""
        cases = [{k: v for k, v in asdict(case).items() if k != "voice"} for case in self.cases]
        figures = {name: asdict(figure) for name, figure in self.figures.items()}
        rest = {"options": self.options, "made_with": self.made_with, "missing": self.missing, "cache": str(self.cache)}
        return {"format": FORMAT, "system": self.system, "figures": figures, **rest, "cases": cases}

    def sound_of(self, case: Case) -> Path:
        """Where the sound of a case is, if it has any: what the system said, or else what it heard."""
        said = Cache(self.cache).sound_path(case.key)
        return Path(case.recording) if case.recording and not said.is_file() else said

    def save(self, path: Path) -> None:
        """Write JSON, in which the place of the sounds is told from where the file lies."""
        placed = self.as_dict() | {"cache": os.path.relpath(self.cache, path.parent.resolve())}
        write_text(path, json.dumps(placed, ensure_ascii=False, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Report:
        """A saved report. InputError if it is none."""
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            if facts.pop("format") != FORMAT:
                raise ValueError("it is of another format")
            cases = tuple(_case(case) for case in facts.pop("cases"))
            figures = {name: Figure(**figure) for name, figure in facts.pop("figures").items()}
            cache = (path.parent / facts.pop("cache")).resolve()
            return cls(**facts, cases=cases, figures=figures, cache=cache)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"{path} is no report: {type(error).__name__} {error}"
            raise InputError(reason, hint="give the report.json that `loquor eval` wrote") from None


def _case(facts: dict[str, Any]) -> Case:
    lists = {name: tuple(facts[name]) for name in ("gaps_ms", "answers")}
    return Case(**facts | lists | {"pairs": tuple((said, heard) for said, heard in facts["pairs"])})


def summarise(cases: Sequence[Case]) -> tuple[dict[str, Figure], tuple[Case, ...]]:
    """Figures over cases, and the cases worst first, each with how much its voice is like the others'."""
    cases = with_consistency(cases)
    figures: dict[str, Figure] = {}
    for unit, name in (("words", "wer"), ("characters", "cer")):
        counted = [case for case in cases if "tokens" in case.measures and case.unit == unit]
        figures |= _error_rates(name, counted)
    for name in AVERAGED:
        if values := values_of(cases, name):
            mean = mean_interval(values)
            figures[name] = Figure(mean.value, len(values), mean.low, mean.high)
    figures |= _latency(cases)
    figures = {name: figures[name] for name in sorted(figures, key=_place)}
    return figures, tuple(sorted(cases, key=lambda case: case.badness, reverse=True))


def values_of(cases: Sequence[Case], name: str) -> list[float]:
    """A measure of the cases that have it."""
    return [case.measures[name] for case in cases if name in case.measures]


def with_consistency(cases: Sequence[Case]) -> list[Case]:
    """Cases with the similarity of each voice to the middle of the others; as they are, if there are few."""
    heard = [case for case in cases if case.voice]
    if len(heard) < FEWEST_FOR_CONSISTENCY:
        return list(cases)
    voices = np.array([case.voice for case in heard])
    others = voices.sum(axis=0) - voices
    alike = (voices * others).sum(axis=1) / np.linalg.norm(others, axis=1)
    found = {case.id: float(value) for case, value in zip(heard, alike, strict=True)}
    return [
        replace(case, measures=case.measures | {"consistency": found[case.id]}) if case.id in found else case
        for case in cases
    ]


def _place(figure: str) -> tuple[int, str]:
    measure, share = measure_of(figure)
    return list(MEASURES.values()).index(measure), share


def _error_rates(name: str, cases: Sequence[Case]) -> dict[str, Figure]:
    """Over all cases; and, as published scripts leave silent ones out, over those that have sound if some have not."""
    figures = {}
    spoken = [case for case in cases if case.task != "speak" or case.measures.get("seconds")]
    for figure, counted in ((name, cases), (f"{name}_of_spoken", spoken if len(spoken) < len(cases) else ())):
        if counted:
            rate = ratio_interval(values_of(counted, "errors"), values_of(counted, "tokens"))
            figures[figure] = Figure(rate.value, len(counted), rate.low, rate.high)
    return figures


def _latency(cases: Sequence[Case]) -> dict[str, Figure]:
    """Percentiles of waits, sums of times, and the most memory."""
    figures = {}
    spread = {name: values_of(cases, name) for name in ("first_audio_ms", "rtf")}
    spread["gap_ms"] = [gap for case in cases for gap in case.gaps_ms]
    for name, values in spread.items():
        for share, value in zip(SHARES, percentiles(values, SHARES) if values else (), strict=False):
            figures[f"{name}_p{share}"] = Figure(value, len(values))
    totals: dict[str, Callable[[list[float]], float]] = {"seconds": sum, "compute_s": sum, "stall_ms": max}
    totals |= {"peak_memory_mb": max, "accelerator_memory_mb": max}
    for name, total in totals.items():
        if values := values_of(cases, name):
            figures[name] = Figure(total(values), len(values))
    return figures
