"""What a script is once it is read: who says what, after which pause, in which chapter."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from loquor.errors import ScriptError

NUMBERED_NAME = re.compile(r"(?:speaker\s*)?(\d+)", re.IGNORECASE)
LINE_BREAK = re.compile(r"\r\n|\r|\n")
UNREADABLE = re.compile("[\0-\b\x0e-\x1f\x7f\ud800-\udfff]")  # control characters and halves of surrogate pairs


@dataclass(frozen=True)
class Turn:
    """What one speaker says without a pause; `text` is a single line and not empty.

    A pause or a chapter mark inside somebody's words makes two turns of them.
    """

    speaker: str
    text: str
    line: int  # of the script, from 1; of a JSON script the number of the entry
    pause_before_s: float = 0.0
    chapter: str | None = None  # title of the chapter that begins here
    start_s: float | None = None  # when the subtitles have these words
    end_s: float | None = None


@dataclass(frozen=True)
class Script:
    """Turns in the order in which they are spoken."""

    turns: tuple[Turn, ...]
    title: str | None = None

    @property
    def speakers(self) -> tuple[str, ...]:
        """Names in order of first appearance."""
        return tuple(dict.fromkeys(turn.speaker for turn in self.turns))


@dataclass(frozen=True)
class Source:
    """A script's name, for errors; `unit` is what it is counted in, if not in lines."""

    name: str
    unit: str = ""

    def fault(self, number: int, message: str, hint: str) -> ScriptError:
        """The error for one place of the script, counted from 1."""
        place = f"{self.name}: {self.unit} {number}" if self.unit else f"{self.name}:{number}"
        return ScriptError(f"{place}: {message}", hint)

    def require_readable(self, text: str, number: int = 1) -> None:
        """ScriptError if there are characters that no text has; `number` is where the text begins."""
        if bad := UNREADABLE.search(text):
            if not self.unit:
                number += len(LINE_BREAK.findall(text, 0, bad.start()))
            raise self.fault(number, f"U+{ord(bad[0]):04X} is no character of a text", hint="save it as UTF-8 text")


class Names:
    """One spelling for each speaker: the cast's, or else the one that comes first."""

    def __init__(self, cast_names: Iterable[str] = ()) -> None:
        self.cast = tuple(speaker_name(name) for name in cast_names)
        self._spelled = {_key(name): name for name in self.cast}
        self._cast_keys = frozenset(self._spelled)

    def is_cast(self, label: str) -> bool:
        return _key(speaker_name(label)) in self._cast_keys

    def spelled(self, label: str) -> str:
        """The name that a label stands for; case, width and spacing make no difference."""
        name = speaker_name(label)
        return self._spelled.setdefault(_key(name), name)


def speaker_name(label: str) -> str:
    """The name a label stands for: "1", "speaker 01" and "Speaker 1" are all "Speaker 1"; others keep their letters."""
    words = " ".join(label.split())
    numbered = NUMBERED_NAME.fullmatch(words)
    if not numbered:
        return words
    digits = "".join(str(unicodedata.decimal(digit)) for digit in numbered[1])
    return f"Speaker {digits.lstrip('0') or '0'}"


def _key(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()
