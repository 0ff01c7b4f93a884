"""What stands in both splits, so that a validation loss tells of memory instead of learning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from loquor.training.checkup.findings import Case, Figure, Finding, Verdict, counted, some
from loquor.training.dataset.records import Record
from loquor.training.dataset.settings import SPLITS

AGAIN = "loquor data prepare --restart splits by the words; a set that was put together elsewhere needs another split"


def leakage(case: Case, prints: Sequence[str]) -> Iterator[Finding]:
    """`prints` are those of the latents of each item."""
    records = case.data.records
    print_of = {record.id: one for record, one in zip(records, prints, strict=True)}
    shared: list[tuple[str, Callable[[Record], str], Verdict, str]] = [
        ("texts", _words, "fail", AGAIN),
        ("sounds", lambda record: record.sound, "fail", AGAIN),
        ("latents", lambda record: print_of[record.id], "fail", AGAIN),
        (
            "recordings",
            lambda record: record.source,
            "warn",
            "pieces of one recording share its noise: hold out whole recordings",
        ),
    ]
    if case.plan.get("--split-by") == "speaker":
        advice = "the split was to be by speaker: label all items, and prepare the data with --restart"
        shared.append(("speakers", lambda record: record.speaker, "fail", advice))
    faults = [fault for kind, key, verdict, advice in shared if (fault := _both(records, kind, key, verdict, advice))]
    yield from faults
    if faults:
        return
    names = [kind for kind, *_ in shared]
    detail = f"none of {', '.join(names[:-1])} and {names[-1]} is in both splits"
    yield Finding("leakage", "ok", detail, figures=dict.fromkeys(names, 0))


def _both(
    records: Sequence[Record], kind: str, key: Callable[[Record], str], verdict: Verdict, advice: str
) -> Finding | None:
    """A finding if items of both splits share what `key` gives; nothing is shared by items that have none."""
    items = defaultdict[str, dict[str, list[str]]](lambda: defaultdict(list))
    for record in records:
        items[key(record)][record.split].append(record.id)
    leaking = [by_split for shared, by_split in items.items() if shared and len(by_split) > 1]
    if not leaking:
        return None
    train, held_out = ([name for by_split in leaking for name in by_split[split]] for split in SPLITS)
    pairs = [f"{by_split[SPLITS[0]][0]} and {by_split[SPLITS[1]][0]}" for by_split in leaking]
    detail = f"{counted(len(held_out), 'item')} of validation {'has' if len(held_out) == 1 else 'have'} "
    detail += f"{kind} that are also trained on: {some(pairs)}"
    figures: dict[str, Figure] = {kind: len(leaking), "held_out": len(held_out)}
    return Finding("leakage", verdict, detail, advice, figures, (*held_out, *train))


def _words(record: Record) -> str:
    return "".join(character for character in record.text.casefold() if character.isalnum())
