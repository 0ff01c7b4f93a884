"""The index over all shards of a finished data set, in four files that people and programs read.

`items.jsonl` has a record a line, `dropped.jsonl` what is not in the set, `report.json` the figures, and `index.json`,
written last, says that the set is finished and what it was encoded with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from loquor.checkpoints import write_text
from loquor.configs import read_json
from loquor.errors import CheckpointError, InputError
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.training.dataset.encoding import STORED, SpeechCodec
from loquor.training.dataset.pictures import draw_histograms
from loquor.training.dataset.records import Dropped, Record, as_json
from loquor.training.dataset.report import Report, Totals
from loquor.training.dataset.shards import FORMAT, read_summary

One = TypeVar("One", Record, Dropped)

PLAN, SHARDS, INDEX = "plan.json", "shards", "index.json"
ITEMS, DROPPED, REPORT, PLOTS = "items.jsonl", "dropped.jsonl", "report.json", "plots"
AGAIN = "loquor data prepare writes it anew"
OURS = (INDEX, SHARDS, ITEMS, DROPPED, REPORT, PLOTS, PLAN)


def index_dataset(folder: Path, codec: SpeechCodec) -> Report:
    """Write the index of the finished shards in `folder`; gives the report."""
    shards = sorted((folder / SHARDS).glob("shard-*.safetensors"))
    records, dropped, totals = list[str](), list[str](), Totals()
    for one in _without_duplicates(shards):
        totals.add(one)
        (records if isinstance(one, Record) else dropped).append(_line(one))
    report = totals.report()
    write_text(folder / ITEMS, "".join(records))
    write_text(folder / DROPPED, "".join(dropped))
    write_text(folder / REPORT, as_json(report.as_dict(), indent=1))
    draw_histograms(totals.drawn, folder / PLOTS)
    facts = {
        "format": FORMAT,
        "codec": codec.fingerprint,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "hop_samples": codec.hop_samples,
        "channels": codec.sizes,
        "stored": str(STORED).removeprefix("torch."),
        "shards": [path.name for path in shards],
    }
    write_text(folder / INDEX, json.dumps(facts, indent=1))
    return report


def _without_duplicates(shards: list[Path]) -> Iterator[Record | Dropped]:
    """Everything in the order of the source; what came before, by name or by sound, is dropped.

    What a dropped item has in its shard stays there unread: shards are made side by side, none knowing of the others.
    """
    names, sounds = set[str](), dict[str, str]()
    for path in shards:
        summary = read_summary(path)
        yield from summary.dropped
        for record in summary.records:
            if record.id in names:
                yield Dropped(record.id, "duplicate", f"an item before {record.source} has this name")
            elif record.sound in sounds:
                yield Dropped(record.id, "duplicate", f"its sound is that of {sounds[record.sound]}")
            else:
                names.add(record.id)
                sounds[record.sound] = record.id
                yield record


def _line(one: Record | Dropped) -> str:
    return as_json(asdict(one)) + "\n"


def require_finished(folder: Path) -> dict[str, Any]:
    """What `index.json` says; InputError if the folder holds no data set, or one that is not finished."""
    path = folder / INDEX
    if not path.is_file():
        unfinished = (folder / PLAN).is_file()
        message = f"{folder} is not prepared to its end" if unfinished else f"{folder} holds no prepared data"
        raise InputError(message, hint="loquor data prepare goes on where it stopped")
    values = read_json(path)
    if values.get("format") != FORMAT:
        raise CheckpointError(f"{path} is in format {values.get('format')!r}, not {FORMAT}", hint="prepare it again")
    return values


def read_records(folder: Path) -> list[Record]:
    """What is in the set, in the order of the source."""
    return list(_read_lines(folder / ITEMS, Record.read))


def read_dropped(folder: Path) -> list[Dropped]:
    """What is not in the set, in the order of the source."""
    return list(_read_lines(folder / DROPPED, lambda values: Dropped(**values)))


def read_report(folder: Path) -> Report:
    """The figures; errors are those of `require_finished`."""
    require_finished(folder)
    try:
        return Report.read(read_json(folder / REPORT))
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / REPORT} is no report: {error}", AGAIN) from None


def _read_lines(path: Path, read: Callable[[dict[str, Any]], One]) -> Iterator[One]:
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                yield read(json.loads(line))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}", AGAIN) from None
