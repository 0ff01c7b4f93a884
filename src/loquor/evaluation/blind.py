"""A listening test for people: two systems say the same, nobody knows which is which, and one says which is better.

The page holds the sounds in an order that only the key knows, lossless and equally loud. Listeners send back a small
JSON file each; with the key they are counted. Preferences are averaged over listeners for each item, then over items,
with the interval and the randomisation test of `statistics`: items are what another test would have others of.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from loquor.audio.io import read
from loquor.audio.level import normalize_level
from loquor.checkpoints import write_text
from loquor.errors import InputError
from loquor.evaluation.media import player_uri
from loquor.evaluation.page import render
from loquor.evaluation.report import Report
from loquor.evaluation.sets import SOUNDS
from loquor.evaluation.statistics import Difference, paired_difference
from loquor.models.codec import SAMPLE_RATE_HZ

WORTH = {"first": -1.0, "same": 0.0, "second": 1.0}
LEFT, RIGHT, SAME = "left", "right", "same"  # what a listener can answer


@dataclass(frozen=True)
class Pair:
    """One item of both systems, and whether the first stands on the left."""

    id: str
    text: str
    first_is_left: bool


@dataclass(frozen=True)
class Key:
    """Which system is where in a test."""

    test: str
    first: str
    second: str
    pairs: tuple[Pair, ...]

    def save(self, path: Path) -> None:
        write_text(path, json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Key:
        """A saved key. InputError if it is none."""
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            return cls(**facts | {"pairs": tuple(Pair(**pair) for pair in facts["pairs"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"{path} is no key: {type(error).__name__} {error}"
            raise InputError(reason, hint="it is the .key.json that `loquor listen` wrote") from None


@dataclass(frozen=True)
class Preference:
    """Answers counted. `lead` goes from -1, all prefer the first system, to 1, all the second."""

    first: str
    second: str
    listeners: int
    counts: dict[str, int]  # first, second, same
    lead: Difference

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON takes it."""
        return asdict(self) | {"lead": self.lead._asdict()}


def write_test(first: Path, second: Path, page: Path, count: int | None = None, seed: int | None = None) -> Key:
    """Write the page of a test on `count` items that both systems have, and give its key.

    Each system is a report or a folder of recordings. The seed chooses items and sides; without one nobody can know
    them. InputError if the systems have nothing in common.
    """
    draws = Random(secrets.randbits(64) if seed is None else seed)
    sounds, others = _sounds(first), _sounds(second)
    common = sorted(sounds.keys() & others.keys())
    if not common:
        raise InputError("the two systems have no item in common", hint="evaluate both on the same set")
    chosen = draws.sample(common, min(count or len(common), len(common)))
    pairs = [Pair(name, sounds[name][1] or others[name][1], draws.random() < 0.5) for name in chosen]
    key = Key(f"{draws.getrandbits(64):016x}", str(first), str(second), tuple(pairs))
    trials = []
    for pair in pairs:
        ours, theirs = _player(sounds[pair.id][0]), _player(others[pair.id][0])
        left, right = (ours, theirs) if pair.first_is_left else (theirs, ours)
        trials.append({"text": pair.text, "left": left, "right": right})
    write_text(page, render("listen.html", test=key.test, trials=trials))
    return key


def count_answers(key: Key, results: Sequence[Path]) -> Preference:
    """What listeners prefer. InputError if a result is none, is of another test, or is given twice."""
    counts: Counter[str] = Counter()
    worth: dict[int, list[float]] = defaultdict(list)
    seen: dict[str, Path] = {}
    for path in results:
        result = _result(path, key)
        if result["sheet"] in seen:
            raise InputError(f"{path} and {seen[result['sheet']]} are the same answers", hint="give each file once")
        seen[result["sheet"]] = path
        for number, answer in result["answers"].items():
            place = int(number)
            chosen = SAME if answer == SAME else _system(key.pairs[place], answer)
            counts[chosen] += 1
            worth[place].append(WORTH[chosen])
    if not worth:
        raise InputError("there are no answers to count", hint="give the files that listeners saved")
    means = [sum(values) / len(values) for values in worth.values()]
    lead = paired_difference([0.0] * len(means), means)
    return Preference(key.first, key.second, len(seen), {name: counts[name] for name in WORTH}, lead)


def _system(pair: Pair, side: str) -> str:
    return "first" if (side == LEFT) == pair.first_is_left else "second"


def _result(path: Path, key: Key) -> dict[str, Any]:
    """A listener's answers, by the numbers of the trials."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        answers = result["answers"]
        is_sound = all(0 <= int(n) < len(key.pairs) and side in (LEFT, RIGHT, SAME) for n, side in answers.items())
        if not is_sound or not isinstance(result["sheet"], str):
            raise ValueError("it has answers to what was not asked")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no result: {type(error).__name__} {error}") from None
    if result["test"] != key.test:
        raise InputError(f"{path} is of another test", hint="use the key that was written with its page")
    return result  # type: ignore[no-any-return]


def _sounds(system: Path) -> dict[str, tuple[Path, str]]:
    """Recordings by the ids of items, with their texts if they are known."""
    if system.is_dir():
        found = [path for path in sorted(system.iterdir()) if path.suffix.lower() in SOUNDS]
        return {path.stem: (path, "") for path in found}
    report = Report.read(system)
    return {c.id: (report.sound_of(c), c.text) for c in report.cases if c.measures.get("seconds")}


def _player(path: Path) -> str:
    return player_uri(normalize_level(read(path, SAMPLE_RATE_HZ)), SAMPLE_RATE_HZ, is_lossless=True)
