"""An evaluation from end to end: every item performed, then every performance measured, by as many processes as wished.

What a run has done is kept under hashes of all that it follows from, so one that is killed goes on where it was, a
second one costs nothing, and a change of the model, the text or the instruments is noticed. Measuring begins when all
is performed: its work would be in the way of latencies.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from loquor.errors import InputError, LoquorError
from loquor.evaluation.choices import Choices
from loquor.evaluation.error_rate import Rule
from loquor.evaluation.instruments import Instruments, Scores, as_facts, from_facts
from loquor.evaluation.performance import Cache, Performance, hash_of, hash_of_file, release_of
from loquor.evaluation.report import Case, Report, summarise
from loquor.evaluation.sets import Item
from loquor.evaluation.systems import open_system
from loquor.evaluation.transcribers import MOONSHINE
from loquor.workers import each, threads

logger = logging.getLogger(__name__)

SCORING = 1  # to be raised when measures change their meaning
PACKAGES = ("loquor", "torch", "numpy", "onnxruntime", "moonshine-voice", "speechmos", "resemblyzer", "swift-f0")


@dataclass(frozen=True)
class Options:
    """How it is done. `like` are recordings of whom speech should sound like, `rule` is how words are counted."""

    cache: Path
    workers: int = 1
    threads: int = 1  # of each worker
    transcriber: str = MOONSHINE
    like: tuple[Path, ...] = ()
    rule: Rule = "usual"


@dataclass(frozen=True)
class Progress:
    """How many items are performed or measured, of how many."""

    stage: str  # performing, measuring
    done: int
    total: int


@dataclass(frozen=True)
class Asked:
    """An item, and where what becomes of it is kept."""

    item: Item
    key: str


Tell = Callable[[Progress], None]


def evaluate(choices: Choices, items: Sequence[Item], options: Options, tell: Tell | None = None) -> Report:
    """Have a system do all items, and measure it.

    An item it fails at is a case with an error, and counts as wrong. InputError if there is no item, items of several
    tasks, or a task the system does not know; else raises what opening the system raises.
    """
    _require_one_task(choices, items)
    for path in options.like:
        hash_of_file(path)  # an unreadable one is told of before the work
    tell = tell or (lambda progress: None)
    cache = Cache(options.cache.resolve())
    asked = [Asked(item, key) for item, key in zip(items, choices.keys_of(items), strict=True)]
    failures = _perform(choices, asked, options, cache, tell)
    scores = _measure(asked, options, cache, tell, failures)
    cases = [
        _case(one, cache.performance(one.key) or Performance(error=failures[one.key]), scores[one.item.id])
        for one in asked
    ]
    figures, ordered = summarise(cases)
    missing = {name: why for score in scores.values() for name, why in score.missing.items()}
    for name, why in missing.items():
        logger.warning("not measured: %s: %s", name, why)
    system = asdict(choices) | {"model": choices.name, "identity": choices.identity()}
    told = {"transcriber": options.transcriber, "workers": options.workers, "threads": options.threads}
    told |= {"like": [str(path) for path in options.like], "items": len(items), "task": items[0].task}
    told |= {"rule": options.rule}
    return Report(system, told, made_with(), figures, ordered, missing, cache.folder)


def made_with() -> dict[str, str]:
    """The machine and the packages that figures depend on."""
    facts = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    return facts | {package: release for package in PACKAGES if (release := release_of(package))}


def _require_one_task(choices: Choices, items: Sequence[Item]) -> None:
    tasks = {item.task for item in items}
    if not tasks:
        raise InputError("there is nothing to evaluate", hint="give at least one item")
    if len(tasks) > 1:
        raise InputError(f"the items are to {' and to '.join(sorted(tasks))}", hint="evaluate them one by one")
    (task,) = tasks
    if task not in choices.tasks:
        hint = "score what another system wrote: give a .jsonl of index and prediction, or a folder of recordings"
        raise InputError(f"{choices.name} can {' and '.join(choices.tasks)}, not {task}", hint)


def _perform(choices: Choices, asked: list[Asked], options: Options, cache: Cache, tell: Tell) -> dict[str, str]:
    """Do what is not there yet; why the system failed, by key."""
    todo = list({one.key: one for one in asked if cache.performance(one.key) is None}.values())
    failures: dict[str, str] = {}
    done = len(asked) - len(todo)
    tell(Progress("performing", done, len(asked)))
    with threads(options.threads):
        for key, error in each(partial(_performer, choices, cache, options.threads), todo, options.workers):
            done += 1
            if error:
                failures[key] = error
            tell(Progress("performing", done, len(asked)))
    return failures


def _performer(choices: Choices, cache: Cache, threads: int) -> Callable[[Asked], tuple[str, str]]:
    torch.set_num_threads(threads)
    system = open_system(choices)

    def perform(one: Asked) -> tuple[str, str]:
        try:
            performance, waveform = system.perform(one.item)
        except LoquorError as error:
            logger.info("%s: %s", one.item.id, error)
            return one.key, str(error)
        cache.save(one.key, performance, waveform)
        return one.key, ""

    return perform


def _measure(
    asked: list[Asked], options: Options, cache: Cache, tell: Tell, failures: dict[str, str]
) -> dict[str, Scores]:
    """Scores by the ids of items; those that an instrument was missing for are not kept."""
    kinds = {one.item.id: _scores_kind(one.item, options) for one in asked}
    scores: dict[str, Scores] = {}
    todo = []
    for one in asked:
        facts = None if one.key in failures else cache.facts(one.key, kinds[one.item.id])
        if facts is None:
            todo.append(one)
        else:
            scores[one.item.id] = from_facts(facts)
    tell(Progress("measuring", len(scores), len(asked)))
    for one, found in each(partial(_measurer, options, cache), todo, options.workers):
        scores[one.item.id] = found
        if not found.missing and one.key not in failures:
            cache.save_facts(one.key, kinds[one.item.id], as_facts(found))
        tell(Progress("measuring", len(scores), len(asked)))
    return scores


def _measurer(options: Options, cache: Cache) -> Callable[[Asked], tuple[Asked, Scores]]:
    instruments = Instruments(options.transcriber, options.like, options.rule)

    def measure(one: Asked) -> tuple[Asked, Scores]:
        performance = cache.performance(one.key)
        waveform = cache.sound(one.key) if performance else np.zeros(0, dtype=np.float32)
        return one, instruments.measure(one.item, performance or Performance(), waveform)

    return measure


def _scores_kind(item: Item, options: Options) -> str:
    """A name for the scores of a performance, by all that they follow from besides it."""
    files = [path and hash_of_file(path) for path in (*options.like, item.prompt, item.reference)]
    return f"scores-{hash_of(SCORING, options.transcriber, options.rule, files, item.language, item.answers)[:16]}"


def _case(one: Asked, performance: Performance, scores: Scores) -> Case:
    item, measures = one.item, dict(scores.measures)
    measured: dict[str, Any] = {
        "first_audio_ms": performance.first_audio_ms,
        "stall_ms": performance.stall_ms if performance.first_audio_ms else None,
        "compute_s": performance.compute_s,
        "seconds": performance.seconds or None,
        "peak_memory_mb": performance.peak_memory_mb,
        "accelerator_memory_mb": performance.accelerator_memory_mb,
    }
    if performance.compute_s is not None and performance.seconds:
        measured["rtf"] = performance.compute_s / performance.seconds
    return Case(
        id=item.id,
        task=item.task,
        text=item.text,
        language=item.language,
        key=one.key,
        heard=scores.heard,
        unit=scores.unit,
        pairs=scores.pairs,
        measures=measures | {name: value for name, value in measured.items() if value is not None},
        gaps_ms=performance.gaps_ms,
        faults=scores.faults,
        error=performance.error,
        answers=item.answers,
        recording=str(item.heard.resolve()) if item.heard else "",
        voice=tuple(scores.voice),
    )
