"""The figures of a result, from its JSON to a table of Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loquor.evaluation.report import in_words, measure_of

Lines = list[str]


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> Lines:
    lines = [header, ["---"] * len(header), *([str(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def evaluation(report: dict[str, Any]) -> Lines:
    """Of `loquor eval --json`."""
    rows = []
    for name, figure in report["figures"].items():
        measure, share = measure_of(name)
        low, high = figure.get("low"), figure.get("high")
        between = "" if low is None or high is None else f"{in_words(name, low)} to {in_words(name, high)}"
        label = f"{measure.label}{f', {share}' if share else ''}"
        rows.append((label, in_words(name, figure["value"]), measure.unit, between, figure["count"]))
    return table(("", "", "unit", "95 % interval", "sentences"), rows)


def self_check(result: dict[str, Any]) -> Lines:
    """Of benchmarks/self_check.py."""
    first, kept = (result["word error rate"][name] for name in ("first", "kept"))
    rates = [f"{100 * value:.1f} % ({100 * low:.1f} to {100 * high:.1f})" for value, low, high in (first, kept)]
    pieces = result["pieces"]
    rows = [
        ("sentences with a fault", f"{result['bad at first']} of {pieces}", f"{result['bad still']} of {pieces}"),
        ("word error rate (95 %)", *rates),
    ]
    again, factor = result["said again"], result["real-time factor, attempts counted"]
    told = f"{again} attempts more for {pieces} sentences; real-time factor with all attempts counted: {factor:.2f}."
    return [*table(("", "first attempt", "kept"), rows), "", told]


def verification(result: dict[str, Any]) -> Lines:
    """Of `loquor verify --json`: a row for each component, with its largest difference by tolerance."""
    rows = []
    for component in dict.fromkeys(check["component"] for check in result["checks"]):
        mine = [check for check in result["checks"] if check["component"] == component]
        verdict = next((v for v in ("fail", "warn") if any(check["verdict"] == v for check in mine)), "ok")
        exact, narrow = (
            _furthest([check for check in mine if check["tolerance"] and (check["what"] == "bfloat16") == is_narrow])
            for is_narrow in (False, True)
        )
        shown = (_apart(exact), f"{exact['what']} = {exact['against']}" if exact else "", _apart(narrow))
        notes = "; ".join(f"{check['what']}: {check['detail']}" for check in mine if check["verdict"] != "ok")
        rows.append((component, verdict, len(mine), *shown, notes))
    counts = f"{result['ok']} checks ok, {result['warn']} to look at, {result['fail']} failed."
    header = ("component", "verdict", "checks", "difference (tolerance)", "of", "in bfloat16", "to look at")
    return [counts, "", *table(header, rows)]


def _furthest(checks: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The one nearest to its tolerance, or beyond it."""
    return max(checks, key=lambda check: float(check["difference"]) / check["tolerance"], default=None)


def _apart(check: dict[str, Any] | None) -> str:
    return "" if check is None else f"{float(check['difference']):.0e} ({check['tolerance']:.0e})"


def performance(result: dict[str, Any]) -> Lines:
    """Of benchmarks/realtime.py."""
    parts = ("text window", "speech LM", "diffusion", "decoder", "frame")
    rows = []
    for subject, figures in subjects(result).items():
        own, fresh = figures["parts"], figures["fresh"]
        rows.append(
            (
                subject,
                *(f"{own[part]:.1f}" for part in parts),
                f"{own['rtf']:.2f}",
                f"{fresh['first_audio_ms']:.0f}",
                f"{fresh['peak_mib']:.0f}",
            )
        )
    return table(("", *parts, "real-time factor", "first audio, ms", "peak memory, MiB"), rows)


def subjects(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Those of benchmarks/realtime.py, without the ratios between them."""
    return {name: figures for name, figures in result["figures"].items() if "parts" in figures}


def longform(result: dict[str, Any]) -> Lines:
    """Of benchmarks/longform.py."""
    frame = result["ms per frame"]
    rows = [(part, f"{value:.1f}") for part, value in frame.items()]
    rows += [
        ("real-time factor", f"{result['rtf']:.2f}"),
        ("a token of the prompt", f"{result['reading, ms per token']:.1f}"),
        ("a second of a voice", f"{result['voice, ms per second']:.0f}"),
    ]
    return table(("", "ms a frame"), rows)


def bench(result: dict[str, Any]) -> Lines:
    """Of `loquor bench --json`: a table for each number of threads."""
    lines = []
    for measurement in result["measurements"]:
        subjects = measurement["subjects"]
        first = next(iter(subjects))
        columns = [name for name in subjects[first]["figures"] if not name.endswith("ms/token")]
        rows = []
        for subject, facts in subjects.items():
            cells = [f"{facts['figures'][name]['median']:.4g}" for name in columns]
            ratio = facts["ratios"].get("tokens/s")
            rows.append((subject, *cells, f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"))
        rounds, threads = measurement["rounds"], measurement["threads"]
        quiet = "" if measurement["was_quiet"] else "; none was quiet"
        lines += [f"{threads} thread{'s' * (threads > 1)}, {rounds} rounds{quiet}:", ""]
        lines += [*table(("", *columns, f"tokens/s, times {first}"), rows), ""]
    return lines[:-1]


def load_memory(result: list[dict[str, Any]]) -> Lines:
    """Of benchmarks/load_memory.py."""
    return table(list(result[0]), [list(row.values()) for row in result])


def podcast(result: dict[str, Any]) -> Lines:
    """Of benchmarks/podcast_memory.py."""
    resident, peak = result["median_rss_mib"], result["peak_rss_mib"]
    rows = [
        ("first quarter, median", resident["first quarter"]),
        ("last quarter, median", resident["last quarter"]),
        ("peak while speaking", peak["speaking"]),
        ("peak while assembling", peak["assembling"]),
    ]
    return table((f"{result['minutes']:.0f} minutes, {result['takes']} takes", "MiB"), rows)


def training_step(result: list[dict[str, Any]]) -> Lines:
    """Of benchmarks/training_step.py."""
    rows = [
        (
            f"{row['subject']}, {row['precision']}",
            f"{row['step s']:.2f}",
            f"{row['tokens/s']:.0f}",
            f"{row['naive over ours']:.2f} ({row['ratios'][0]:.2f} to {row['ratios'][1]:.2f})",
            f"{100 * row['padding']:.1f}",
            f"{row['peak MiB']:.0f}",
        )
        for row in result
    ]
    return table(("", "step, s", "tokens/s", "times faster than the loop", "padding, %", "peak, MiB"), rows)
