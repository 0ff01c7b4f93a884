"""Histograms of a data set: how long its items are, how loud they were recorded, how fast they are said."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from loquor.checkpoints import write_atomically

logger = logging.getLogger(__name__)

AXES = {  # file, what is drawn along
    "seconds": ("durations.png", "seconds of an item"),
    "level_dbfs": ("levels.png", "RMS as recorded, dBFS"),
    "pace": ("paces.png", "pace, times the usual"),
    "wer": ("word_error_rates.png", "word error rate of the recogniser"),
}


def draw_histograms(figures: Mapping[str, Sequence[float]], folder: Path) -> None:
    """A picture of each figure that has values, in `folder`; a warning instead where matplotlib is missing."""
    try:
        import matplotlib as mpl
    except ImportError:
        logger.warning("no plots: they are drawn with matplotlib, pip install 'loquor[train]'")
        return
    mpl.use("Agg")
    for name, values in figures.items():
        if values:
            file, label = AXES[name]
            write_atomically(folder / file, partial(_draw, values, label))


def _draw(values: Sequence[float], label: str, path: Path) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.5))
    axes.hist(values, bins=min(60, max(10, round(len(values) ** 0.5))))
    median = float(np.median(values))
    axes.axvline(median, color="black", linewidth=1, label=f"median {median:.2f}")
    axes.set(xlabel=label, ylabel="items")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
