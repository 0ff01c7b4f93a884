"""One normaliser for each language: text as it is written to text as it is said, before a model learns or says it.

A normaliser is a callable from text to text. It never raises, and what it has given it leaves as it is, so a text may
pass it twice. To add a language, write its module and add a line to `NORMALIZERS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Protocol

from loquor.errors import InputError


class TextNormalizer(Protocol):
    def __call__(self, text: str) -> str:
        """What is said for a text."""


@dataclass(frozen=True)
class SpacesOnly:
    """For a language without a normaliser, and for texts that have passed one: single spaces, all else as written."""

    def __call__(self, text: str) -> str:
        return " ".join(text.split())


def _english() -> Callable[..., TextNormalizer]:
    from loquor.text.english import EnglishNormalizer

    return EnglishNormalizer


def _persian() -> Callable[..., TextNormalizer]:
    from loquor.text.persian import PersianNormalizer

    return PersianNormalizer


# Each language's module is imported when a text of it is first read: its patterns take a while to compile.
NORMALIZERS: dict[str, Callable[[], Callable[..., TextNormalizer]]] = {
    "en": _english,
    "fa": _persian,
    "none": lambda: SpacesOnly,
}


def normalizer(language: str, **options: str) -> TextNormalizer:
    """The normaliser of a language, by its ISO 639-1 code ("fa", also as "fa-IR"), with the options that it has.

    Raises InputError for a language or an option that is not known, with those that are.
    """
    code = language.lower().replace("_", "-").partition("-")[0]
    if code not in NORMALIZERS:
        raise InputError(
            f"there is no text normaliser for {language!r}",
            hint=f"known are {', '.join(NORMALIZERS)}; `none` leaves the words as they are",
        )
    make = NORMALIZERS[code]()
    unknown = sorted(options.keys() - signature(make).parameters.keys())
    if unknown:
        known = ", ".join(signature(make).parameters) or "none"
        raise InputError(f"the normaliser for {code!r} has no option {unknown[0]!r}", hint=f"its options: {known}")
    return make(**options)


def normalize(text: str, language: str = "en", **options: str) -> str:
    """What is said for a text. Raises InputError as `normalizer` does."""
    return normalizer(language, **options)(text)
