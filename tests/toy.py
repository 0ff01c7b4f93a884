"""The whole Realtime model in miniature: random weights of sensible scale, a voice, and a tokenizer that streams.

Nothing it says means anything, but every parameter matters to every sample, and utterances end after a while.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from loquor.engine.speaker import Speaker
from loquor.models.codec import CodecConfig
from loquor.models.realtime.checkpoint import export_realtime
from loquor.models.realtime.model import RealtimeConfig, RealtimeModel
from loquor.models.realtime.prompt import prefill
from loquor.nn.diffusion_head import DiffusionHeadConfig
from loquor.nn.qwen2 import Qwen2Config
from loquor.text.phoneme_tokenizer import SYMBOLS
from loquor.text.tokenizer import Token
from loquor.voices.voice import Voice, fingerprint

VOCABULARY = len(SYMBOLS)
PROMPT_TOKENS, PROMPT_FRAMES, NEGATIVE_ID = 4, 3, 1
NEVER = -100.0  # an end bias with which no utterance ends by itself


def toy_config(context: int = 512, utterance_tokens: int = 0, patch_samples: int = 1) -> RealtimeConfig:
    """Two and three layers of width 32, a codec whose frames are 16 patches, a head of two layers."""
    decoder = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": context,
    }
    return RealtimeConfig(
        text=Qwen2Config(num_hidden_layers=2, **decoder),
        speech=Qwen2Config(num_hidden_layers=3, **decoder),
        codec=CodecConfig(
            vae_dim=8,
            encoder_ratios=(4, 2, 2),
            encoder_depths="1-1-1-1",
            encoder_n_filters=4,
            decoder_n_filters=4,
            patch_samples=patch_samples,
        ),
        head=DiffusionHeadConfig(hidden_size=32, latent_size=8, head_layers=2, head_ffn_ratio=2.0),
        utterance_tokens=utterance_tokens,
    )


def toy_model(config: RealtimeConfig | None = None, end_bias: float = -4.0, seed: int = 0) -> RealtimeModel:
    """A model that is read-only, as loaded ones are. A higher `end_bias` makes shorter utterances."""
    model = RealtimeModel(config or toy_config())
    randomise(model, seed)
    model.end_classifier.fc2.weight.data *= 3
    model.end_classifier.fc2.bias.data.fill_(end_bias)
    model.latent_scale.scale.fill_(0.8)
    model.latent_scale.bias.fill_(0.1)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def randomise(module: torch.nn.Module, seed: int) -> None:
    """Matrices that keep the scale of what they multiply, norms around 1, a codec's gammas near 0.35, small biases."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        draws = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() > 1:
            parameter.copy_(draws * parameter[0].numel() ** -0.5)
        elif "norm" in name and name.endswith("weight"):
            parameter.copy_(1 + 0.1 * draws)
        else:
            parameter.copy_((0.35 if "gamma" in name else 0.0) + 0.1 * draws)


def toy_voice(model: RealtimeModel, seed: int = 0) -> dict[str, Tensor]:
    """The tensors of a voice of this model; another seed is another voice, of another length."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, VOCABULARY, (1, PROMPT_TOKENS + seed % 3), generator=generator)
    latents = torch.randn(1, PROMPT_FRAMES + seed % 2, model.config.latent_size, generator=generator)
    return prefill(model, ids, latents.to(model.types.weight), NEGATIVE_ID)


def named_voice(model: RealtimeModel, name: str = "Toy", seed: int = 0) -> Voice:
    tensors = toy_voice(model, seed)
    return Voice(name=name, language="en", source="made up", model=fingerprint(tensors), tensors=tensors)


class ToyTokenizer:
    """Pieces of up to three characters, with the space before them; a newline closes an utterance."""

    vocab_size = VOCABULARY
    newline = 0
    negative_id = NEGATIVE_ID
    voice_id = None

    def encode(self, text: str) -> list[int]:
        stream = self.stream()
        return [token.id for token in (*stream.push(text), *stream.end())]

    def stream(self) -> ToyStream:
        return ToyStream()


class ToyStream:
    """The same on text that is still arriving: a piece is settled when it is full, or when a space follows it."""

    def __init__(self) -> None:
        self.pending = ""
        self.start = 0

    def push(self, text: str) -> list[Token]:
        self.pending += text
        return self._take(re.finditer(r"\s*(\S{3}|\S{1,2}(?=\s))", self.pending))

    def end(self) -> list[Token]:
        tokens = self._take(re.finditer(r"\s*\S{1,3}", self.pending))
        return [*tokens, Token(ToyTokenizer.newline, self.start, self.start)]

    def _take(self, pieces: Iterator[re.Match[str]]) -> list[Token]:
        tokens, settled = [], 0
        for piece in pieces:
            first = self.start + settled == 0  # space around an utterance is none of it
            text = piece[0].lstrip() if first else re.sub(r"^\s+", " ", piece[0])
            tokens.append(Token(token_id(text), self.start + settled, self.start + piece.end()))
            settled = piece.end()
        self.pending, self.start = self.pending[settled:], self.start + settled
        return tokens


def token_id(piece: str) -> int:
    return 2 + zlib.crc32(piece.encode()) % (VOCABULARY - 2)


def toy_speaker(end_bias: float = -4.0, context: int = 512, utterance_tokens: int = 0) -> Speaker:
    """A speaker in memory; give it a `named_voice` of its model."""
    return Speaker(toy_model(toy_config(context, utterance_tokens), end_bias), ToyTokenizer())  # type: ignore[arg-type]


def write_toy(folder: Path, end_bias: float = -4.0, config: RealtimeConfig | None = None) -> Path:
    """A checkpoint folder as a user would have it: model, phoneme tokenizer, the voice `Toy`, defaults."""
    model = toy_model(config, end_bias)
    export_realtime(model, folder)
    named_voice(model).save(folder / "voices" / "Toy.safetensors")
    for name, values in {
        "tokenizer.json": {"type": "phoneme", "symbols": list(SYMBOLS)},
        "loquor.json": {"voice": "Toy", "guidance": 1.3, "steps": 2},
    }.items():
        (folder / name).write_text(json.dumps(values), encoding="utf-8")
    return folder
