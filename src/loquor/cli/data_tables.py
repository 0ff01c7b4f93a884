"""The tables of `loquor data show`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import typer

from loquor.cli.console import print_table
from loquor.training.dataset.records import REASONS
from loquor.training.dataset.report import Report, Share, Spread

SHOWN = 10  # of the speakers and languages; JSON has all
SPREADS = {"seconds": "seconds", "level_dbfs": "dBFS, as recorded", "pace": "times the usual pace", "wer": "WER, heard"}


def print_report(report: Report) -> None:
    """Everything in a report but its warnings."""
    count = sum(report.dropped.values())
    typer.echo(f"{report.kept.items} items, {report.kept.hours:.2f} h; {count} dropped")
    _print_shares("split", report.splits)
    _print_shares("speaker", report.speakers)
    _print_shares("language", report.languages)
    spreads = [(SPREADS[name], *_figures(spread)) for name, spread in report.spreads.items() if spread]
    if spreads:
        typer.echo()
        print_table(("", "least", "5 %", "median", "95 %", "most"), spreads, numbers=range(1, 6))
    if report.dropped:
        typer.echo()
        rows = [(reason, str(number), REASONS[reason]) for reason, number in report.dropped.items()]
        print_table(("dropped", "items", "because"), rows, numbers=[1])


def _print_shares(kind: str, shares: Mapping[str, Share]) -> None:
    if not shares:
        return
    typer.echo()
    rows = [(name or "not stated", str(s.items), f"{s.hours:.2f}") for name, s in islice(shares.items(), SHOWN)]
    rest = list(shares.values())[SHOWN:]
    if rest:
        rows.append((f"{len(rest)} more", str(sum(s.items for s in rest)), f"{sum(s.hours for s in rest):.2f}"))
    print_table((kind, "items", "hours"), rows, numbers=[1, 2])


def _figures(spread: Spread) -> list[str]:
    values = (spread.least, spread.fifth_percentile, spread.median, spread.ninety_fifth_percentile, spread.most)
    return [f"{value:.2f}" for value in values]
