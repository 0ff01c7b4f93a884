"""Word and character error rates as the WeNet toolkit's scripts count them, for comparison with published tables.

They differ from `wer`: text is not normalised beyond upper case, a Chinese character is a token and so is the run of
letters beside it, and where alignments tie, deletions come before insertions and those before substitutions. Rates are
given for all tokens and for each script, in which a token that mixes scripts is "Other".
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Tokens = list[str]
Operation = Literal["correct", "substituted", "deleted", "inserted"]

DROPPED = frozenset("!,?、。！，；？：「」︰『』《》")
BLANKS = frozenset(" \t\r\n")
TAG = re.compile("<[^>]*(>|$)")
SCRIPTS = {  # by the first words of a character's name in Unicode
    "DIGIT": "Number",
    "CJK UNIFIED IDEOGRAPH": "Mandarin",
    "CJK COMPATIBILITY IDEOGRAPH": "Mandarin",
    "LATIN CAPITAL LETTER": "English",
    "LATIN SMALL LETTER": "English",
    "HIRAGANA LETTER": "Japanese",
}
INSIDE_WORDS = frozenset("&'@℃=.-_#+;")  # of any script


@dataclass(frozen=True)
class Errors:
    """Tokens of references, by what became of them, and tokens nobody said."""

    correct: int = 0
    substituted: int = 0
    deleted: int = 0
    inserted: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            self.correct + other.correct,
            self.substituted + other.substituted,
            self.deleted + other.deleted,
            self.inserted + other.inserted,
        )

    @property
    def tokens(self) -> int:
        """Of the references."""
        return self.correct + self.substituted + self.deleted

    @property
    def rate(self) -> float:
        """Errors by tokens, above 1 if more was heard than said; 0 without tokens, as the scripts have it."""
        return (self.substituted + self.deleted + self.inserted) / self.tokens if self.tokens else 0.0


@dataclass(frozen=True)
class WenetReport:
    """Errors of each sentence, of all, and by script."""

    sentences: tuple[Errors, ...]
    overall: Errors
    scripts: dict[str, Errors]


def wenet_tokens(text: str, by_character: bool = True, letters: bool = False) -> Tokens:
    """The tokens a text is scored by.

    `by_character`: cut as Chinese is, else only at blanks. `letters`: words of letters and digits are spelled out, as
    for character error rates; a word with an apostrophe or hyphen stays whole.
    """
    tokens = _cut(text) if by_character else text.split()
    kept = [word for token in tokens if (word := TAG.sub("", token.upper()))]
    return [part for word in kept for part in (word if letters and word.isalnum() else [word])]


def _cut(text: str) -> Tokens:
    """Characters of languages without blanks alone, anything else in runs."""
    tokens, at = [], 0
    while at < len(text):
        end, kind = at + 1, unicodedata.category(text[at])
        if text[at] not in DROPPED | BLANKS and kind not in ("Zs", "Cn"):
            if kind != "Lo":
                end = _end_of_run(text, at)
            tokens.append(text[at:end])
        at = end
    return tokens


def _end_of_run(text: str, start: int) -> int:
    """Up to a blank, or a character beyond ASCII; a tag ends with its bracket."""
    end, is_tag = start + 1, text[start] == "<"
    while end < len(text) and text[end] not in BLANKS and text[end].isascii():
        end += 1
        if is_tag and text[end - 1] == ">":
            break
    return end


def wenet_score(references: Sequence[Tokens], hypotheses: Sequence[Tokens]) -> WenetReport:
    """The report on sentences given as tokens. Raises ValueError if the two have different lengths."""
    sentences: list[Errors] = []
    by_script: Counter[tuple[str, Operation]] = Counter()
    for said, heard in zip(references, hypotheses, strict=True):
        steps = align(said, heard)
        sentences.append(_errors(Counter(operation for operation, _ in steps)))
        by_script.update((script_of(token), operation) for operation, token in steps)
    names = sorted({script for script, _ in by_script})
    scripts = {name: _errors({o: n for (script, o), n in by_script.items() if script == name}) for name in names}
    return WenetReport(tuple(sentences), sum(sentences, Errors()), scripts)


def _errors(counts: dict[Operation, int]) -> Errors:
    return Errors(**{str(operation): count for operation, count in counts.items()})


def align(said: Tokens, heard: Tokens) -> list[tuple[Operation, str]]:
    """A shortest edit from what was said to what was heard; each step with its token, that of `said` if it has one."""
    back = [["inserted"] * (len(heard) + 1)]  # the last step of the best way to each place
    costs = list(range(len(heard) + 1))
    for i, token in enumerate(said, start=1):
        diagonal, costs[0], row = costs[0], i, ["deleted"]
        for j, other in enumerate(heard, start=1):
            options = ((costs[j] + 1, "deleted"), (costs[j - 1] + 1, "inserted"))
            matched = (diagonal, "correct") if token == other else (diagonal + 1, "substituted")
            diagonal = costs[j]
            costs[j], step = min((*options, matched), key=lambda option: option[0])  # the first of those that tie
            row.append(step)
        back.append(row)
    return list(reversed(list(_walk(back, said, heard))))


def _walk(back: list[list[str]], said: Tokens, heard: Tokens) -> Iterable[tuple[Operation, str]]:
    i, j = len(said), len(heard)
    while i or j:
        match back[i][j]:
            case "deleted":
                i -= 1
                yield "deleted", said[i]
            case "inserted":
                j -= 1
                yield "inserted", heard[j]
            case step:
                i, j = i - 1, j - 1
                yield ("correct" if step == "correct" else "substituted"), said[i]


def script_of(token: str) -> str:
    """The one script of a token's characters, else Other; signs that stand inside words are of any."""
    found = {_script(character) for character in token if character not in INSIDE_WORDS}
    return found.pop() if len(found) == 1 else "Other"


def _script(character: str) -> str:
    name = unicodedata.name(character, "")
    return next((script for start, script in SCRIPTS.items() if name.startswith(start)), "Other")
