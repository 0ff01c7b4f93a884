"""A report as one page: figures, plots, and the cases worst first, to be heard, seen and read.

The page holds all it needs and may fetch nothing: its own content policy forbids it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loquor.audio.io import read
from loquor.checkpoints import write_text
from loquor.errors import AudioError, MissingExtra
from loquor.evaluation.media import (
    INSTALL_HINT,
    contour_points,
    cumulated,
    histogram,
    player_uri,
    scatter,
    spectrogram_uri,
)
from loquor.evaluation.prosody import PitchTracker
from loquor.evaluation.report import MEASURES, Case, Report, in_words, measure_of, values_of
from loquor.models.codec import SAMPLE_RATE_HZ

TEMPLATES = Path(__file__).parent / "pages"
HEADLINES = ("wer", "cer", "right", "similarity", "consistency", "mos", "fault", "first_audio_ms_p50", "rtf_p50")
SHOWN = (
    *("error_rate", "mos", "similarity", "consistency", "mel_cepstral_distance", "pitch_hz", "words_per_minute"),
    *("first_audio_ms", "rtf"),
)  # of each case
LABELS = MEASURES | {"error_rate": MEASURES["wer"]}
FEWEST_TO_PLOT = 2


@dataclass(frozen=True)
class Sound:
    """What can be heard and seen of a case."""

    player: str
    spectrogram: str
    contour: list[str]
    seconds: float


def write_page(report: Report, path: Path, players: int = 30) -> None:
    """Write a report's page; only the worst cases, so many, carry their sound. MissingExtra without jinja2."""
    sounds = dict(_sounds(report, report.cases[:players]))
    page = render(
        "report.html",
        report=report,
        headlines=[_told(name, report) for name in HEADLINES if name in report.figures],
        figures=[_told(name, report) for name in report.figures],
        plots=list(_plots(report.cases)),
        cases=[(case, sounds.get(case.id), list(_measures(case))) for case in report.cases],
    )
    write_text(path, page)


def render(template: str, **values: Any) -> str:
    """A page of `pages/`; all values are escaped."""
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError as error:
        raise MissingExtra("pages need jinja2", hint=INSTALL_HINT) from error
    loader = jinja2.FileSystemLoader(TEMPLATES)
    pages = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    pages.filters["markup"] = Markup  # of what is drawn here
    return pages.get_template(template).render(**values)


def _told(name: str, report: Report) -> dict[str, Any]:
    """A figure in words."""
    figure, (measure, share) = report.figures[name], measure_of(name)
    interval = ""
    if figure.low is not None and figure.high is not None:
        interval = f"{in_words(name, figure.low)} to {in_words(name, figure.high)}"
    label = f"{measure.label}, {share}" if share else measure.label
    value = in_words(name, figure.value)
    return {"label": label, "value": value, "unit": measure.unit, "interval": interval, "count": figure.count}


def _measures(case: Case) -> Iterator[tuple[str, str]]:
    """What is told of a case: label and value."""
    for name in SHOWN:
        if name in case.measures:
            measure = LABELS[name]
            value = in_words("wer" if name == "error_rate" else name, case.measures[name])
            yield measure.label, f"{value} {measure.unit}".strip()


def _sounds(report: Report, cases: Sequence[Case]) -> Iterator[tuple[str, Sound]]:
    try:
        tracker = PitchTracker()
    except MissingExtra:
        tracker = None
    for case in cases:
        try:
            waveform = read(report.sound_of(case), SAMPLE_RATE_HZ)
        except AudioError:  # nothing was said
            continue
        seconds = len(waveform) / SAMPLE_RATE_HZ
        found = tracker.track(waveform, SAMPLE_RATE_HZ) if tracker else None
        contour = contour_points(found.seconds, found.hertz, seconds) if found else []
        player, spectrogram = player_uri(waveform, SAMPLE_RATE_HZ), spectrogram_uri(waveform, SAMPLE_RATE_HZ)
        yield case.id, Sound(player, spectrogram, contour, seconds)


def _plots(cases: Sequence[Case]) -> Iterator[str]:
    """Plots of what was measured of two cases or more."""
    kinds = [("error_rate", "error rate", "%", 100.0), ("mos", "predicted opinion", "", 1.0)]
    kinds += [("similarity", "similarity", "", 1.0), ("consistency", "similarity to its other sentences", "", 1.0)]
    for name, label, unit, scale in kinds:
        values = values_of(cases, name)
        if len(values) >= FEWEST_TO_PLOT:
            yield histogram((scale * np.array(values)).tolist(), label, unit)
    both = [case.measures for case in cases if {"pitch_hz", "words_per_minute"} <= case.measures.keys()]
    if len(both) >= FEWEST_TO_PLOT:
        across, up = [m["words_per_minute"] for m in both], [m["pitch_hz"] for m in both]
        yield scatter(across, up, ("pace [words/min]", "pitch [Hz]"))
    waits = values_of(cases, "first_audio_ms"), [gap for case in cases for gap in case.gaps_ms]
    for values, label in zip(waits, ("first audio", "wait between chunks"), strict=True):
        if len(values) >= FEWEST_TO_PLOT:
            yield cumulated(values, label, "ms")
