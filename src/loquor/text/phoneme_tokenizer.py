"""Text to phoneme ids, for the small voice that is trained from nothing and ships with the package.

Every English word becomes the phonemes of `loquor.text.phonemes`, so that a small model need not learn to spell. The
symbols are frozen: checkpoints are trained on these numbers and carry the list in their `tokenizer.json`. A model that
is taught another language reads it letter by letter; its letters follow the symbols that every model has.
"""

import json
import re
from pathlib import Path

from loquor.configs import read_json
from loquor.errors import CheckpointError, InputError
from loquor.text.alphabets import ALPHABETS, alphabet
from loquor.text.connected import ConnectedSpeech, starts_with_vowel
from loquor.text.languages import normalizer
from loquor.text.normalize import MARKS, Normalizer
from loquor.text.phonemes import ARPABET
from loquor.text.phrases import Chunk, Phrases
from loquor.text.tokenizer import TextStream, Token, readable

PAD, NEGATIVE, END, BOUNDARY = "<pad>", "<negative>", "\n", " "
PUNCTUATION = (".", ",", "?", "!", ";", ":", "-", "…")
FINAL = (".", "?", "!")  # what an utterance may end in: the model has heard no other end
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")  # reserved, for models trained to spell
VOICES = tuple(f"<voice{i}>" for i in range(8))  # reserved, for one model with several voices
SYMBOLS = (PAD, NEGATIVE, END, BOUNDARY, *PUNCTUATION, *ARPABET, *LETTERS, *VOICES)
assert set(MARKS) == set(PUNCTUATION)
THE = ("DH", "AH0")
LATIN = re.compile("[A-Za-z]")
BULLET = re.compile(r"[-–*+•#]+|\d{1,2}[.)]")  # begins an item of a list, on a line of its own


class PhonemeTokenizer:
    """Phonemes, marks after words, a boundary between two words with no mark between them, and the end of the text.

    Text that ends in no full stop, question or exclamation mark is given a full stop.
    """

    def __init__(self, symbols: tuple[str, ...] = SYMBOLS, languages: tuple[str, ...] = ()) -> None:
        self.symbols, self.languages = symbols, languages
        self.ids = {symbol: i for i, symbol in enumerate(symbols)}

    @classmethod
    def load(cls, path: Path) -> "PhonemeTokenizer":
        """The tokenizer that `save` wrote. Raises CheckpointError if symbols are missing or there twice."""
        values = read_json(path)
        symbols = values.get("symbols")
        if not isinstance(symbols, list) or len(set(map(str, symbols))) < len(symbols):
            raise CheckpointError(f"{path}: `symbols` is not a list of different symbols")
        missing = sorted(set(SYMBOLS) - set(symbols))
        if missing:
            raise CheckpointError(
                f"{path} lacks the symbols {missing}", hint="it was made by another version of loquor"
            )
        languages = values.get("languages", [])
        if not isinstance(languages, list) or any(
            language not in ALPHABETS or not ALPHABETS[language].letters.keys() <= set(symbols)
            for language in languages
        ):
            raise CheckpointError(
                f"{path}: `languages` is {languages!r}, which do not fit its symbols",
                hint="it was made by another version of loquor",
            )
        return cls(tuple(symbols), tuple(languages))

    def save(self, path: Path) -> None:
        """Writes the `tokenizer.json` of a checkpoint."""
        values: dict[str, object] = {"type": "phoneme", "symbols": self.symbols}
        values |= {"languages": self.languages} if self.languages else {}
        path.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")

    def with_language(self, language: str) -> "PhonemeTokenizer":
        """The tokenizer that also has the letters of a language; InputError if there are none, or it has them."""
        letters = alphabet(language).letters
        if language in self.languages:
            raise InputError(f"the model has the letters of {language!r} already")
        new = tuple(letter for letter in letters if letter not in self.ids)
        return PhonemeTokenizer((*self.symbols, *new), (*self.languages, language))

    @property
    def vocab_size(self) -> int:
        return len(self.symbols)

    @property
    def negative_id(self) -> int:
        return self.ids[NEGATIVE]

    @property
    def voice_id(self) -> int:
        return self.ids[VOICES[0]]

    def encode(self, text: str) -> list[int]:
        """The ids of a whole utterance. Raises InputError if there is nothing to say."""
        stream = self.stream()
        return [token.id for token in (*stream.push(text), *stream.end())]

    def stream(self) -> TextStream:
        return PhonemeStream(self.ids, self.languages)


class PhonemeStream:
    """Phonemes of text that is still arriving: a chunk is said when white space follows it, or with the next one.

    A mark that no utterance ends in waits for a word, and so does "the", which sounds by it.
    """

    def __init__(self, ids: dict[str, int], languages: tuple[str, ...] = ()) -> None:
        self.ids = ids
        self.english = Normalizer()
        self.others = [Speller(language) for language in languages]
        self.reader: Normalizer | Speller = self.english  # of the last chunk that had letters
        self.last = ""  # the last symbol read
        self.held: Token | None = None  # it, if it is a mark that no utterance ends in
        self.connected = ConnectedSpeech()
        self.article: Token | None = None  # the vowel of a "the" with no word behind it yet
        self.phrases = Phrases()
        self.pending = ""  # the beginning of a chunk
        self.start = 0  # where it stands in the pushed text
        self.newlines = 0  # before it

    def push(self, text: str) -> list[Token]:
        whole = self.pending + readable(text, self.start + len(self.pending))
        searched = len(self.pending)  # it holds no space
        tokens: list[Token] = []
        taken = 0
        for space in re.finditer(r"\s+", whole[searched:]):
            tokens += self.take(whole[taken : searched + space.start()], self.start + taken)
            taken = searched + space.end()
            self.newlines += space[0].count("\n")
        self.pending = whole[taken:]
        self.start += taken
        return tokens

    def end(self) -> list[Token]:
        tokens = self.take(self.pending, self.start)
        for chunk in self.phrases.end():
            tokens += self.read(chunk)
        tokens += self.settled("AH0")
        if not self.last:
            known = ["English", *(speller.language for speller in self.others)]
            raise InputError(
                "there is nothing to say in this text", hint=f"it has no {' or '.join(known)} words or numbers"
            )
        place = self.start + len(self.pending)
        if self.last not in FINAL:
            stop = self.held or Token(0, place, place)
            tokens.append(stop._replace(id=self.ids["."]))
        return [*tokens, Token(self.ids[END], place, place)]

    def take(self, text: str, start: int) -> list[Token]:
        """The tokens that the next chunk settles: its own, and those of one that has waited for it.

        A full stop ends what stands before a paragraph or an item of a list.
        """
        if not text:
            return []
        ready = []
        if self.newlines > 1 or (self.newlines and BULLET.fullmatch(text)):
            ready += self.phrases.push(Chunk(".", start, start))
        self.newlines = 0
        ready += self.phrases.push(Chunk(text, start, start + len(text)))
        return [token for chunk in ready for token in self.read(chunk)]

    def read(self, chunk: Chunk) -> list[Token]:
        """The tokens of a whole chunk; all of them come from all of its characters."""
        text, *place = chunk
        tokens: list[Token] = []
        self.reader = self.reader_of(text)
        for piece in self.reader.read(text):
            if piece in PUNCTUATION:
                tokens += self.settled("AH0")
                self.connected.pause()
                mark = Token(self.ids[piece], *place)
                self.last, self.held = piece, None if piece in FINAL else mark
                tokens += [mark] if piece in FINAL else []
                continue
            word = self.connected.say(piece) if self.reader is self.english else tuple(piece)
            tokens += self.settled("IY0" if self.reader is self.english and starts_with_vowel(word) else "AH0")
            symbols = [*([BOUNDARY] if self.last and self.last not in PUNCTUATION else []), *word]
            tokens += [self.held] if self.held else []
            tokens += [Token(self.ids[symbol], *place) for symbol in symbols]
            self.last, self.held = symbols[-1], None
            if word == THE:
                self.article = tokens.pop()
        return tokens

    def settled(self, vowel: str) -> list[Token]:
        """The end of a waiting "the"."""
        article, self.article = self.article, None
        return [article._replace(id=self.ids[vowel])] if article else []

    def reader_of(self, chunk: str) -> "Normalizer | Speller":
        """Who reads a chunk: the one whose letters are in it; numbers are read as what stands before them."""
        for speller in self.others:
            if speller.script.search(chunk):
                return speller
        return self.english if LATIN.search(chunk) else self.reader


class Speller:
    """Reads the chunks of a language that a model was taught by its letters, as `Normalizer` reads English."""

    def __init__(self, language: str) -> None:
        self.language, self.marks = language, alphabet(language).marks
        letters = "".join(alphabet(language).letters)
        self.script = re.compile(alphabet(language).script)
        self.pieces = re.compile(f"[{letters}]+|[{re.escape(''.join({*PUNCTUATION, *self.marks}))}]")
        self.normalize = normalizer(language)

    def read(self, chunk: str) -> list[str]:
        """The words and marks of a chunk; a mark follows a word."""
        pieces: list[str] = []
        for piece in self.pieces.findall(self.normalize(chunk)):
            mark = self.marks.get(piece, piece)
            if mark not in PUNCTUATION:
                pieces.append(piece)
            elif pieces and pieces[-1] not in PUNCTUATION:
                pieces.append(mark)
        return pieces
