"""Which script a language is written in, to notice texts of another language than they are said to be."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

LEAST_SHARE = 0.5  # of the letters; a name or a brand in another script is no fault

# fmt: off
_LANGUAGES = {
    "LATIN": "af az br ca cs cy da de en eo es et eu fi fr fy ga gl ha hr hu ia id is it kmr ku lb lt lv ms mt nl nn "
             "no pl pt rm ro rw sk sl so sq sv sw tk tl tr uz vi xh yo zu",
    "ARABIC": "ar ckb fa ps sd ug ur",
    "CYRILLIC": "ab ba be bg cv kk ky mk mn ru tg tt uk",
    "DEVANAGARI": "hi mr ne",
    "CJK": "yue zh",
    "CJK HIRAGANA KATAKANA": "ja",
    "HANGUL CJK": "ko",
    "ARMENIAN": "hy", "BENGALI": "as bn", "ETHIOPIC": "am ti", "GEORGIAN": "ka", "GREEK": "el", "GUJARATI": "gu",
    "GURMUKHI": "pa", "HEBREW": "he yi", "KANNADA": "kn", "KHMER": "km", "LAO": "lo", "MALAYALAM": "ml",
    "MYANMAR": "my", "ORIYA": "or", "SINHALA": "si", "TAMIL": "ta", "TELUGU": "te", "THAI": "th",
}
# fmt: on
SCRIPTS = {
    language: frozenset(scripts.split()) for scripts, languages in _LANGUAGES.items() for language in languages.split()
}


def language_code(language: str) -> str:
    """The ISO 639 code in lower case, without a region: "fa" of "fa-IR"."""
    return language.lower().replace("_", "-").partition("-")[0]


def share_in_script(text: str, language: str) -> float | None:
    """How many of the letters of a text, from 0 to 1, are of the script its language is written in.

    None if the language is not in SCRIPTS, or the text has no letters.
    """
    scripts = SCRIPTS.get(language_code(language))
    letters = [character for character in text if character.isalpha()]
    if scripts is None or not letters:
        return None
    return sum(script_of(letter) in scripts for letter in letters) / len(letters)


@lru_cache(maxsize=4096)
def script_of(letter: str) -> str:
    """LATIN of "LATIN SMALL LETTER A"; the names of Unicode begin with the script."""
    return unicodedata.name(letter, "").partition(" ")[0]
