"""A line for every synthesis: who had what said, in whose voice, and how that went. The text itself is not kept.

With the hash of a text, whoever holds the text can show that this server said it, and when; nobody can read it back.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from loquor.errors import ConfigError


@dataclass(frozen=True)
class Entry:
    """What is written of a synthesis."""

    time: str  # UTC, ISO 8601, of the request
    id: str
    client: str
    protocol: str
    model: str
    voice: str
    seed: int
    characters: int
    text_sha256: str
    outcome: str  # end, limit, runaway, cancelled, refused, or the class of an error
    seconds: float  # of speech
    queue_wait_s: float
    first_audio_ms: float | None
    rtf: float | None
    gaps: int


class Audit:
    """Writes JSON lines, from any thread."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write, self._lock = write, threading.Lock()

    @classmethod
    def to_stderr(cls) -> Audit:
        return cls(lambda line: print(line, file=sys.stderr, flush=True))

    @classmethod
    def to_file(cls, path: Path) -> Audit:
        """Adds to a file; ConfigError at once if that cannot be."""
        try:
            file = path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}", hint="choose another --audit-log") from error
        return cls(lambda line: print(line, file=file))

    @classmethod
    def off(cls) -> Audit:
        return cls(lambda line: None)

    def note(self, entry: Entry) -> None:
        line = json.dumps(asdict(entry), ensure_ascii=False)
        with self._lock:
            self._write(line)
