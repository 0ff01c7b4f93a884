"""The text of an item as a model learns it: who says what, in the words that are said.

A text may be a script of numbered speakers ("Speaker 0: Hello."), as the community's fine-tuner takes it, one recording
of several voices. Their numbers become places among the voices, in ascending order, whatever they begin with; the tag
is read in any case, because an adapter trained on "speaker 0:" was reported to be of no use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from loquor.errors import InputError, ScriptError
from loquor.text.languages import NORMALIZERS, SpacesOnly, TextNormalizer, normalizer
from loquor.text.script import parse_script
from loquor.text.script_tags import NUMBERED
from loquor.text.tokenizer import readable
from loquor.training.dataset.records import Line, Unfit
from loquor.training.dataset.writing import LEAST_SHARE, language_code, share_in_script

TAGGED = re.compile(rf"\s*{NUMBERED.pattern}\s*[:：]", re.IGNORECASE)
NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Wording:
    """The lines of an item as written and as said."""

    written: tuple[Line, ...]
    said: tuple[Line, ...]

    @property
    def voices(self) -> int:
        return 1 + max(voice for voice, _ in self.said)


def wording(text: str, language: str, normalized: bool, any_script: bool = False) -> Wording:
    """What is said; Unfit if that is nothing, or if the letters are of another script than the language's."""
    try:
        written = _lines(readable(text))
    except InputError as error:
        raise Unfit("no-text", str(error)) from None
    share = share_in_script(text, language)
    if share is not None and share < LEAST_SHARE and not any_script:
        detail = f"{share:.0%} of the letters are of a script that {language!r} is written in: {text.strip()[:40]!r}"
        raise Unfit("script", detail, share=share)
    say = reader(language if normalized else "none")
    said = tuple((voice, say(words)) for voice, words in written)
    if not all(re.search(r"\w", words) for _, words in said):
        raise Unfit("no-text", f"nothing in it can be said: {text.strip()[:40]!r}")
    return Wording(written, said)


def reader(language: str) -> TextNormalizer:
    """The normaliser of a language; single spaces for one that has none."""
    return normalizer(language) if has_normalizer(language) else SpacesOnly()


def has_normalizer(language: str) -> bool:
    return language_code(language) in NORMALIZERS


def _lines(text: str) -> tuple[Line, ...]:
    """Turns if the text begins with a numbered tag, else all of it in one voice."""
    if not TAGGED.match(text):
        words = " ".join(text.split())
        if not words:
            raise Unfit("no-text", "the text is empty")
        return ((0, words),)
    try:
        turns = parse_script(text, "text", "text").turns
    except ScriptError as error:
        raise Unfit("no-text", str(error)) from None
    numbers = {turn.speaker: int(found[0]) for turn in turns if (found := NUMBER.search(turn.speaker))}
    places = {speaker: place for place, speaker in enumerate(sorted(numbers, key=lambda name: numbers[name]))}
    return tuple((places[turn.speaker], turn.text) for turn in turns)
