"""The tokenizer of a checkpoint: whether its ids are the model's, and the same however text arrives."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel
from torch import nn

from loquor.configs import read_json
from loquor.evaluation.verification.checks import Check
from loquor.text.phoneme_tokenizer import SYMBOLS, PhonemeTokenizer
from loquor.text.qwen_tokenizer import SPECIAL_NAMES, QwenTokenizer
from loquor.text.tokenizer import TextTokenizer, load_tokenizer

FILE = "tokenizer.json"
TEXTS = (
    "Good morning.",
    "The quick brown fox jumps over 13 lazy dogs, doesn't it?",
    "Dr. Smith paid $3.50 at 9:30 a.m.; nobody knew why…",
)
COMPONENT = "tokenizer"


def fitting_tokenizer(folder: Path, model: nn.Module) -> TextTokenizer | None:
    """The tokenizer that text is given to the model with; None if the model has no rows for all its ids."""
    tokenizer = load_tokenizer(folder)
    return tokenizer if tokenizer.vocab_size <= _rows(model) else None


def _rows(model: nn.Module) -> int:
    return len(model.get_parameter("embedding.weight"))


def tokenizer_checks(folder: Path, model: nn.Module) -> Iterator[Check]:
    """Ids below the rows of the embedding, pushed text like whole text, and a file of Qwen's kind like Qwen's."""
    rows, has_file = _rows(model), (folder / FILE).is_file()
    tokenizer = load_tokenizer(folder)
    told = f"{type(tokenizer).__name__}, {tokenizer.vocab_size} ids for {rows} rows"
    if tokenizer.vocab_size > rows:
        told += "" if has_file else ": the folder brings no tokenizer, text cannot be spoken"
        yield Check(COMPONENT, "ids", "rows of the embedding", "fail" if has_file else "warn", detail=told)
        return
    if isinstance(tokenizer, PhonemeTokenizer) and tokenizer.vocab_size < rows:
        told += ": of another model?"
        yield Check(COMPONENT, "ids", "rows of the embedding", "fail", detail=told)
        return
    yield Check(COMPONENT, "ids", "rows of the embedding", detail=told)
    if isinstance(tokenizer, PhonemeTokenizer):
        yield _frozen(tokenizer)
    yield _pushed(tokenizer)
    if isinstance(tokenizer, QwenTokenizer):
        yield _there_and_back(tokenizer)
        if has_file:
            yield _as_published(folder / FILE, tokenizer)


def _frozen(tokenizer: PhonemeTokenizer) -> Check:
    """Models are trained on these numbers: letters of another language only follow them."""
    moved = [symbol for i, symbol in enumerate(SYMBOLS) if tokenizer.ids[symbol] != i]
    told = f"{moved[0]!r} is {tokenizer.ids[moved[0]]}, not {SYMBOLS.index(moved[0])}" if moved else ""
    return Check(COMPONENT, "numbers of the symbols", "those of training", "fail" if moved else "ok", detail=told)


def _pushed(tokenizer: TextTokenizer) -> Check:
    """Text that arrives letter by letter."""
    for text in TEXTS:
        stream = tokenizer.stream()
        ids = [token.id for letter in text for token in stream.push(letter)]
        ids += [token.id for token in stream.end()]
        if ids != tokenizer.encode(text):
            return Check(COMPONENT, "letter by letter", "the whole text", "fail", detail=f"other ids for {text!r}")
    return Check(COMPONENT, "letter by letter", "the whole text", detail=f"{len(TEXTS)} texts")


def _there_and_back(tokenizer: QwenTokenizer) -> Check:
    for text in TEXTS:
        pieces = [str(tokenizer.bpe.id_to_token(i)) for i in tokenizer.ids(text)]
        if ByteLevel().decode(pieces) != unicodedata.normalize("NFC", text):
            return Check(COMPONENT, "round trip", "the text", "fail", detail=f"{text!r} does not come back")
    return Check(COMPONENT, "round trip", "the text", detail=f"{len(TEXTS)} texts")


def _as_published(path: Path, tokenizer: QwenTokenizer) -> Check:
    """The file that came with the model, which is not used, gives the ids that are used."""
    what, against = "ids of its file", "those that are used"
    if "model" not in read_json(path):
        return Check(COMPONENT, what, against, "warn", detail=f"{path.name} is of an unknown kind")
    theirs = Tokenizer.from_file(str(path))
    for text in TEXTS:
        if theirs.encode(text, add_special_tokens=False).ids != tokenizer.ids(text):
            return Check(COMPONENT, what, against, "fail", detail=f"other ids for {text!r}")
    for name in SPECIAL_NAMES:
        found = theirs.token_to_id(name)
        if found is not None and found != tokenizer.special_ids[name]:
            detail = f"{name} is {found}, not {tokenizer.special_ids[name]}"
            return Check(COMPONENT, what, against, "fail", detail=detail)
    return Check(COMPONENT, what, against, detail=f"{len(TEXTS)} texts, special tokens")
