"""What eight bits cost a listener: the same sentences with the same seeds, by torch in float32 and by OpenVINO.

    python benchmarks/int8_quality.py [LIST...] [--model FOLDER] [--limit N] [-o FOLDER] [--json FILE]

Both are heard by the recogniser and judged by the instruments of `loquor eval`, and compared sentence by sentence:
differences are eight bits less float32, with 95 % intervals by bootstrap over sentences. Similarity is that to
sentences of the voice which torch says with another seed. What is done is kept in FOLDER. Needs `eval` and `fast`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loquor.audio.io import write
from loquor.engine.load import load
from loquor.evaluation.choices import Choices
from loquor.evaluation.comparison import compare
from loquor.evaluation.page import write_page
from loquor.evaluation.report import Report, in_words, measure_of
from loquor.evaluation.run import Options, Progress, evaluate
from loquor.evaluation.sets import Item, read_set

LISTS = [Path(__file__).parent / name for name in ("sentences.txt", "sentences_more.txt")]
MODELS, OTHER_SEED = 5, 1  # sentences whose voice is the measure of similarity
BOUNDS = {"wer": 0.01, "similarity": 0.01, "mos": 0.05}  # what nobody hears, in either direction
SYSTEMS = {"float32": Choices(dtype="float32"), "int8": Choices(backend="openvino")}


def items_of(lists: Sequence[Path], limit: int | None) -> list[Item]:
    """Sentences of all lists, named by their place."""
    texts = [item.text for path in lists for item in read_set(path)]
    return [Item(f"{i:03}", "speak", text, language="en") for i, text in enumerate(texts[:limit], start=1)]


def voice_of(model: str | None, items: Sequence[Item], folder: Path) -> tuple[Path, ...]:
    """Recordings of the voice as torch says it with another seed."""
    speaker, paths = load(model, dtype="float32", backend="torch", watermark=True), []
    for item in items[:MODELS]:
        paths.append(folder / f"voice-{item.id}.wav")
        write(paths[-1], speaker.speak(item.text, seed=OTHER_SEED).waveform, speaker.sample_rate_hz)
    return tuple(paths)


def reports(model: str | None, items: Sequence[Item], folder: Path) -> dict[str, Report]:
    """Both systems, evaluated."""
    folder.mkdir(parents=True, exist_ok=True)
    options = Options(folder / "cache", like=voice_of(model, items, folder))
    found = {}
    for name, choices in SYSTEMS.items():

        def tell(at: Progress, name: str = name) -> None:
            print(f"\r{name}: {at.stage} {at.done}/{at.total}   ", end="", flush=True)

        asked = Choices(model, dtype=choices.dtype, backend=choices.backend)
        found[name] = evaluate(asked, items, options, tell)
        found[name].save(folder / f"{name}.json")
        write_page(found[name], folder / f"{name}.html", players=10)
    print()
    return found


def figures(found: dict[str, Report]) -> dict[str, Any]:
    """What was compared, and whether the bounds hold."""
    compared = compare(found["float32"], found["int8"])
    rows = {contrast.name: contrast for contrast in compared.contrasts}
    missing = [name for name in BOUNDS if name not in rows]
    assert not missing, f"{missing} could not be measured: {', '.join(compared.notes)}"
    bounds = {
        name: {"bound": bound, "holds": abs(rows[name].difference) <= bound, "sure": _is_within(rows[name], bound)}
        for name, bound in BOUNDS.items()
    }
    return {"sentences": rows["wer"].count, "bounds": bounds, **compared.as_dict()}


def _is_within(contrast: Any, bound: float) -> bool:
    """Whether its whole interval is."""
    return bool(-bound <= contrast.low and contrast.high <= bound)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", type=Path, nargs="*", default=LISTS)
    parser.add_argument("--model", help="a Realtime model's folder; the embedded voice if left out")
    parser.add_argument("--limit", type=int)
    parser.add_argument("-o", "--output", type=Path, default=Path("build/int8-quality"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = figures(reports(options.model, items_of(options.lists, options.limit), options.output))
    for row in result["contrasts"]:
        name, values = row["name"], (row["first"], row["second"], row["difference"], row["low"], row["high"])
        first, second, apart, low, high = (in_words(name, value) for value in values)
        bound = result["bounds"].get(name)
        verdict = "" if bound is None else f", bound {bound['bound']:g} {'holds' if bound['holds'] else 'is missed'}"
        print(f"{measure_of(name)[0].label}: {first}, {second}, {apart} ({low} to {high}){verdict}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
