"""Gives a phoneme model the letters of another language: rows of its embedding, near those of phonemes it knows."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from loquor.errors import ConfigError
from loquor.models.realtime.model import RealtimeModel
from loquor.text.alphabets import alphabet
from loquor.text.phoneme_tokenizer import PhonemeTokenizer
from loquor.text.tokenizer import load_tokenizer


def add_alphabet(model: nn.Module, folder: Path, language: str) -> PhonemeTokenizer:
    """Put rows for the letters of `language` under the embedding of a model from `folder`; gives its new tokenizer.

    Each begins as the mean of the rows of its nearest phonemes. ConfigError if the model reads no phonemes, InputError
    if there is no such alphabet, or the model has it.
    """
    tokenizer = load_tokenizer(folder) if isinstance(model, RealtimeModel) else None
    if not isinstance(tokenizer, PhonemeTokenizer) or not isinstance(model, RealtimeModel):
        raise ConfigError(f"{folder} does not read phonemes: its vocabulary has letters", hint="leave --alphabet out")
    taught = tokenizer.with_language(language)
    near, old = alphabet(language).letters, model.embedding.weight
    rows = [old[[tokenizer.ids[p] for p in near[s].split()]].float().mean(0) for s in taught.symbols[len(old) :]]
    model.embedding.weight = nn.Parameter(torch.cat([old, torch.stack(rows).to(old.dtype)]), requires_grad=False)
    model.embedding.num_embeddings = len(model.embedding.weight)
    return taught
