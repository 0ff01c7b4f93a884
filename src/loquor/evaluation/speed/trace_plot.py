"""A frame as a picture: its parts as long as they take, below each its operators by kind, above it the bytes bound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loquor.checkpoints import write_atomically
from loquor.evaluation.speed.plot import new_figure
from loquor.evaluation.speed.trace import PARTS, REST, Trace

WIDTH_IN, PANEL_IN = 10.0, 2.2
SHOWN = 0.04  # of a frame: operators that take less are drawn together
LETTER = 0.011  # of a frame: what a letter takes
OTHERS = "others"
ROWS = {"bound": 2.0, "part": 1.0, "operators": 0.0}
HATCHED = {"facecolor": "none", "edgecolor": "black", "hatch": "////", "linewidth": 0.6}


def draw(traces: Sequence[Trace], path: Path) -> None:
    """The path's ending says which kind of file. MissingExtra without matplotlib."""
    figure = new_figure()
    figure.set_size_inches(WIDTH_IN, PANEL_IN * len(traces))
    panels = figure.subplots(len(traces), 1, squeeze=False)[:, 0]
    for panel, trace in zip(panels, traces, strict=True):
        _panel(panel, trace)
    write_atomically(path, lambda beside: figure.savefig(beside, dpi=150))


def _panel(panel: Any, trace: Trace) -> None:
    whole, start = sum(trace.ms(part) for part in PARTS), 0.0
    for i, part in enumerate(PARTS):
        ms, bound = trace.ms(part), trace.bound_ms(part)
        panel.barh(ROWS["bound"], bound, left=start, height=0.5, **HATCHED)
        panel.barh(ROWS["part"], ms, left=start, height=0.9, color=f"C{i}")
        _label(panel, ROWS["part"], start, ms, whole, f"{part} {ms:.1f}")
        left = start
        for j, (kind, kind_ms) in enumerate(_gathered(trace.kinds(part), SHOWN * whole).items()):
            shade = 0.75 if j % 2 else 0.5
            panel.barh(ROWS["operators"], kind_ms, left=left, height=0.9, color=f"C{i}", alpha=shade, linewidth=0)
            _label(panel, ROWS["operators"], left, kind_ms, whole, kind.removeprefix("aten::"))
            left += kind_ms
        start += ms
    bound = sum(trace.bound_ms(part) for part in PARTS)
    panel.set_yticks(list(ROWS.values()), list(ROWS))
    panel.set_xlabel("ms of a frame")
    panel.set_title(f"{trace.title}: {whole:.0f} ms, weights at {trace.bandwidth / 1e9:.0f} GB/s {bound:.0f} ms")
    panel.spines[["top", "right"]].set_visible(False)


def _gathered(kinds: dict[str, float], least: float) -> dict[str, float]:
    """Those that take little as one."""
    large = {kind: ms for kind, ms in kinds.items() if ms >= least and kind != REST}
    small = sum(ms for kind, ms in kinds.items() if ms < least and kind != REST)
    return large | {OTHERS: small, REST: kinds[REST]}


def _label(panel: Any, row: float, start: float, width: float, whole: float, text: str) -> None:
    """Where there is room for it."""
    if width > LETTER * whole * len(text):
        panel.text(start + width / 2, row, text, ha="center", va="center", fontsize=7)
