"""How English words sound: the CMU Pronouncing Dictionary, with letter names and a trained guess for the rest.

Symbols are ARPAbet as the dictionary writes them: 24 consonants and 15 vowels, each vowel with its stress digit
(0 none, 1 primary, 2 secondary). The file in `data/` is built by `loquor.training.dictionary` and holds one
pronunciation a word, the commoner one; its licence is `data/cmudict-LICENSE.txt`. Words it lacks or has otherwise are
written by hand in `data/supplement.txt`.
"""

import lzma
import re
from functools import lru_cache
from importlib.resources import files

from loquor.text.letter_to_sound import letter_to_sound

VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
CONSONANTS = (
    *("B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N"),
    *("NG", "P", "R", "S", "SH", "T", "TH", "V", "W", "Y", "Z", "ZH"),
)
ARPABET = tuple(vowel + stress for vowel in VOWELS for stress in "012") + CONSONANTS
CODES = {phoneme: chr(33 + i) for i, phoneme in enumerate(ARPABET)}  # one character a phoneme in the data file
SPELLED_CAPITALS = {  # small letters would be other words
    *(
        "AD",
        "AI",
        "AR",
        "CT",
        "ED",
        "EM",
        "ER",
        "EST",
        "EU",
        "EV",
        "ID",
        "IMO",
        "LA",
        "OS",
        "ROI",
        "SEC",
        "SEO",
        "UN",
        "US",
    )
}
VOICELESS, SIBILANTS = {"CH", "F", "K", "P", "S", "SH", "T", "TH"}, {"CH", "JH", "S", "SH", "Z", "ZH"}
CLITICS = {"s": "", "ll": "AH0 L", "re": "ER0", "ve": "V", "d": "D", "m": "M"}  # -s depends on what it follows
LONGEST_GUESS = 40  # letters guessed at a time

Phonemes = tuple[str, ...]


@lru_cache(maxsize=1)
def dictionary_lines() -> bytes:
    """The dictionary as sorted lines `word<TAB>codes`, between newlines: searched in place, so loading is unpacking."""
    packed = files("loquor.text").joinpath("data/cmudict.txt.xz").read_bytes()
    return b"\n" + lzma.decompress(packed)


@lru_cache(maxsize=1)
def supplement() -> dict[str, Phonemes]:
    """Words younger than the dictionary, and what it has otherwise than people say it."""
    text = files("loquor.text").joinpath("data/supplement.txt").read_text(encoding="utf-8")
    entries = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return {word: tuple(phonemes) for word, *phonemes in entries}


@lru_cache(maxsize=20_000)
def dictionary_entry(word: str) -> Phonemes | None:
    """The pronunciation of a lower-case word in the supplement or the dictionary, or None."""
    if word in supplement():
        return supplement()[word]
    lines, key = dictionary_lines(), word.encode()
    low, high = 0, len(lines) - 1
    while low < high:  # bisection over bytes: the line around the middle decides
        start = lines.rfind(b"\n", 0, (low + high) // 2 + 1) + 1
        end = lines.index(b"\n", start)
        entry, _, codes = lines[start:end].partition(b"\t")
        if entry == key:
            return tuple(ARPABET[code - 33] for code in codes)
        if entry < key:
            low = end
        else:
            high = start - 1
    return None


@lru_cache(maxsize=20_000)
def pronounce(word: str) -> Phonemes:
    """Phonemes of one word of letters and apostrophes; capitals decide what is spelled out. Never empty."""
    entry = dictionary_entry(word.lower())
    if word in SPELLED_CAPITALS or (not entry and is_spelled(word)):
        return spelled_out(word)
    if entry:
        return entry
    if "'" in word:
        return with_apostrophe(word)
    parts = re.findall("[A-Z]{2,}s(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+", word)
    if len(parts) > 1:  # ChatGPT
        return tuple(phoneme for part in parts for phoneme in pronounce(part))
    return inflected(word) or guessed(word.lower())


def is_spelled(word: str) -> bool:
    """Whether an unknown word looks like an abbreviation: short, in capitals or without a vowel."""
    without_vowel = word[1:].islower() and not set("aeiouy") & set(word.lower())
    return word.isalpha() and 2 <= len(word) <= 5 and (word.isupper() or without_vowel)


def spelled_out(word: str) -> Phonemes:
    """The names of the letters, one after the other."""
    names = {"a": "ay"}  # the dictionary's "a" is the article
    return tuple(p for letter in word.lower() for p in dictionary_entry(names.get(letter, letter)) or ())


def with_apostrophe(word: str) -> Phonemes:
    """A word and what is left of a second one, or several words in one ("rock'n'roll")."""
    stem, _, rest = word.rpartition("'")
    rest = rest.lower()
    base = dictionary_entry(stem.lower()) if "'" in stem else None  # couldn't've
    if not base:
        base = tuple(p for part in stem.split("'") if part for p in pronounce(part))
    if not base or rest not in CLITICS:
        return base + (pronounce(rest) if rest else ())
    return base + (plural_ending(base[-1]) if rest == "s" else tuple(CLITICS[rest].split()))


def inflected(word: str) -> Phonemes:
    """A known word in the plural or past, or nothing. Other endings are guessed as well as by rule."""
    if word.endswith("s") and is_spelled(word[:-1]) and word[:-1].isupper():  # LLMs
        return pronounce(word[:-1]) + plural_ending(pronounce(word[:-1])[-1])
    word = word.lower()
    for ending, stems in (("s", [word[:-1]]), ("es", [word[:-2]]), ("ies", [word[:-3] + "y"])):
        entry = known(stems) if word.endswith(ending) else None
        if entry:
            return entry + plural_ending(entry[-1])
    doubled = [word[:-3]] if word[-4:-3] == word[-3:-2] else []
    entry = known([word[:-1], word[:-2], *doubled]) if word.endswith("ed") else None
    return entry + past_ending(entry[-1]) if entry else ()


def known(words: list[str]) -> Phonemes | None:
    """The first of the words that the dictionary has."""
    return next((entry for word in words if len(word) > 2 and (entry := dictionary_entry(word))), None)


def plural_ending(last: str) -> Phonemes:
    """-s after this phoneme."""
    return ("IH0", "Z") if last in SIBILANTS else ("S",) if last in VOICELESS else ("Z",)


def past_ending(last: str) -> Phonemes:
    """-ed after this phoneme."""
    return ("IH0", "D") if last in {"T", "D"} else ("T",) if last in VOICELESS else ("D",)


def guessed(word: str) -> Phonemes:
    """What the letters suggest."""
    letters = word.replace("'", "")
    slices = [letters[i : i + LONGEST_GUESS] for i in range(0, len(letters), LONGEST_GUESS)]
    return tuple(p for part in slices for p in letter_to_sound().guess(part) or spelled_out(part))
