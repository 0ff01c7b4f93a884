"""Text to phoneme ids, for the small voice that is trained from nothing and ships with the package.

Every word becomes the phonemes of `loquor.text.phonemes`, so that a small model need not learn to spell. The symbol list
is frozen: checkpoints are trained on these numbers and name the list in their `tokenizer.json`.
"""

import re

from loquor.text.phonemes import ARPABET, dictionary_entry

PAD, NEGATIVE, END, BOUNDARY = "<pad>", "<negative>", "\n", " "
PUNCTUATION = (".", ",", "?", "!", ";", ":", "-", "…")
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")  # reserved: spelling, for models trained with it
VOICES = tuple(f"<voice{i}>" for i in range(8))  # reserved: one model, several voices
SYMBOLS = (PAD, NEGATIVE, END, BOUNDARY, *PUNCTUATION, *ARPABET, *LETTERS, *VOICES)


class PhonemeTokenizer:
    """Phonemes, word boundaries and punctuation; a boundary stands only between two words with no mark between them."""

    def __init__(self, symbols: tuple[str, ...] = SYMBOLS) -> None:
        self.symbols = symbols
        self.ids = {symbol: i for i, symbol in enumerate(symbols)}

    @property
    def vocab_size(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> list[int]:
        names: list[str] = []
        for piece in re.findall(r"[a-z][a-z']*|\.\.+|[.,?!;:…]|-(?=\s)", text.lower().replace("’", "'").replace("—", " - ")):
            mark = "…" if piece.startswith("..") else piece
            if mark in PUNCTUATION:
                if names and names[-1] not in PUNCTUATION:
                    names.append(mark)
                continue
            if names and names[-1] not in PUNCTUATION:
                names.append(BOUNDARY)
            names.extend(dictionary_entry(piece) or dictionary_entry(piece.rstrip("'")) or tuple(piece.replace("'", "")))
        return [self.ids[name] for name in (*names, END)]
