"""How English words sound: the CMU Pronouncing Dictionary, with letter names and a trained guess for the rest.

Symbols are ARPAbet as the dictionary writes them: 24 consonants and 15 vowels, each vowel with its stress digit
(0 none, 1 primary, 2 secondary). The file in `data/` is built by `loquor.training.dictionary` and holds one
pronunciation a word, the commoner one; its licence is `data/cmudict-LICENSE.txt`.
"""

import lzma
from functools import lru_cache
from importlib.resources import files

VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
CONSONANTS = (
    *("B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N"),
    *("NG", "P", "R", "S", "SH", "T", "TH", "V", "W", "Y", "Z", "ZH"),
)
ARPABET = tuple(vowel + stress for vowel in VOWELS for stress in "012") + CONSONANTS
CODES = {phoneme: chr(33 + i) for i, phoneme in enumerate(ARPABET)}  # one character a phoneme in the data file

Phonemes = tuple[str, ...]


@lru_cache(maxsize=1)
def dictionary_lines() -> bytes:
    """The dictionary as sorted lines `word<TAB>codes`, between newlines: searched in place, so loading is unpacking."""
    packed = files("loquor.text").joinpath("data/cmudict.txt.xz").read_bytes()
    return b"\n" + lzma.decompress(packed)


@lru_cache(maxsize=20_000)
def dictionary_entry(word: str) -> Phonemes | None:
    """The dictionary's pronunciation of a lower-case word, or None."""
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
