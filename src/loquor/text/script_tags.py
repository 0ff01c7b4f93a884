"""Which labels at the beginning of a line are speakers' tags, decided once for a whole script.

- "Speaker 1:" and "[1]:", in any case and spacing, with the colon of any width, in bold or not, are always tags.
- So are the names of the cast.
- Other names are tags only in a script without numbered tags. A label counts as a name if it is one word, or two to
  four of which the first and the last have no small initial: "Alice", "Dr. Smith", "Ludwig van Beethoven", "爱丽丝",
  but not "The thing is". Text on both sides of the colon as in "12:30" or "https://" is no label.
- If there is a cast, such a name must be of it: nobody's words shall be spoken by the speaker before.

What looks like a tag and cannot be one ("Speaker 1 - Hello", "Alice (laughing): Hello") is an error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from loquor.text.timing import UNSPACED
from loquor.text.turns import Names, Source

LABEL = re.compile(
    r"(\*{0,3})([^:：*]{1,80}?)\s*(?:\1\s*[:：]|[:：]\1)(?P<next>.?)"
)  # **Alice:** or **Alice**: as well
NUMBERED = re.compile(r"(?:speaker\s*(\d+)|\[\s*(?:speaker\s*)?(\d+)\s*\])", re.IGNORECASE)
ASIDE = re.compile(r"(.+?)\s*\([^()]*\)")
WRONG_MARK = re.compile(r"\*{0,3}\[?speaker\s*\d+\]?\*{0,3}\s*[-–—;.|>)=(]", re.IGNORECASE)
STRAY = re.compile(r"\*{0,3}speaker\b(?:\s*\d+\b|(?:\s+\w+)?\s*[:：])", re.IGNORECASE)
NAME_WORD = re.compile(r"[^\W_][\w'’·-]*|(?:[^\W\d_]{1,4}\.)+|#\d+")
NAME_DOT = re.compile("[·・]")  # parts names where words have no spaces between
MAX_NAME_WORDS, MAX_UNSPACED = 4, 6  # words; characters of a part in such a script
NO_LABEL_BEFORE = ("/", "\\", ":")


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A stripped line, or a piece of one, of a script."""

    number: int
    text: str
    span: tuple[float, float] | None = None  # the seconds in which subtitles show it
    speaker: str | None = None  # if the format has a place for the name


class Tags:
    """The tags of one script."""

    def __init__(self, lines: Sequence[SourceLine], source: Source, names: Names) -> None:
        self.source, self.names = source, names
        self.has_voices = any(line.speaker for line in lines)
        self.is_numbered = any((found := LABEL.match(line.text)) and _number(found[2]) for line in lines)

    def split(self, line: SourceLine) -> tuple[str | None, str]:
        """The speaker whose tag begins the line, if one does, and the words."""
        if line.speaker or self.has_voices:
            return self.names.spelled(line.speaker) if line.speaker else None, line.text
        found = LABEL.match(line.text)
        if found and self._is_tag(found[2], found["next"], line):
            return self.names.spelled(_number(found[2]) or found[2]), line.text[found.start("next") :].strip()
        if WRONG_MARK.match(line.text) or (self.is_numbered and STRAY.match(line.text)):
            hint = "a tag is Speaker 1: with a colon; if it is none, join the line to the one before"
            raise self.source.fault(line.number, f"{line.text[:40]!r} begins like a tag, and is none", hint)
        return None, line.text

    def _is_tag(self, label: str, after: str, line: SourceLine) -> bool:
        if _number(label) or self.names.is_cast(label):
            return True
        name = _bare(label)
        is_cast = self.names.is_cast(name)
        if not is_cast and (self.is_numbered or not _is_name_before(label, after)):
            return False
        if self.names.cast and not is_cast:
            cast = ", ".join(self.names.cast)
            hint = f"add {name} to the cast; if it is no speaker, join the line to the one before"
            raise self.source.fault(line.number, f"{name} is not in the cast ({cast})", hint)
        if name != label:
            hint = f"write {name}: and the words; how they are said cannot be told"
            raise self.source.fault(line.number, f"a tag holds a name alone, not {label!r}", hint)
        return True


def begins_like_a_tag(text: str) -> bool:
    """Whether some script might take the beginning of this line for a speaker's tag."""
    found = LABEL.match(text)
    if found and (_number(found[2]) or _is_name_before(found[2], found["next"])):
        return True
    return bool(WRONG_MARK.match(text) or STRAY.match(text))


def is_name(label: str) -> bool:
    """Whether a label looks like somebody's name."""
    words = label.split()
    if not 1 <= len(words) <= MAX_NAME_WORDS or not words[0][0].isalpha():
        return False
    if not all(NAME_WORD.fullmatch(word) for word in words):
        return False
    if any(len(UNSPACED.findall(part)) > MAX_UNSPACED for part in NAME_DOT.split(label)):
        return False
    return len(words) == 1 or not (words[0][0].islower() or words[-1][0].islower())


def _is_name_before(label: str, after: str) -> bool:
    """Whether a label, perhaps with an aside in brackets, can be a tag, given the character behind its colon."""
    return after not in NO_LABEL_BEFORE and not after.isdigit() and is_name(_bare(label))


def _bare(label: str) -> str:
    aside = ASIDE.fullmatch(label)
    return aside[1] if aside else label


def _number(label: str) -> str | None:
    found = NUMBERED.fullmatch(label.strip())
    return (found[1] or found[2]) if found else None
