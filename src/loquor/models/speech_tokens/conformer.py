"""Ids to the mean of a mel spectrum: the block-causal encoder and the length regulator of GLM-4-Voice's decoder.

The encoder is a Transformer with relative positions as in Transformer-XL (Dai et al. 2019, arXiv:1901.02860, section
3.3): scores are a sum of content and distance, each with its own bias. A query sees what came before and its own block
of ten ids, so what a whole block gives does not change any more (arXiv:2412.02612, section 2.2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loquor.configs import MOST, require_int
from loquor.errors import ConfigError

REGULATOR_KERNEL = 3


@dataclass(frozen=True)
class ConformerConfig:
    """Shape of the encoder."""

    width: int
    heads: int
    ffn_width: int
    layers: int
    block_size: int  # ids that see one another

    def __post_init__(self) -> None:
        require_int("encoder", maximum=MOST, layers=self.layers)
        sizes = {name: value for name, value in vars(self).items() if name != "layers"}
        require_int("encoder", **sizes)
        if self.width % self.heads or self.width % 2:
            raise ConfigError(f"encoder: {self.heads} heads and sines do not divide a width of {self.width}")


class RelativeAttention(nn.Module):
    """Attention whose scores know how far apart two places are."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        width, self.heads = config.width, config.heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.distance = nn.Linear(width, width, bias=False)
        self.content_bias = nn.Parameter(torch.empty(self.heads, width // self.heads))  # u of the paper
        self.distance_bias = nn.Parameter(torch.empty(self.heads, width // self.heads))  # v

    def forward(self, x: Tensor, distances: Tensor, mask: Tensor) -> Tensor:
        """x [B, N, H], distances [2 * N - 1, H] from the farthest past row on, mask [N, N] true where one may look."""
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)) for f in (self.query, self.key, self.value))
        by_distance = self.distance(distances).unflatten(-1, (self.heads, -1))  # [2 * N - 1, heads, D]
        scores = torch.einsum("bihd,rhd->bhir", q + self.distance_bias, by_distance)
        place = torch.arange(x.shape[1], device=x.device)
        farness = (place[:, None] - place + x.shape[1] - 1).expand(scores.shape[0], self.heads, -1, -1)
        bias = scores.gather(-1, farness) / math.sqrt(q.shape[-1])
        bias = bias.masked_fill(~mask, -math.inf)
        query = (q + self.content_bias).transpose(1, 2)
        y = F.scaled_dot_product_attention(query, k.transpose(1, 2), v.transpose(1, 2), attn_mask=bias)
        return cast(Tensor, self.out(y.transpose(1, 2).flatten(2)))


class ConformerLayer(nn.Module):
    """Pre-norm attention and feed-forward; of the conformer's other parts the published model has none."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.attention_norm, self.ffn_norm = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.attention = RelativeAttention(config)
        self.up, self.down = nn.Linear(config.width, config.ffn_width), nn.Linear(config.ffn_width, config.width)

    def forward(self, x: Tensor, distances: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), distances, mask)
        return cast(Tensor, x + self.down(F.silu(self.up(self.ffn_norm(x)))))


class Conformer(nn.Module):
    """Embedded ids [B, N, H] to states [B, N, H]."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.config = config
        self.input = nn.Linear(config.width, config.width)
        self.input_norm, self.norm = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.layers = nn.ModuleList(ConformerLayer(config) for _ in range(config.layers))

    def forward(self, x: Tensor) -> Tensor:
        x = self.input_norm(self.input(x)) * math.sqrt(self.config.width)
        place = torch.arange(x.shape[1], device=x.device)
        end_of_block = (place // self.config.block_size + 1) * self.config.block_size
        mask, distances = place < end_of_block[:, None], self._distances(x)
        for layer in self.layers:
            x = layer(x, distances, mask)
        return cast(Tensor, self.norm(x))

    def _distances(self, x: Tensor) -> Tensor:
        """[2 * N - 1, H], sine and cosine in turn, for distances 1 - N to N - 1 of query minus key."""
        length = x.shape[1]
        steps = torch.arange(1 - length, length, device=x.device, dtype=x.dtype)
        pairs = torch.arange(0, self.config.width, 2, device=x.device, dtype=x.dtype)
        angles = steps[:, None] * torch.exp(pairs * (-math.log(10_000) / self.config.width))
        return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


class LengthRegulator(nn.Module):
    """States at the rate of ids to the rate of mel frames: each is repeated, convolutions smooth the steps.

    The norms take in all frames there are, so no frame is final before the last is there.
    """

    def __init__(self, channels: int, stages: int) -> None:
        super().__init__()
        padding = REGULATOR_KERNEL // 2
        self.convs = nn.ModuleList(
            nn.Conv1d(channels, channels, REGULATOR_KERNEL, padding=padding) for _ in range(stages)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(1, channels) for _ in range(stages))
        self.out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """x [B, N, C] to [B, C, frames]."""
        y = F.interpolate(x.transpose(1, 2), size=frames, mode="nearest")
        for conv, norm in zip(self.convs, self.norms, strict=True):
            y = F.mish(norm(conv(y)))
        return cast(Tensor, self.out(y))
