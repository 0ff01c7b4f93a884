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
BYTES_PER_TOKEN = 3  # UTF-8; text of all languages takes more on average


@dataclass(frozen=True)
class Piece:
    """Tokens to feed; `is_last` closes the utterance."""

    tokens: list[Token]
    is_last: bool


class UtteranceSplitter:
    """Pushed text to tokens, utterance by utterance.

    A sentence that ends after `soft` tokens' worth of text ends the utterance; so does a clause after two thirds of
    `hard`, and any space after `hard`. Space before an utterance belongs to none, and an utterance of which the model
    can say nothing is left out.
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

    def push(self, text: str) -> list[Piece]:
        """What `text` settles. InputError, and nothing has changed, if it holds half a surrogate pair."""
        pieces: list[Piece] = []
        fresh: list[str] = []
        for character in readable(text, self.offset + len(self.spoken)):
            if not (self.spoken or fresh) and character.isspace():
                self.offset += 1
                continue
            if self._ends_before(character, fresh):
                pieces.append(self._feed(fresh, is_last=True))
                fresh = []
            fresh.append(character)
            self.bytes += len(character.encode())
        pieces.append(self._feed(fresh, is_last=False))
        return [p for p in pieces if p.tokens or p.is_last]

    def close(self) -> list[Piece]:
        """The end of the utterance, wherever it stands; nothing if it holds no text."""
        return [self._feed([], is_last=True)] if self.spoken else []

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
        if self.bytes < self.soft_bytes or character.isspace():
            return False
        last = fresh[-1] if fresh else self.spoken[-1]
        if self.bytes >= self.hard_bytes and (last.isspace() or self.bytes >= 2 * self.hard_bytes):
            return True
        if not last.isspace() and last not in WIDE_TERMINATORS:
            return False
        before = self.spoken + "".join(fresh)
        if 3 * self.bytes >= 2 * self.hard_bytes and before.rstrip()[-1] in CLAUSE_MARKS:
            return True
        return _ends_sentence(before, character)


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
