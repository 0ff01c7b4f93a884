"""docs/results.md and its pictures, made of the figures under docs/: nothing on it is written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loquor.checkpoints import write_text

PAGE = "docs/results.md"
HEAD = """# Results

Every figure below is made by the command above it. `make results` runs those whose figures are missing or stale and
writes this page (`benchmarks/results.py`); it is not edited by hand.
"""
TAIL = """## Elsewhere

Figures that need data which is not in the repository stand beside the commands that make them:
[training the embedded voice](embedded-voice.md), [voices](voices.md), [fine-tuning](training.md), [data](data.md).
"""


def write_page(root: Path, results: Sequence[Any], notes: Mapping[str, Any]) -> None:
    """The page of all results that there are, and their pictures."""
    figures = {r.name: json.loads((root / r.output).read_text(encoding="utf-8")) for r in results if _exists(root, r)}
    draw(root / "docs/images", figures)
    write_text(root / PAGE, page(results, figures, notes))


def _exists(root: Path, result: Any) -> bool:
    return bool((root / result.output).is_file())


def page(results: Sequence[Any], figures: Mapping[str, Any], notes: Mapping[str, Any]) -> str:
    """The page's text, of the figures of each result that has some."""
    parts = [HEAD]
    for result in results:
        if result.name not in figures:
            parts.append(f"## {result.title}\n\nNot measured yet: `make results ONLY={result.name}`.\n")
            continue
        body = [f"## {result.title}", "", result.words, "", "```sh", result.command, "```", ""]
        body += result.table(figures[result.name])
        if result.name in PAINTERS:
            body += ["", f"![{result.title}](images/{picture(result.name)})"]
        if result.picture:
            body += ["", f"![{result.title}]({Path(result.picture).relative_to('docs')})"]
        parts.append("\n".join([*body, "", _made(result, notes), ""]))
    return "\n".join([*parts, TAIL])


def _made(result: Any, notes: Mapping[str, Any]) -> str:
    """Where the figures are, and what is known of their making."""
    links = {"figures": result.output} | ({"page with players": result.page} if result.page else {})
    link = ", ".join(f"[{words}]({Path(path).relative_to('docs')})" for words, path in links.items())
    note = notes.get(result.name)
    return f"{link}, {note['day']}, {note['commit']}, {note['machine']}" if note else link


def picture(name: str) -> str:
    """The file in docs/images of a result's picture."""
    return f"results-{name}.svg"


def draw(folder: Path, figures: Mapping[str, Any]) -> None:
    """The pictures that can be made of these figures."""
    import matplotlib as mpl

    mpl.use("agg")
    folder.mkdir(parents=True, exist_ok=True)
    for name, paint in PAINTERS.items():
        if name in figures:
            paint(figures[name], folder / picture(name))


def _save(figure: Any, path: Path) -> None:
    """The same picture is the same file."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "loquor"}):
        figure.savefig(path, metadata={"Date": None})


def _axes(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _differences(result: dict[str, Any], path: Path) -> None:
    """How far every check is from its tolerance."""
    measured = [check for check in result["checks"] if check["tolerance"] and check["difference"] != "infinity"]
    components = list(dict.fromkeys(check["component"] for check in measured))
    figure, axes = _axes(7, 0.8 + 0.25 * len(components))
    shares = [max(check["difference"] / check["tolerance"], 1e-7) for check in measured]
    axes.scatter(shares, [components.index(check["component"]) for check in measured], s=14, alpha=0.6)
    axes.axvline(1, color="black", linewidth=1, linestyle=":")
    axes.set_xscale("log")
    axes.set_yticks(range(len(components)), components, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("difference as a share of its tolerance")
    _save(figure, path)


def _errors(result: dict[str, Any], path: Path) -> None:
    """Word error rates with their intervals."""
    figure, axes = _axes(5, 1.5)
    for row, name in enumerate(("first", "kept")):
        value, low, high = (100 * number for number in result["word error rate"][name])
        axes.errorbar([value], [row], xerr=[[value - low], [high - value]], fmt="o", capsize=3)
    axes.set_yticks([0, 1], ["first attempt", "kept"])
    axes.set_ylim(1.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel("word error rate, %, with 95 % intervals")
    _save(figure, path)


def _minutes(result: dict[str, Any], path: Path) -> None:
    """Errors and similarity as time goes on."""
    figure, axes = _axes(7, 2.6)
    minutes = range(1, len(result["minutes"]) + 1)
    axes.bar(minutes, [100 * minute["wer"] for minute in result["minutes"]], color="C0", alpha=0.6)
    axes.set(xlabel="minute", ylabel="word error rate, %", xticks=minutes)
    beside = axes.twinx()
    beside.plot(minutes, [minute["similarity"] for minute in result["minutes"]], "o-", color="C1")
    beside.set(ylabel="similarity to the first", ylim=(0, 1))
    beside.spines["top"].set_visible(False)
    _save(figure, path)


PAINTERS = {
    "verify-embedded": _differences,
    "self-check": _errors,
    "long-text": _minutes,
}  # by result
