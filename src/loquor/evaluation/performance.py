"""What a system did with an item, its sound, its words, the wait, kept under a hash of all that it follows from.

A performance is measured as it is kept, 16-bit wav, so a figure does not depend on whether it was made just now. Kept
is what is complete: the record is written after the sound, both atomically, so a run that was killed goes on where it
was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from loquor.audio.resample import Waveform
from loquor.checkpoints import write_atomically, write_text
from loquor.errors import CheckpointError


@dataclass(frozen=True)
class Performance:
    """What is known of one performance besides its sound. Times are of the machine that it was made on."""

    seconds: float = 0.0  # of sound
    sample_rate_hz: int = 24_000
    text: str = ""  # the written answer, of a system that writes
    finish: str = "end"  # end, or what cut it off: limit, runaway
    imitates: bool = False  # whether it was to sound like the item's prompt
    error: str = ""  # why there is nothing
    first_audio_ms: float | None = None  # None: not measured
    gaps_ms: tuple[float, ...] = ()  # between chunks
    stall_ms: float = 0.0  # that a listener who starts with the first chunk waits later on
    compute_s: float | None = None
    peak_memory_mb: float | None = None  # of the process, until then
    accelerator_memory_mb: float | None = None


@dataclass(frozen=True)
class Cache:
    """A folder of performances and of what was measured of them, by keys that are hashes."""

    folder: Path

    def sound_path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.wav"

    def save(self, key: str, performance: Performance, waveform: Waveform) -> None:
        """Keep waveform [T], which may be empty."""
        if len(waveform):

            def write(path: Path) -> None:
                soundfile.write(path, waveform.clip(-1, 1), performance.sample_rate_hz, format="WAV", subtype="PCM_16")

            write_atomically(self.sound_path(key), write)
        self.save_facts(key, "performance", asdict(performance))

    def performance(self, key: str) -> Performance | None:
        """What is kept under a key; None if there is nothing, or nothing whole."""
        facts = self.facts(key, "performance")
        if facts is None or (facts["seconds"] and not self.sound_path(key).is_file()):
            return None
        return Performance(**facts | {"gaps_ms": tuple(facts["gaps_ms"])})

    def sound(self, key: str) -> Waveform:
        """The sound [T] of a performance; empty if it has none."""
        path = self.sound_path(key)
        if not path.is_file():
            return np.zeros(0, dtype=np.float32)
        waveform: Waveform = soundfile.read(path, dtype="float32")[0]
        return waveform

    def save_facts(self, key: str, kind: str, facts: Mapping[str, Any]) -> None:
        write_text(self._facts_path(key, kind), json.dumps(facts, ensure_ascii=False))

    def facts(self, key: str, kind: str) -> dict[str, Any] | None:
        """What was saved; None if nothing was, or it cannot be read."""
        try:
            return json.loads(self._facts_path(key, kind).read_text(encoding="utf-8"))  # type: ignore[no-any-return]
        except (OSError, ValueError):
            return None

    def _facts_path(self, key: str, kind: str) -> Path:
        return self.folder / key[:2] / f"{key}.{kind}.json"


def hash_of(*values: Any) -> str:
    """A hash of what JSON takes, the same in every process."""
    written = json.dumps(values, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(written.encode()).hexdigest()[:32]


def hash_of_file(path: Path) -> str:
    """A hash of a file's content. CheckpointError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error


def release_of(package: str) -> str:
    """Which release of a package is installed; empty if none is."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
