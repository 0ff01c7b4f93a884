"""Sounds and pictures that stand inside a page: players, spectrograms, and plots in the colours of the page.

Plots are SVG whose ink is `currentColor` and whose marks are the page's accent, so one picture serves a dark page and a
light one.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from loquor.audio.resample import Waveform
from loquor.errors import MissingExtra

INSTALL_HINT = "pip install 'loquor[eval]'"
HIGHEST_HZ = 8000
ROWS = 128  # of a spectrogram
WINDOW_S, COLUMNS = 0.025, 600
RANGE_DB = 70.0
INK, ACCENT = "#010203", "#030201"  # what matplotlib draws in, to be replaced
SIZE_IN = (4.2, 2.5)


def data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def player_uri(waveform: Waveform, sample_rate_hz: int, is_lossless: bool = False) -> str:
    """Waveform [T] as every browser plays it: mp3, or flac, which sounds as it was."""
    buffer = io.BytesIO()
    name, kind, rest = ("FLAC", "audio/flac", {"subtype": "PCM_16"}) if is_lossless else ("MP3", "audio/mpeg", {})
    soundfile.write(buffer, waveform.clip(-1, 1), sample_rate_hz, format=name, **rest)
    return data_uri(buffer.getvalue(), kind)


def spectrogram_uri(waveform: Waveform, sample_rate_hz: int) -> str:
    """A picture of waveform [T], not empty: time to the right, 0 to 8 kHz upward, the loudest 70 dB."""
    image, colormap = _tools()
    window = round(WINDOW_S * sample_rate_hz)
    padded = np.pad(waveform, (window // 2, window // 2))
    starts = np.linspace(0, len(waveform) - 1, min(COLUMNS, len(waveform))).astype(int)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[starts] * np.hanning(window)
    power = np.abs(np.fft.rfft(frames)).T ** 2  # [frequencies, columns]
    rows = np.linspace(0, HIGHEST_HZ / sample_rate_hz * window, ROWS + 1)
    lows, highs = rows[:-1].astype(int), np.maximum(np.ceil(rows[1:]).astype(int), rows[:-1].astype(int) + 1)
    bands = np.stack([power[low:high].max(axis=0) for low, high in zip(lows, highs, strict=True)])
    decibels = 10 * np.log10(bands + 1e-10)
    shades = np.clip((decibels - decibels.max()) / RANGE_DB + 1, 0, 1)
    picture = image.fromarray((255 * shades[::-1]).astype(np.uint8))
    picture.putpalette((255 * colormap(np.arange(256))[:, :3]).astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return data_uri(buffer.getvalue(), "image/png")


def contour_points(seconds: npt.NDArray[np.float64], hertz: npt.NDArray[np.float64], total_s: float) -> list[str]:
    """A pitch contour as SVG polylines, a stretch each, in a box of 1000 by 100 whose top is 500 Hz."""
    x = 1000 * seconds / max(total_s, 1e-6)
    y = 100 - np.clip(hertz / 500, 0, 1) * 100
    lines, line = [], list[str]()
    for at, up in zip(x, y, strict=True):
        if np.isfinite(up):
            line.append(f"{at:.1f},{up:.1f}")
        elif line:
            lines.append(" ".join(line))
            line = []
    return [*lines, " ".join(line)] if line else lines


def histogram(values: Sequence[float], label: str, unit: str = "") -> str:
    """How many sentences have which value, as SVG."""
    bins = np.linspace(min(values), max(values), 21) if max(values) > min(values) else 11

    def draw(axes: Any) -> None:
        axes.hist(values, bins=bins, color=ACCENT)
        axes.axvline(np.mean(values), color=INK, linewidth=1, linestyle=":")
        axes.set(ylabel="sentences", xlabel=f"{label} [{unit}]" if unit else label)
        axes.yaxis.get_major_locator().set_params(integer=True)

    return _svg(draw)


def cumulated(values: Sequence[float], label: str, unit: str) -> str:
    """Which share of the values lies below what, as SVG."""
    ordered = np.sort(values)

    def draw(axes: Any) -> None:
        axes.step(ordered, 100 * np.arange(1, len(ordered) + 1) / len(ordered), where="post", color=ACCENT)
        axes.set(ylabel="% below", xlabel=f"{label} [{unit}]", ylim=(0, 102))

    return _svg(draw)


def scatter(across: Sequence[float], up: Sequence[float], labels: tuple[str, str]) -> str:
    """Two measures of each sentence against each other, as SVG."""

    def draw(axes: Any) -> None:
        axes.plot(across, up, "o", color=ACCENT, markersize=3.5, alpha=0.8)
        axes.set(xlabel=labels[0], ylabel=labels[1])

    return _svg(draw)


def _svg(draw: Callable[[Any], None]) -> str:
    """A plot as an element of a page; drawn without pyplot, which keeps figures and chooses windows."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("plots need matplotlib", hint=INSTALL_HINT) from error
    style: Any = dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK)
    style |= {"svg.fonttype": "none", "svg.hashsalt": "loquor", "font.size": 9}
    with mpl.rc_context(style):
        figure = Figure(figsize=SIZE_IN, layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.15, color=INK)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    drawn = re.sub(r"^.*?(?=<svg)", "", buffer.getvalue(), flags=re.DOTALL)
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    return drawn.replace(INK, "currentColor").replace(ACCENT, "var(--accent)")


def _tools() -> tuple[Any, Any]:
    """Pillow's Image, which comes with matplotlib, and the colours of spectrograms."""
    try:
        from matplotlib import colormaps
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("spectrograms need matplotlib", hint=INSTALL_HINT) from error
    return Image, colormaps["magma"]
