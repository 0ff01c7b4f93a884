"""What is asked of a data set. Everything here shapes its bytes, so a preparation goes on only with the same."""

from __future__ import annotations

import math
from dataclasses import dataclass

from loquor.audio.level import TARGET_DBFS
from loquor.errors import InputError

SPLITS = ("train", "validation")
SPLIT_BY = ("text", "speaker")
ALLOWED = ("clipped", "script")  # reasons that a set may have good grounds to put up with


@dataclass(frozen=True)
class Settings:
    """Lengths in seconds. `level_dbfs` None leaves every recording as loud as it is."""

    language: str = ""  # of items that do not tell theirs
    speaker: str = ""  # of items that do not tell theirs
    as_written: bool = False  # texts are not normalised
    level_dbfs: float | None = TARGET_DBFS
    shortest_s: float = 0.3
    longest_s: float = 15.0
    slowest: float = 0.3  # times the usual pace of `text.timing`
    fastest: float = 2.0
    check_transcript: bool = False
    most_wer: float = 0.5
    validation: float = 0.02  # share of the items
    split_by: str = "text"
    keep_audio: bool = False
    allow: tuple[str, ...] = ()
    shard_items: int = 64  # of the source: what is lost at most when a run is killed

    def __post_init__(self) -> None:
        _require("--shortest", self.shortest_s, 0.1, self.longest_s)
        _require("--longest", self.longest_s, self.shortest_s, 600)
        _require("--slowest", self.slowest, 0, self.fastest)
        _require("--fastest", self.fastest, self.slowest, 100)
        _require("--most-wer", self.most_wer, 0, 100)
        _require("--validation", self.validation, 0, 1)
        _require("--shard-items", self.shard_items, 1, 10_000)
        if self.level_dbfs is not None:
            _require("--level", self.level_dbfs, -60, -10)
        if self.split_by not in SPLIT_BY:
            raise InputError(f"--split-by is {self.split_by!r}", hint=f"it is one of {', '.join(SPLIT_BY)}")
        for reason in self.allow:
            if reason not in ALLOWED:
                raise InputError(f"{reason!r} cannot be allowed", hint=f"only {' and '.join(ALLOWED)} can")


def _require(name: str, value: float, least: float, most: float) -> None:
    if not (math.isfinite(value) and least <= value <= most):
        raise InputError(f"{name} is {value:g}", hint=f"it lies between {least:g} and {most:g}")
