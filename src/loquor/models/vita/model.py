"""VITA-Audio: a Qwen2 backbone and K modules that each predict one token further (arXiv:2505.03739).

Module k pairs a hidden state with the embedding of a later token: its row i takes row i of the stage before it (the
backbone for module 0) and token i + k + 1, stands at that token's rotary position, and predicts token i + k + 2. All
share embedding, final norm and token head. Every hidden state handed on is taken after the final norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loquor.configs import MOST, require_int
from loquor.models.vita.sensevoice import Listener, SenseVoiceConfig
from loquor.nn.attention import GROWTH, GROWTH_SHARE, LayerCache
from loquor.nn.linear import product
from loquor.nn.norm import RMSNorm
from loquor.nn.qwen2 import Decoder, DecoderLayer, Qwen2Config
from loquor.nn.ragged import Feed, Pass, ragged_layer


@dataclass(frozen=True)
class VitaConfig:
    """Shape of the model."""

    decoder: Qwen2Config  # of the backbone: its layers without those of the modules
    modules: int  # K
    has_own_token_head: bool  # False: logits come from the word embeddings
    mtp_loss_weight: float = 1.0  # of the modules' losses in training
    encoder: SenseVoiceConfig | None = None  # of Plus, which hears features; None: audio comes as ids

    def __post_init__(self) -> None:
        require_int("vita", 0, MOST, modules=self.modules)

    @property
    def hidden_size(self) -> int:
        return self.decoder.hidden_size

    @property
    def vocab_size(self) -> int:
        return self.decoder.vocab_size

    @property
    def context(self) -> int:
        """Positions: prompt and generated tokens together."""
        return self.decoder.max_position_embeddings


@dataclass
class Caches:
    """Keys and values of all stages for a number of slots; which part of a slot is valid its user keeps."""

    backbone: list[LayerCache]  # [S, H_kv, L, D] each
    modules: list[LayerCache]

    @property
    def layers(self) -> list[LayerCache]:
        return [*self.backbone, *self.modules]

    @property
    def slots(self) -> int:
        return self.layers[0].keys.shape[0]

    @property
    def capacity(self) -> int:
        """Positions of a slot."""
        return self.layers[0].keys.shape[2]

    def reserve(self, slots: int, positions: int) -> None:
        """Make room for so many slots of so many positions, keeping what is cached; more than asked for, and seldom."""
        more = max(slots - self.slots, self.slots) if slots > self.slots else 0
        missing = positions - self.capacity
        extra = max(missing, GROWTH, self.capacity // GROWTH_SHARE) if missing > 0 else 0
        if more or extra:
            for layer in self.layers:
                layer.keys, layer.values = (
                    F.pad(t, (0, 0, 0, extra, 0, 0, 0, more)) for t in (layer.keys, layer.values)
                )


class Predictor(nn.Module):
    """One multi-token-prediction module; the final norm is the model's."""

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__()
        dim = config.hidden_size
        self.embedding_norm = RMSNorm(dim, config.rms_norm_eps)
        self.hidden_norm = RMSNorm(dim, config.rms_norm_eps)
        self.projection = nn.Linear(2 * dim, dim, bias=False)
        self.layer = DecoderLayer(config)

    def mix(self, embedded: Tensor, hidden: Tensor) -> Tensor:
        """Embeddings of tokens and states of the stage before, [..., H] each, to inputs of the layer [..., H]."""
        both = torch.cat([self.embedding_norm(embedded), self.hidden_norm(hidden)], -1)
        return product(both, self.projection.weight)


class VitaModel(nn.Module):
    """The modules and the passes generation is made of; the order of passes is the engine's."""

    def __init__(self, config: VitaConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.language_model = Decoder(config.decoder)
        self.predictors = nn.ModuleList(Predictor(config.decoder) for _ in range(config.modules))
        self.token_head = (
            nn.Linear(config.hidden_size, config.vocab_size, bias=False) if config.has_own_token_head else None
        )
        self.listener = Listener(config.encoder, config.hidden_size) if config.encoder else None

    @property
    def token_weights(self) -> Tensor:
        """[V, H], what a hidden state is compared with to choose a token."""
        return self.embedding.weight if self.token_head is None else self.token_head.weight

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., H] to [..., V]."""
        return F.linear(hidden, self.token_weights)

    def forward(self, embedded: Tensor) -> Tensor:
        """Whole sequences [B, T, H] to hidden states of the backbone [B, T, H]; nothing is remembered."""
        hidden: Tensor = self.language_model(embedded)
        return hidden

    def predict(self, module: int, embedded: Tensor, hidden: Tensor) -> Tensor:
        """Module k on whole sequences: embeddings of tokens k+1, k+2, ... and states of the stage before for rows
        0, 1, ..., [B, T, H] each, to its states [B, T, H]."""
        predictor = cast(Predictor, self.predictors[module])
        positions = torch.arange(module + 1, module + 1 + hidden.shape[1], device=hidden.device)[None]
        rotation = self.language_model.rotary(positions, hidden.dtype)
        x: Tensor = self.language_model.norm(predictor.layer(predictor.mix(embedded, hidden), rotation))
        return x

    def init_caches(self, slots: int = 0, positions: int = 0) -> Caches:
        """Empty caches of the backbone's layers and the modules'."""
        layers = [cast(DecoderLayer, layer) for layer in self.language_model.layers]
        modules = [cast(Predictor, predictor).layer for predictor in self.predictors]
        backbone, own = ([x.attention.init_state(slots, positions) for x in part] for part in (layers, modules))
        return Caches(backbone, own)

    def plan(self, feeds: Sequence[Feed]) -> Pass:
        """A pass over new tokens of several slots, given with rising counts."""
        decoder = self.config.decoder
        share = decoder.num_attention_heads // decoder.num_key_value_heads
        return Pass.over(feeds, share, self.embedding.weight.device)

    def read(self, embedded: Tensor, where: Pass, caches: Caches) -> Tensor:
        """The backbone continues the slots of a pass: embeddings [N, H] to hidden states [N, H]."""
        x, rotation = embedded, self._rotation(where, 0, embedded.dtype)
        for layer, cache in zip(self.language_model.layers, caches.backbone, strict=True):
            x = ragged_layer(cast(DecoderLayer, layer), x, rotation, cache, where)
        hidden: Tensor = self.language_model.norm(x)
        return hidden

    def predict_on(self, module: int, embedded: Tensor, hidden: Tensor, where: Pass, caches: Caches) -> Tensor:
        """Module k continues the slots of a pass: embeddings of later tokens and states of the stage before, [N, H]
        each, to its states [N, H]. Rows of its cache stand at their tokens' rotary positions."""
        predictor = cast(Predictor, self.predictors[module])
        rotation = self._rotation(where, module + 1, embedded.dtype)
        x = ragged_layer(predictor.layer, predictor.mix(embedded, hidden), rotation, caches.modules[module], where)
        normed: Tensor = self.language_model.norm(x)
        return normed

    def _rotation(self, where: Pass, ahead: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        cos, sin = self.language_model.rotary(where.positions[None] + ahead, dtype)
        return cos[0].transpose(0, 1), sin[0].transpose(0, 1)
