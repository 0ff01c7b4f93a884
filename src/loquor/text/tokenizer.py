"""Text to token ids, whole or as it arrives: one interface for every model, and the choice a checkpoint makes.

A stream gives ids as soon as no later text can change them, so that speech may begin while a language model is still
writing. Whatever the cuts, its ids are those of `encode` on the whole text.
"""

import re
from pathlib import Path
from typing import NamedTuple, Protocol

from loquor.configs import read_json
from loquor.errors import InputError

CONTROLS = {code: " " for code in (*range(32), 127) if chr(code) not in "\t\n\r"}  # a space keeps every position


class Token(NamedTuple):
    """An id and the characters of the pushed text it came from; several tokens may share a character."""

    id: int
    start: int
    end: int


class TextStream(Protocol):
    """One utterance, arriving in pieces."""

    def push(self, text: str) -> list[Token]:
        """The tokens that can no longer change, whatever follows. Raises InputError on half a surrogate pair."""

    def end(self) -> list[Token]:
        """The rest, with whatever closes an utterance. Raises InputError if the model cannot say any of the text."""


class TextTokenizer(Protocol):
    """What the engine needs of a tokenizer."""

    @property
    def vocab_size(self) -> int:
        """Ids are below this number."""

    @property
    def negative_id(self) -> int:
        """The one token that the negative branch of guidance has read."""

    @property
    def voice_id(self) -> int | None:
        """The token a voice begins with, in models that know no transcript in its place."""

    def encode(self, text: str) -> list[int]:
        """The ids of a whole utterance, with whatever closes it. Raises InputError as a stream does."""

    def stream(self) -> TextStream:
        """A new utterance."""


def readable(text: str, position: int = 0) -> str:
    """The text with control characters as spaces; `position` is where it stands in the whole, for the error."""
    half = re.search("[\ud800-\udfff]", text)
    if half:
        raise InputError(
            f"character {position + half.start()} of the text is half of a surrogate pair (U+{ord(half[0]):04X})",
            hint="the text was decoded wrongly, or an emoji was cut in two",
        )
    return text.translate(CONTROLS)


def load_tokenizer(folder: Path) -> TextTokenizer:
    """The tokenizer of a checkpoint: phonemes if its `tokenizer.json` says so, else Qwen2.5's, which ships with us."""
    path = folder / "tokenizer.json"
    if path.exists() and read_json(path).get("type") == "phoneme":
        from loquor.text.phoneme_tokenizer import PhonemeTokenizer

        return PhonemeTokenizer.load(path)
    from loquor.text.qwen_tokenizer import QwenTokenizer

    return QwenTokenizer()
