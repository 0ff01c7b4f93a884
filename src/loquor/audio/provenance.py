"""What a file of generated speech says of itself, in one line that every format has a place for.

The last field is the word for such content in the news industry's list of digital source types
(cv.iptc.org/newscodes/digitalsourcetype), which other tools know too.
"""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath

COMMENT = "AI-generated speech (Loquor)"
SOURCE_TYPE = "trainedAlgorithmicMedia"


def today() -> str:
    """Such as 2026-11-21, in UTC; SOURCE_DATE_EPOCH, in seconds, stands for now (reproducible-builds.org)."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.datetime.now(datetime.UTC)
    return (datetime.datetime.fromtimestamp(int(epoch), datetime.UTC) if epoch.isdigit() else now).date().isoformat()


@lru_cache(maxsize=1)
def generator() -> str:
    """This program and its version."""
    try:
        return f"Loquor {version('loquor')}"
    except PackageNotFoundError:
        return "Loquor"


@dataclass(frozen=True)
class Provenance:
    """Where speech comes from; what is not known is left out."""

    model: str = ""
    voice: str = ""
    date: str = field(default_factory=today)

    @property
    def comment(self) -> str:
        """All of it as `COMMENT; name: value; ...`."""
        voice = PurePath(self.voice).name  # of a recording the file, and not whose computer it is on
        facts = {"generator": generator(), "model": self.model, "voice": voice, "date": self.date}
        told = [f"{name}: {_on_one_line(value)}" for name, value in facts.items() if value]
        return "; ".join([COMMENT, *told, f"digital source type: {SOURCE_TYPE}"])


def _on_one_line(value: str) -> str:
    return " ".join(value.replace(";", ",").split())


def comment_of(path: Path) -> str:
    """What the file at `path` says of itself; "" if nothing, or if only FFmpeg can read it."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            return str(file.comment)
    except (soundfile.SoundFileError, TypeError):  # TypeError: a name that ends in .raw says too little
        return ""
