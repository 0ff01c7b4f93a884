"""Text to phoneme ids, for the small voice that is trained from nothing and ships with the package.

Every word becomes the phonemes of `loquor.text.phonemes`, so that a small model need not learn to spell. The symbols
are frozen: checkpoints are trained on these numbers and carry the list in their `tokenizer.json`.
"""

import json
import re
from pathlib import Path

from loquor.configs import read_json
from loquor.errors import CheckpointError, InputError
from loquor.text.normalize import MARKS, Normalizer
from loquor.text.phonemes import ARPABET, pronounce
from loquor.text.tokenizer import TextStream, Token, readable

PAD, NEGATIVE, END, BOUNDARY = "<pad>", "<negative>", "\n", " "
PUNCTUATION = (".", ",", "?", "!", ";", ":", "-", "…")
FINAL = (".", "?", "!")  # what an utterance may end in: the model has heard no other end
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")  # reserved, for models trained to spell
VOICES = tuple(f"<voice{i}>" for i in range(8))  # reserved, for one model with several voices
SYMBOLS = (PAD, NEGATIVE, END, BOUNDARY, *PUNCTUATION, *ARPABET, *LETTERS, *VOICES)
assert set(MARKS) == set(PUNCTUATION)


class PhonemeTokenizer:
    """Phonemes, marks after words, a boundary between two words with no mark between them, and the end of the text.

    Text that ends in no full stop, question or exclamation mark is given a full stop.
    """

    def __init__(self, symbols: tuple[str, ...] = SYMBOLS) -> None:
        self.symbols = symbols
        self.ids = {symbol: i for i, symbol in enumerate(symbols)}

    @classmethod
    def load(cls, path: Path) -> "PhonemeTokenizer":
        """The tokenizer that `save` wrote. Raises CheckpointError if symbols are missing or there twice."""
        symbols = read_json(path).get("symbols")
        if not isinstance(symbols, list) or len(set(map(str, symbols))) < len(symbols):
            raise CheckpointError(f"{path}: `symbols` is not a list of different symbols")
        missing = sorted(set(SYMBOLS) - set(symbols))
        if missing:
            raise CheckpointError(
                f"{path} lacks the symbols {missing}", hint="it was made by another version of loquor"
            )
        return cls(tuple(symbols))

    def save(self, path: Path) -> None:
        """Writes the `tokenizer.json` of a checkpoint."""
        path.write_text(json.dumps({"type": "phoneme", "symbols": self.symbols}, ensure_ascii=False), encoding="utf-8")

    @property
    def vocab_size(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """The ids of a whole utterance. Raises InputError if there is nothing to say."""
        stream = self.stream()
        return [token.id for token in (*stream.push(text), *stream.end())]

    def stream(self) -> TextStream:
        return PhonemeStream(self.ids)


class PhonemeStream:
    """Phonemes of text that is still arriving: a chunk is said when white space follows it, whatever comes after."""

    def __init__(self, ids: dict[str, int]) -> None:
        self.ids = ids
        self.normalizer = Normalizer()
        self.last = ""  # the last symbol read
        self.held: Token | None = None  # it, if it is a mark that no utterance ends in
        self.pending = ""  # the beginning of a chunk
        self.start = 0  # where it stands in the pushed text

    def push(self, text: str) -> list[Token]:
        whole = self.pending + readable(text, self.start + len(self.pending))
        searched = len(self.pending)  # it holds no space
        tokens: list[Token] = []
        taken = 0
        for space in re.finditer(r"\s+", whole[searched:]):
            tokens += self.chunk(whole[taken : searched + space.start()], self.start + taken)
            taken = searched + space.end()
        self.pending = whole[taken:]
        self.start += taken
        return tokens

    def end(self) -> list[Token]:
        tokens = self.chunk(self.pending, self.start)
        if not self.last:
            raise InputError("there is nothing to say in this text", hint="it has no English words or numbers")
        place = self.start + len(self.pending)
        if self.last not in FINAL:
            stop = self.held or Token(0, place, place)
            tokens.append(stop._replace(id=self.ids["."]))
        return [*tokens, Token(self.ids[END], place, place)]

    def chunk(self, chunk: str, start: int) -> list[Token]:
        """The tokens of a whole chunk; all of them come from all of its characters."""
        tokens: list[Token] = []
        for piece in self.normalizer.read(chunk):
            if piece in PUNCTUATION:
                mark = Token(self.ids[piece], start, start + len(chunk))
                self.last, self.held = piece, None if piece in FINAL else mark
                tokens += [mark] if piece in FINAL else []
                continue
            symbols = [*([BOUNDARY] if self.last and self.last not in PUNCTUATION else []), *pronounce(piece)]
            tokens += [self.held] if self.held else []
            tokens += [Token(self.ids[symbol], start, start + len(chunk)) for symbol in symbols]
            self.last, self.held = symbols[-1], None
        return tokens
