"""What was said against what was heard, in any language: aligned words, or characters where words are no unit.

English is normalised as `wer` does it. Languages that write no spaces between words, and Persian, where a space, a
half-space and none are matters of taste, are counted by characters: letters, marks and digits, all else dropped, after
Unicode's NFKC; numbers of Persian are spelled first. Others are counted by words after the basic normaliser of Whisper
(arXiv:2212.04356, appendix C). The other rule is that of the WeNet scripts, which published tables of recognition use.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from loquor.errors import MissingExtra
from loquor.evaluation.wenet import align, wenet_tokens
from loquor.text.languages import normalize

Unit = Literal["words", "characters"]
Rule = Literal["usual", "wenet"]
Pair = tuple[str | None, str | None]  # said and heard; None where the other side has nothing

BY_CHARACTER = frozenset({"zh", "yue", "ja", "ko", "th", "fa"})
SPOKEN = "LMN"  # first letters of Unicode's categories: letters, marks that belong to them, numbers
SCRIPTS = (  # whose letters tell a language, the first found counts
    (re.compile("[\u3040-\u30ff]"), "ja"),
    (re.compile("[\u3400-\u9fff]"), "zh"),
    (re.compile("[\uac00-\ud7af]"), "ko"),
    (re.compile("[\u0600-\u06ff]"), "fa"),
    (re.compile("[\u0e00-\u0e7f]"), "th"),
)


@dataclass(frozen=True)
class Alignment:
    """A shortest edit from what was said to what was heard, as tokens side by side."""

    pairs: tuple[Pair, ...]
    unit: Unit

    @property
    def tokens(self) -> int:
        """Of what was to be said."""
        return sum(said is not None for said, _ in self.pairs)

    @property
    def errors(self) -> int:
        return sum(said != heard for said, heard in self.pairs)

    @property
    def rate(self) -> float:
        """Errors by tokens, above 1 if more was heard than said."""
        return self.errors / max(self.tokens, 1)


def compare_texts(said: str, heard: str, language: str = "en", rule: Rule = "usual") -> Alignment:
    """Align two texts of a language, given by its code (en, fa-IR). MissingExtra without the normalisers."""
    left, right = tokens_of(said, language, rule), tokens_of(heard, language, rule)
    unit: Unit = "characters" if rule == "usual" and _code(language) in BY_CHARACTER else "words"
    pairs: list[Pair] = []
    at = 0  # in `right`
    for operation, token in align(left, right):
        if operation == "deleted":
            pairs.append((token, None))
            continue
        pairs.append((None if operation == "inserted" else token, right[at]))
        at += 1
    return Alignment(tuple(pairs), unit)


def tokens_of(text: str, language: str, rule: Rule = "usual") -> list[str]:
    """What a text of a language is compared by."""
    if rule == "wenet":
        return wenet_tokens(text)
    code = _code(language)
    if code not in BY_CHARACTER:
        return _normalizer(code)(text).split()
    spelled = normalize(text, code) if code == "fa" else text
    folded = unicodedata.normalize("NFKC", spelled).casefold()
    return [character for character in folded if unicodedata.category(character)[0] in SPOKEN]


def language_of_text(text: str) -> str:
    """The language that a text's letters tell of; en if none does."""
    return next((language for letters, language in SCRIPTS if letters.search(text)), "en")


def _code(language: str) -> str:
    return language.lower().replace("_", "-").partition("-")[0]


@cache
def _normalizer(code: str) -> Callable[[str], str]:
    try:
        from whisper_normalizer.basic import BasicTextNormalizer
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError as error:
        message = "error rates need whisper-normalizer"
        raise MissingExtra(message, hint="pip install 'loquor[eval]'") from error
    return EnglishTextNormalizer() if code == "en" else BasicTextNormalizer()  # type: ignore[no-any-return]
