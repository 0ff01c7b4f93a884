"""Measurements as a picture, a column for each number of threads: what a unit of work was made of, how long one waits,
and what several streams at once say together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from loquor.checkpoints import write_atomically
from loquor.errors import MissingExtra
from loquor.evaluation.speed.bench import Bench
from loquor.evaluation.speed.protocol import Measurement

WIDTH_IN, BAR_IN, MARGIN_IN, PANEL_IN = 7.0, 0.32, 1.2, 2.6
BINS = 40


def plot(bench: Bench, measurements: Sequence[Measurement], path: Path) -> None:
    """The path's ending says which kind of file. MissingExtra without matplotlib."""
    figure, subjects = new_figure(), measurements[0].subjects
    rows: list[Callable[[Any, Measurement], None]] = [partial(_parts, bench)]
    rows += [partial(_samples, name, _shown(bench, subjects)) for name in _sampled(measurements[0])]
    if any(len(of) > 1 for of in bench.scaling.values()):
        rows.append(partial(_throughput, bench))
    heights = [MARGIN_IN + BAR_IN * len(subjects), *[PANEL_IN] * (len(rows) - 1)]
    figure.set_size_inches(WIDTH_IN * len(measurements), sum(heights))
    panels = figure.subplots(len(rows), len(measurements), squeeze=False, height_ratios=heights)
    for column, measurement in enumerate(measurements):
        threads = measurement.rounds[0].threads
        panels[0, column].set_title(f"{threads} thread{'s' * (threads > 1)}")
        for panel, draw in zip(panels[:, column], rows, strict=True):
            panel.spines[["top", "right"]].set_visible(False)
            draw(panel, measurement)
    write_atomically(path, lambda beside: figure.savefig(beside, dpi=150))


def new_figure() -> Any:
    """MissingExtra without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("plots need matplotlib", hint="pip install 'loquor[eval]'") from error
    return Figure(layout="constrained")


def _parts(bench: Bench, panel: Any, measurement: Measurement) -> None:
    """Medians of the parts, stacked."""
    subjects = measurement.subjects
    ends = [0.0] * len(subjects)
    for part in bench.parts:
        widths = [measurement.figure(subject, part).median for subject in subjects]
        panel.barh(subjects, widths, left=ends, label=part.partition(",")[0])
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    panel.invert_yaxis()
    panel.set_xlabel(bench.parts[0].partition(", ")[2])
    panel.legend(frameon=False)


def _sampled(measurement: Measurement) -> list[str]:
    """What there are samples of."""
    return list(dict.fromkeys(name for subject in measurement.subjects for name in measurement.samples(subject)))


def _shown(bench: Bench, subjects: Sequence[str]) -> list[str]:
    """The fewest and the most streams of each backend: more lines could not be told apart."""
    ends = [of[count] for of in bench.scaling.values() for count in sorted({min(of), max(of)})]
    return ends or list(subjects)


def _samples(name: str, subjects: Sequence[str], panel: Any, measurement: Measurement) -> None:
    """A histogram of waits, as shares of each subject's own."""
    found = {subject: measurement.samples(subject)[name] for subject in subjects}
    everything = np.concatenate([np.asarray(values) for values in found.values()])
    edges = np.geomspace(0.9 * max(everything.min(), 1e-3), 1.1 * everything.max(), BINS)
    for subject, values in found.items():
        shares, _ = np.histogram(values, edges)
        panel.stairs(shares / len(values), edges, label=subject)
    panel.set(xlabel=name, ylabel="share", xscale="log")
    panel.legend(frameon=False, fontsize=8)


def _throughput(bench: Bench, panel: Any, measurement: Measurement) -> None:
    """What all streams say together, in seconds of speech a second, against how many they are."""
    for backend, of in bench.scaling.items():
        counts = sorted(of)
        spreads = [measurement.figure(of[count], bench.claim) for count in counts]
        rates = np.array([1 / spread.median for spread in spreads])
        below, above = (np.array([1 / getattr(spread, end) for spread in spreads]) for end in ("high", "low"))
        panel.errorbar(counts, rates, yerr=[rates - below, above - rates], marker="o", capsize=3, label=backend)
    panel.set(xlabel="streams at once", ylabel="s of speech a second", xscale="log", ylim=(0, None))
    panel.set_xticks(counts, [str(count) for count in counts], minor=False)
    panel.minorticks_off()
    panel.axhline(1, color="black", linewidth=1, linestyle=":")
    panel.legend(frameon=False)
