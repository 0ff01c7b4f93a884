"""The figures of a result, from its JSON to a table of Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loquor.evaluation.report import in_words, measure_of

Lines = list[str]
SHARES = ("p50", "p95", "p99")


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


def long_text(result: dict[str, Any]) -> Lines:
    """Of benchmarks/long_text.py."""
    rows = [
        (number, minute["words"], f"{100 * minute['wer']:.1f} %", f"{minute['similarity']:.2f}")
        for number, minute in enumerate(result["minutes"], 1)
    ]
    errors, words = (sum(minute[name] for minute in result["minutes"]) for name in ("errors", "words"))
    told = f"{result['seconds'] / 60:.1f} minutes, word error rate {errors / words:.1%}, ended by: {result['finish']}."
    return [*table(("minute", "words", "word error rate", "similarity"), rows), "", told]


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


def bench(result: dict[str, Any]) -> Lines:
    """Of `loquor bench --json`: a table for each number of threads."""
    lines, claim, peaks = list[str](), result.get("claim", "tokens/s"), result.get("peak MiB", {})
    for measurement in result["measurements"]:
        subjects = measurement["subjects"]
        first = next(iter(subjects))
        columns = [name for name in subjects[first]["figures"] if not name.endswith("ms/token")]
        waits = list(subjects[first].get("percentiles", {}))
        rows = []
        for subject, facts in subjects.items():
            cells = [f"{facts['figures'][name]['median']:.4g}" for name in columns]
            cells += [" / ".join(f"{facts['percentiles'][name][p]:.0f}" for p in SHARES) for name in waits]
            cells += [f"{peaks[subject]:.0f}"] if peaks.get(subject) else []
            ratio = facts["ratios"].get(claim)
            rows.append((subject, *cells, f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"))
        rounds, threads = measurement["rounds"], measurement["threads"]
        quiet = "" if measurement["was_quiet"] else "; none was quiet"
        lines += [f"{threads} thread{'s' * (threads > 1)}, {rounds} rounds{quiet}:", ""]
        header = [*columns, *(f"{name}, {' / '.join(SHARES)}" for name in waits), *(["peak, MiB"] if peaks else [])]
        lines += [*table(("", *header, f"{claim}, times {first}"), rows), ""]
    return lines[:-1]


def frame(result: dict[str, Any]) -> Lines:
    """Of `loquor bench --trace --json`."""
    rows = []
    for title, facts in result.items():
        for part, figures in facts["parts"].items():
            ms, bound = figures["ms"], figures["bound, ms"]
            *operators, (_, rest_ms) = figures["operators, ms"].items()
            most = ", ".join(f"{name} {taken:.1f}" for name, taken in operators[:3])
            times = f"{ms / bound:.1f}" if bound else ""
            rows.append((title, part, f"{ms:.1f}", f"{bound:.1f}", times, most, f"{rest_ms:.1f}"))
    speeds = ", ".join(f"{title} {facts['bandwidth, GB/s']:.1f} GB/s" for title, facts in result.items())
    header = ("", "part", "ms/frame", "bound, ms", "times", "most of it, ms", "between operators, ms")
    return [*table(header, rows), "", f"Memory read beside it: {speeds}."]


def int8_quality(result: dict[str, Any]) -> Lines:
    """Of benchmarks/int8_quality.py."""
    rows = []
    for row in result["contrasts"]:
        name, bound = row["name"], result["bounds"].get(row["name"])
        first, second, apart, low, high = (
            in_words(name, row[key]) for key in ("first", "second", "difference", "low", "high")
        )
        verdict = (
            "" if bound is None else f"{in_words(name, bound['bound'])}: {'holds' if bound['holds'] else 'missed'}"
        )
        rows.append((measure_of(name)[0].label, first, second, f"{apart} ({low} to {high})", verdict))
    return table((f"{result['sentences']} sentences", "float32", "eight bits", "difference", "bound"), rows)


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
