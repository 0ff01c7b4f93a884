"""Letters of languages that a phoneme model can be taught to read, beside the English it was made for.

No pronouncing dictionary is needed: each letter becomes a symbol of its own, and speech teaches what it sounds like
where. A new symbol's embedding begins as the mean of those of the phonemes it is nearest to, so that most is known.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from loquor.errors import InputError

ZERO_WIDTH_NON_JOINER = "\u200c"  # the half-space


@dataclass(frozen=True)
class Alphabet:
    """A script's characters and what they are said with."""

    script: str  # regular expression of one character that is of the language and of no other that is spoken
    letters: Mapping[str, str]  # each letter, as the normaliser gives it, and the phonemes or marks nearest to it
    marks: Mapping[str, str]  # marks that are written otherwise in English


# fmt: off
PERSIAN = Alphabet(
    script="[\u0600-\u06ff\ufb50-\ufdff\ufe70-\ufeff]",
    letters={
        "ا": "AA1 AE1", "آ": "AA1", "أ": "AE1", "ب": "B", "پ": "P", "ت": "T", "ث": "S", "ج": "JH", "چ": "CH", "ح": "HH",
        "خ": "HH K", "د": "D", "ذ": "Z", "ر": "R", "ز": "Z", "ژ": "ZH", "س": "S", "ش": "SH", "ص": "S", "ض": "Z",
        "ط": "T", "ظ": "Z", "ع": "AE1", "غ": "G", "ف": "F", "ق": "G K", "ک": "K", "گ": "G", "ل": "L", "م": "M",
        "ن": "N", "و": "V UW1 OW1", "ه": "HH EH1", "ی": "IY1 Y", "ئ": "Y", "ؤ": "OW1", "ء": "AH0", "ة": "T",
        "\u064e": "AE1", "\u0650": "EH1", "\u064f": "OW1",  # fatha, kasra, damma
        "\u064b": "AE1 N", "\u064d": "EH1 N", "\u064c": "OW1 N",  # tanvin
        "\u0651": "AH0", "\u0652": "AH0", "\u0654": "Y EH1", "\u0670": "AA1",  # shadda, sukun, hamza above, small alef
        ZERO_WIDTH_NON_JOINER: "AH0",
    },
    marks={"،": ",", "؛": ";", "؟": "?"},
)
# fmt: on
ALPHABETS = {"fa": PERSIAN}


def alphabet(language: str) -> Alphabet:
    """The letters of a language, by its code. InputError if there are none."""
    if language not in ALPHABETS:
        raise InputError(f"there is no alphabet for {language!r}", hint=f"there is {', '.join(ALPHABETS)}")
    return ALPHABETS[language]
