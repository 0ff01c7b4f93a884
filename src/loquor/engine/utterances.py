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
BYTES_PER_TOKEN = 3  # UTF-8; text of all languages takes more on average


@dataclass(frozen=True)
class Piece:
    """Tokens to feed; `is_last` closes the utterance."""

    tokens: list[Token]
    is_last: bool


class UtteranceSplitter:
    """Pushed text to tokens, utterance by utterance.

    A sentence that ends after `soft` tokens' worth of text ends the utterance; `hard` tokens' worth ends it at the
    next space. Space before an utterance belongs to none, and one of which the model can say nothing is left out.
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
        before = self.spoken + "".join(fresh)
        is_long = self.bytes >= self.hard_bytes and (before[-1].isspace() or self.bytes >= 2 * self.hard_bytes)
        return is_long or _ends_sentence(before, character)


def _ends_sentence(before: str, character: str) -> bool:
    """Whether a sentence or a paragraph ends between the text so far and the next character, which is no space."""
    last = before[-1]
    if last in WIDE_TERMINATORS:
        return character not in WIDE_TERMINATORS and character not in CLOSERS
    if not last.isspace():
        return False
    words = before.rstrip()
    if "\n\n" in before[len(words) :]:
        return True
    if words.rstrip(CLOSERS)[-1:] not in TERMINATORS:
        return False
    sentences = list(segment("en", before + character))
    return len(sentences[-1].strip()) == 1
