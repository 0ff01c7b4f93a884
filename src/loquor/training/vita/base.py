"""Small language models that know nothing yet, for training VITA-Audio from the beginning on one machine.

Such a model has the layout of a plain Qwen2 checkpoint, a vocabulary learned from the texts it will be trained on, and
rows for the ids of its audio tokenizer, so that stage 1 adds none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from loquor.checkpoints import published, same, save
from loquor.errors import ConfigError, InputError
from loquor.models.qwen2_keys import qwen2_keys
from loquor.models.speech_tokens.quantised import load_quantised
from loquor.models.vita.checkpoint import EMBEDDING
from loquor.models.vita.growth import BASE_MODEL_TYPE
from loquor.models.vita.model import VitaConfig, VitaModel
from loquor.models.vita.vocabulary import AudioTokens, Vocabulary, published_tokens, write_vocabulary
from loquor.nn.qwen2 import Qwen2Config
from loquor.text.own_merges import learn_merges
from loquor.text.qwen_tokenizer import QwenTokenizer
from loquor.training.vita.mixture import Mixture

STD = 0.02  # of fresh weights, as in Qwen2


@dataclass(frozen=True)
class Shape:
    """Of a small model."""

    hidden: int = 256
    layers: int = 6
    heads: int = 4
    context: int = 2048
    pieces: int = 2000  # of text

    def decoder(self, rows: int) -> Qwen2Config:
        """ConfigError for a shape no model has."""
        if self.heads < 1 or self.hidden % self.heads:
            raise ConfigError(f"{self.heads} heads cannot share {self.hidden} channels")
        return Qwen2Config(
            hidden_size=self.hidden,
            intermediate_size=self.hidden * 8 // 3 // 8 * 8,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            vocab_size=rows,
            max_position_embeddings=self.context,
            rope_theta=10_000.0,
        )


def audio_tokens(name: str) -> AudioTokens:
    """What an audio tokenizer asks of a vocabulary: a published one by its name, a quantised codec by its folder.

    ConfigError if there is no such name, or the folder holds something else.
    """
    if not Path(name).is_dir():
        return published_tokens(name)
    model = load_quantised(Path(name))
    return AudioTokens(model.name, model.config.codebook_size)


def texts_of(mixture: Mixture) -> Iterator[str]:
    """All that is written in conversations; those that cannot be read are left out."""
    for number in range(len(mixture)):
        try:
            conversation = mixture[number]
        except InputError:
            continue
        yield from (part for turn in conversation.turns for part in turn.parts if isinstance(part, str))


def write_base(folder: Path, texts: Iterable[str], audio: AudioTokens, shape: Shape, seed: int = 0) -> Vocabulary:
    """Write an untaught model; gives its vocabulary. CheckpointError if `folder` cannot be written."""
    vocabulary = Vocabulary(audio, QwenTokenizer(learn_merges(texts, shape.pieces)))
    decoder = shape.decoder(vocabulary.rows)
    model = VitaModel(VitaConfig(decoder, modules=0, has_own_token_head=False))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=STD, generator=generator)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    config = dataclasses.asdict(decoder) | {
        "model_type": BASE_MODEL_TYPE,
        "architectures": ["Qwen2ForCausalLM"],
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "eos_token_id": vocabulary.turn_end,
        "bos_token_id": vocabulary.pad,
    }
    entries = [same(EMBEDDING, "embedding.weight"), *qwen2_keys(decoder, "model.", "language_model.")]
    save(folder, config, published(model, entries))
    write_vocabulary(folder, vocabulary)
    return vocabulary
