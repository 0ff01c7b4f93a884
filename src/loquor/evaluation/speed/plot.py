"""Measurements as a picture: what a unit of work was made of, subject by subject, as stacked bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loquor.checkpoints import write_atomically
from loquor.errors import MissingExtra
from loquor.evaluation.speed.bench import Bench
from loquor.evaluation.speed.protocol import Measurement

WIDTH_IN, BAR_IN, MARGIN_IN = 7.0, 0.32, 1.2


def plot(bench: Bench, measurements: Sequence[Measurement], path: Path) -> None:
    """Medians of the parts, a panel for each number of threads; the path's ending says which kind of file.

    MissingExtra without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("plots need matplotlib", hint="pip install 'loquor[eval]'") from error
    subjects = measurements[0].subjects
    size = (WIDTH_IN * len(measurements), MARGIN_IN + BAR_IN * len(subjects))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(measurements), squeeze=False, sharey=True)[0]
    for panel, measurement in zip(panels, measurements, strict=True):
        ends = [0.0] * len(subjects)
        for part in bench.parts:
            widths = [measurement.figure(subject, part).median for subject in subjects]
            panel.barh(subjects, widths, left=ends, label=part.partition(",")[0])
            ends = [end + width for end, width in zip(ends, widths, strict=True)]
        panel.invert_yaxis()
        panel.spines[["top", "right"]].set_visible(False)
        threads = measurement.rounds[0].threads
        panel.set(xlabel=bench.parts[0].partition(", ")[2], title=f"{threads} thread{'s' * (threads > 1)}")
    panels[-1].legend(frameon=False)
    write_atomically(path, lambda beside: figure.savefig(beside, dpi=150))
