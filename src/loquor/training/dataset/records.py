"""What passes through the preparation: what a source lists, and what becomes of it.

Nothing is left out silently: an item of a source ends as one or more records, or as a `Dropped` that says why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from loquor.audio.resample import Waveform
from loquor.models.codec import SAMPLE_RATE_HZ

LONGEST_READ_S = 600.0  # of a recording; from longer ones sentences cannot be told apart with some certainty

REASONS = {
    "no-text": "it has no text, or none that can be read",
    "no-sound": "there is no recording to the text",
    "unreadable": "the recording cannot be decoded, or holds something that is no number",
    "silent": "nothing in the recording is louder than a closed microphone",
    "too-short": "less sound than --shortest",
    "too-long": "more sound than --longest, and no pauses that surely are ends of its sentences",
    "clipped": "the loudest moments are cut off",
    "script": "less than half of the letters are of the language's script",
    "pace": "said faster or slower than the text can be: text and recording do not belong together",
    "transcript": "the recogniser hears something else",
    "voice": "a voice prompt cannot be used",
    "encoding": "the codec gives numbers that cannot be stored",
    "duplicate": "its name or its recording is that of an item before it",
}


class Sound(Protocol):
    """A recording that can be read when it is needed; small, hashable, and the same in another process."""

    @property
    def name(self) -> str:
        """What errors call it."""

    def stamp(self) -> str:
        """What changes when the recording does, without reading it."""

    def waveform(self) -> Waveform:
        """[T] at 24 kHz, no more than a second beyond LONGEST_READ_S. AudioError if there is none."""

    def __hash__(self) -> int: ...


@dataclass(frozen=True)
class RawItem:
    """One item as a source gives it."""

    id: str
    text: str
    sound: Sound
    speaker: str = ""
    language: str = ""
    voices: tuple[Sound, ...] = ()  # other recordings of its speakers, in the order of their numbers


@dataclass(frozen=True)
class Dropped:
    """An item, or a piece of one, that is not in the data set; `reason` is one of REASONS."""

    id: str
    reason: str
    detail: str
    figures: Mapping[str, float] = field(default_factory=dict)


class Unfit(Exception):  # noqa: N818 - no error: many items are
    """Why an item is dropped; raised wherever that is found out, caught in one place."""

    def __init__(self, reason: str, detail: str, **figures: float) -> None:
        super().__init__(detail)
        assert reason in REASONS
        self.reason, self.detail, self.figures = reason, detail, figures

    def dropping(self, name: str) -> Dropped:
        return Dropped(name, self.reason, self.detail, {k: round(v, 3) for k, v in self.figures.items()})


def as_json(value: Any, indent: int | None = None) -> str:
    """JSON in readable letters; halves of surrogate pairs, as in names of odd files, stay escaped."""
    return json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8", "backslashreplace").decode()


Line = tuple[int, str]  # number of a voice, from 0, and what it says


@dataclass(frozen=True)
class Record:
    """What the index knows of an item; times are in seconds of the source's recording."""

    id: str
    lines: tuple[Line, ...]  # as they are said: normalised
    written: str  # as the source has them
    speaker: str
    language: str
    split: str
    source: str
    start_s: float
    end_s: float
    level_dbfs: float  # before it was changed
    pace: float  # times the usual
    wer: float | None  # of the recogniser, if it was asked
    heard: str | None
    sound: str  # hash of the samples, before their level was changed
    samples: int
    shard: int = 0
    frames: int = 0
    start: int = 0  # row of its first frame in the shard
    voices: tuple[tuple[int, int], ...] = ()  # first row and rows of each, among the shard's voices
    own_voice: bool = False  # the voice is a part of the item itself: nobody recorded one
    first_sample: int | None = None  # in the shard, if the sound is kept

    @property
    def text(self) -> str:
        return " ".join(text for _, text in self.lines)

    @property
    def seconds(self) -> float:
        return self.samples / SAMPLE_RATE_HZ

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Record:
        """From JSON; TypeError or KeyError if it is no record."""
        lines = tuple((int(voice), str(text)) for voice, text in values["lines"])
        voices = tuple((int(start), int(rows)) for start, rows in values["voices"])
        return cls(**{**values, "lines": lines, "voices": voices})
