"""What is evaluated: a model of ours that speaks, a transcriber, or what any other system left in a folder."""

from __future__ import annotations

import time
from functools import cache, partial
from pathlib import Path
from typing import Protocol

from loquor.audio.io import read
from loquor.errors import InputError
from loquor.evaluation.choices import Choices, predictions_in, recording_of
from loquor.evaluation.performance import Performance
from loquor.evaluation.sets import Item
from loquor.evaluation.speaking import SILENCE, LoadedModel, Performed, memory_held
from loquor.evaluation.transcribers import open_transcriber
from loquor.models.codec import SAMPLE_RATE_HZ


class System(Protocol):
    """Does items, one at a time."""

    def perform(self, item: Item) -> Performed:
        """What the system makes of an item: facts and waveform [T]. Raises LoquorError if it cannot."""
        ...


def open_system(choices: Choices) -> System:
    """The system of these choices. Raises as `loquor.load` does."""
    if choices.recorded:
        return Recorded(choices.recorded)
    if choices.is_listener:
        return Listener(choices.name)
    return LoadedModel(choices)


class Listener:
    """A transcriber, asked to write down what it hears."""

    def __init__(self, name: str) -> None:
        self._open = cache(partial(open_transcriber, name))

    def perform(self, item: Item) -> Performed:
        assert item.heard is not None
        waveform, transcriber = read(item.heard, SAMPLE_RATE_HZ), self._open(item.language)
        started = time.perf_counter()
        text = transcriber.transcribe(waveform, SAMPLE_RATE_HZ)
        took = time.perf_counter() - started
        return Performance(text=text, compute_s=took, **memory_held("cpu")), SILENCE


class Recorded:
    """What another system did: recordings named by the items' ids, and written answers in a .jsonl or as .txt.

    Rows of the .jsonl have an `index` or `id`, and a `prediction`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._texts = predictions_in(path)

    def perform(self, item: Item) -> Performed:
        found, text = recording_of(self._path, item), self._texts.get(item.id)
        if found is None and text is None:
            raise InputError(f"{self._path} has nothing for {item.id}", hint="name recordings by the items' ids")
        waveform = read(found, SAMPLE_RATE_HZ) if found else SILENCE
        facts = Performance(
            seconds=len(waveform) / SAMPLE_RATE_HZ,
            sample_rate_hz=SAMPLE_RATE_HZ,
            text=text or "",
            imitates=item.prompt is not None,
        )
        return facts, waveform
