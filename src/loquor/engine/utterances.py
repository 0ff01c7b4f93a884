"""Long text as utterances a model can speak in one breath, decided while the text is still arriving.

Where an utterance ends depends on the text alone, never on how it was cut when pushed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from sentencex import segment

from loquor.errors import InputError
from loquor.text.tokenizer import TextStream, TextTokenizer, Token, readable

logger = logging.getLogger(__name__)

TERMINATORS, CLOSERS = ".!?…", "\"'”’)]»"
WIDE_TERMINATORS = "。！？"  # end a sentence without a space behind them
CLAUSE_MARKS = ",;:–—"
# fmt: off
OPENERS = {  # words a clause begins with
    "because", "although", "though", "while", "when", "where", "whereas", "which", "who", "whose", "if", "unless",
    "until", "since", "before", "after", "but", "so",
}
LEANING = {  # words that lean on the next one
    "a", "an", "the", "of", "to", "in", "on", "at", "by", "for", "with", "from", "into", "and", "or", "that", "as",
    "my", "your", "his", "her", "its", "our", "their", "this", "is", "are", "was", "were", "be", "not",
    "has", "have", "had", "will", "very", "no",
} | OPENERS
# fmt: on
BYTES_PER_TOKEN = 3  # UTF-8; what a token counts for in `soft` and `hard`, whatever the tokenizer
BYTES_PER_DIGIT = 6  # a digit is said in a word, or several
LONGEST_WORD = 40  # characters that are held


@dataclass(frozen=True)
class Piece:
    """Tokens to feed; `is_last` closes the utterance."""

    tokens: list[Token]
    is_last: bool


class UtteranceSplitter:
    """Pushed text to tokens, utterance by utterance.

    A sentence that ends after `soft` tokens' worth of text ends the utterance; so does a clause after two thirds of
    `hard`, and any space after `hard` with no word before it that leans on the next: a word where an utterance could
    end is held until it is whole, so that none is left that is only the last word of a sentence. Space before an
    utterance belongs to none, and an utterance of which the model can say nothing is left out.
    """

    def __init__(self, tokenizer: TextTokenizer, soft: int, hard: int) -> None:
        self.tokenizer = tokenizer
        self.soft_bytes, self.hard_bytes = soft * BYTES_PER_TOKEN, hard * BYTES_PER_TOKEN
        self.offset = 0  # characters before this utterance
        self._start()

    def _start(self) -> None:
        self.stream: TextStream = self.tokenizer.stream()
        self.spoken = ""  # of this utterance, given to the tokenizer
        self.bytes = 0
        self.word = ""  # held: it belongs to this utterance or begins the next

    def push(self, text: str) -> list[Piece]:
        """What `text` settles. InputError, and nothing has changed, if it holds half a surrogate pair."""
        pieces: list[Piece] = []
        fresh: list[str] = []
        for character in readable(text, self.offset + len(self.spoken) + len(self.word)):
            if not (self.spoken or fresh) and character.isspace():
                self.offset += 1
                continue
            if self.word and not character.isspace() and self._has_room():
                self.word += character
                continue
            word, self.word = self.word, ""
            is_last = self._ends_before_word(word, fresh) if word else self._ends_before(character, fresh)
            if is_last:
                pieces.append(self._feed(fresh, is_last=True))
                fresh = []
            fresh += word
            self.bytes += size(word)
            if not is_last and not word and self._may_end_before(character, fresh):
                self.word = character
                continue
            fresh.append(character)
            self.bytes += size(character)
        pieces.append(self._feed(fresh, is_last=False))
        return [p for p in pieces if p.tokens or p.is_last]

    def close(self) -> list[Piece]:
        """The end of the utterance, wherever it stands; nothing if it holds no text."""
        return [self._feed([*self.word], is_last=True)] if self.spoken else []

    def _feed(self, fresh: list[str], is_last: bool) -> Piece:
        text = "".join(fresh)
        self.spoken += text
        tokens = self.stream.push(text)
        if is_last:
            try:
                tokens = [*tokens, *self.stream.end()]
            except InputError as error:
                logger.warning("left out %r: %s", self.spoken[:40], error)
        moved = [Token(t.id, t.start + self.offset, t.end + self.offset) for t in tokens]
        if is_last:
            self.offset += len(self.spoken)
            self._start()
        return Piece(moved, is_last)

    def _ends_before(self, character: str, fresh: list[str]) -> bool:
        """Whether a sentence has ended, or what has no spaces grows too long."""
        if self.bytes < self.soft_bytes or character.isspace():
            return False
        if self.bytes >= 2 * self.hard_bytes:
            return True
        before = self.spoken + "".join(fresh)
        return (before[-1].isspace() or before[-1] in WIDE_TERMINATORS) and _ends_sentence(before, character)

    def _has_room(self) -> bool:
        """Whether the held word may grow."""
        return len(self.word) < LONGEST_WORD and self.bytes + size(self.word) < 2 * self.hard_bytes

    def _may_end_before(self, character: str, fresh: list[str]) -> bool:
        """Whether a word begins that is late enough to begin an utterance."""
        is_late = self.bytes >= self.soft_bytes and 3 * self.bytes >= 2 * self.hard_bytes
        return is_late and not character.isspace() and (fresh[-1] if fresh else self.spoken[-1]).isspace()

    def _ends_before_word(self, word: str, fresh: list[str]) -> bool:
        """Whether the utterance ends before a whole word in the middle of a sentence."""
        if word.rstrip(CLOSERS)[-1:] in TERMINATORS:
            return False
        before = (self.spoken + "".join(fresh)).split()[-1].lower()
        if before[-1] in CLAUSE_MARKS or word.lower() in OPENERS:
            return True
        return self.bytes >= self.hard_bytes and (before not in LEANING or 2 * self.bytes >= 3 * self.hard_bytes)


def size(text: str) -> int:
    """Bytes of a text as it is said."""
    return len(text.encode()) + (BYTES_PER_DIGIT - 1) * sum(map(str.isdigit, text))


def _ends_sentence(before: str, character: str) -> bool:
    """Whether a sentence or a paragraph ends between the text so far, which ends in space or a wide terminator, and the
    next character, which is no space."""
    words = before.rstrip()
    if words == before:
        return character not in WIDE_TERMINATORS and character not in CLOSERS
    if "\n\n" in before[len(words) :]:
        return True
    end = words.rstrip(CLOSERS)[-1:]
    if end not in TERMINATORS:
        return end in WIDE_TERMINATORS
    sentences = list(segment("en", before + character))  # knows abbreviations
    return len(sentences[-1].strip()) == 1
