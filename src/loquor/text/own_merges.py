"""Byte-pair encodings for small models: a few thousand pieces learned from texts, cut as Qwen2.5 cuts them.

In a small model the 151,643 pieces of Qwen2.5 would be most of the weights. Only the merges differ: any text has ids,
as the first 256 stand for single bytes. They are kept in `tokenizer.json`, in the form of the tokenizers library.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from loquor.checkpoints import write_text
from loquor.configs import read_json
from loquor.errors import CheckpointError, ConfigError
from loquor.text.qwen_tokenizer import byte_letters, byte_pair_encoding

FILE = "tokenizer.json"
BYTES = 256


def learn_merges(texts: Iterable[str], pieces: int) -> Tokenizer:
    """An encoding of at most so many pieces, single bytes included; 256 are the bytes alone."""
    if pieces < BYTES:
        raise ConfigError(f"a vocabulary of {pieces} pieces is too small", hint=f"{BYTES} are single bytes already")
    trainer = BpeTrainer(vocab_size=pieces, show_progress=False, initial_alphabet=byte_letters(), special_tokens=[])
    learned = _empty()
    learned.train_from_iterator(texts, trainer)
    return _encoding(_pairs(json.loads(learned.to_str())["model"]["merges"]))


def _pairs(merges: Sequence[Any]) -> list[tuple[str, str]]:
    """Merges as the library writes them: pairs, or in older files two words."""
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in merges]
    return [(str(left), str(right)) for left, right in pairs]


def _encoding(merges: Sequence[tuple[str, str]]) -> Tokenizer:
    """Bytes first, in the order of Qwen2.5, then what each merge makes."""
    names = [*byte_letters(), *(left + right for left, right in merges)]
    tokenizer = _empty()
    tokenizer.model = BPE(vocab={name: i for i, name in enumerate(names)}, merges=list(merges))
    return tokenizer


def _empty() -> Tokenizer:
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer, tokenizer.pre_tokenizer = byte_pair_encoding().normalizer, byte_pair_encoding().pre_tokenizer
    return tokenizer


def write_merges(folder: Path, tokenizer: Tokenizer, special: Sequence[str], ordinary: Sequence[str]) -> None:
    """tokenizer.json, with the names of further ids for other readers of it: special ones, then ordinary ones."""
    named = Tokenizer.from_str(tokenizer.to_str())
    named.add_special_tokens(list(special))
    named.add_tokens(list(ordinary))
    write_text(folder / FILE, named.to_str(pretty=True))


def read_merges(folder: Path) -> Tokenizer | None:
    """The encoding in a folder's tokenizer.json without special tokens; None if that is Qwen2.5's, or there is none.

    CheckpointError if it is no byte-pair encoding of bytes.
    """
    path = folder / FILE
    if not path.exists():
        return None
    model: Any = read_json(path).get("model")
    vocabulary, merges = (model.get(k) for k in ("vocab", "merges")) if isinstance(model, dict) else (None, None)
    if not isinstance(vocabulary, dict) or not isinstance(merges, list):
        raise CheckpointError(f"{path} holds no byte-pair encoding", hint="was it written for another kind of model?")
    if len(vocabulary) == byte_pair_encoding().get_vocab_size():
        return None
    try:
        tokenizer = _encoding(_pairs(merges))
    except Exception as error:  # the library raises Exception itself
        raise CheckpointError(f"{path} holds merges that cannot be: {error}") from None
    if tokenizer.get_vocab() != vocabulary:
        raise CheckpointError(f"{path}: its pieces are not bytes and then what its merges make, one by one")
    return tokenizer
