"""Grouped-query attention with rotary positions and a cache of past keys and values.

Rotary embedding: Su et al. 2021, arXiv:2104.09864 (rotate-half form); grouped queries: Ainslie et al. 2023,
arXiv:2305.13245. Streams of different age share a batch: every row has its own length and its own mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loquor.nn.linear import Linear
from loquor.state import State

GROWTH = 256  # positions a full cache grows by at least
GROWTH_SHARE = 8  # and at least by this part of itself, an eighth: a long stream copies its past a few times, not often


@dataclass
class LayerCache(State):
    """Past keys and values of one layer; rows are valid up to the stream's length."""

    keys: Tensor  # [B, H_kv, L, D]
    values: Tensor  # [B, H_kv, L, D]


@dataclass
class KVCache(State):
    """Past keys and values of all layers, with one length per stream."""

    layers: list[LayerCache]
    length: Tensor  # [B] int64, positions written so far

    @property
    def capacity(self) -> int:
        """Positions there is room for."""
        return self.layers[0].keys.shape[2]

    def reserve(self, positions: int) -> None:
        """Make room for `positions` in all, keeping what is cached."""
        missing = positions - self.capacity
        if missing > 0:
            extra = max(missing, GROWTH, self.capacity // GROWTH_SHARE)
            for layer in self.layers:
                layer.keys, layer.values = (F.pad(t, (0, 0, 0, extra)) for t in (layer.keys, layer.values))

    def put(self, rows: Tensor, source: Self) -> None:
        """Write the rows of `source` over `rows`, making room for them."""
        self.reserve(source.capacity)
        super().put(rows, source._padded(self.capacity))

    @classmethod
    def join(cls, states: Sequence[Self]) -> Self:
        """One batch of all rows; the caches are first given equal room."""
        room = max(s.capacity for s in states)
        return super().join([s._padded(room) for s in states])

    def _padded(self, room: int) -> Self:
        extra = room - self.capacity
        layers = [c.map(lambda t: F.pad(t, (0, 0, 0, extra))) for c in self.layers] if extra else self.layers
        return type(self)(layers=layers, length=self.length)


@dataclass(frozen=True)
class Positions:
    """Where the tokens of one pass stand in a cache; computed once for all layers."""

    index: Tensor  # [B, T] positions in the cache
    mask: Tensor | None  # [B, 1, share * T, span] what is added to a query's scores: 0 for keys it sees; None: all
    span: int  # positions of the cache that any row sees


def locate(cache: KVCache, steps: int, share: int = 1) -> Positions:
    """The next `steps` positions of every stream in `cache`, which is given room for them; `share` queries stand beside
    each other for each key head."""
    device, lengths = cache.length.device, cache.length.tolist()
    index = cache.length[:, None] + torch.arange(steps, device=device)
    span = max(lengths) + steps
    cache.reserve(span)
    if steps == 1 and min(lengths) == max(lengths):
        return Positions(index, None, span)
    is_future = torch.arange(span, device=device) > index[..., None]
    mask = torch.zeros(is_future.shape, dtype=cache.layers[0].keys.dtype, device=device)
    mask = mask.masked_fill_(is_future, -torch.inf)[:, None]
    return Positions(index, mask.repeat(1, 1, share, 1) if steps > 1 else mask, span)


class RotaryTable(nn.Module):
    """Cosines and sines of the rotary angles, computed in fp32; the first half of the sines is negative, as `rotate`
    wants it."""

    def __init__(self, head_dim: int, theta: float) -> None:
        super().__init__()
        self.head_dim, self.theta = head_dim, theta

    def forward(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Positions [B, T] to cos, sin [B, 1, T, D]."""
        exponent = torch.arange(0, self.head_dim, 2, dtype=torch.float32, device=positions.device) / self.head_dim
        angles = positions[..., None].float() * (1.0 / self.theta**exponent)
        cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
        return torch.cat([cos, cos], -1)[:, None], torch.cat([-sin, sin], -1)[:, None]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [B, H, T, D] turned by its position."""
    first, second = x.chunk(2, -1)
    return torch.addcmul(x * cos, torch.cat([second, first], -1), sin)


class Attention(nn.Module):
    """Causal self-attention; queries, keys and values come from one product."""

    def __init__(self, dim: int, heads: int, kv_heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.qkv = Linear(dim, (heads + 2 * kv_heads) * head_dim)
        self.out = Linear(heads * head_dim, dim, bias=False)

    def init_state(self, batch: int, capacity: int) -> LayerCache:
        empty = self.qkv.weight.new_zeros(batch, self.kv_heads, capacity, self.head_dim)
        return LayerCache(keys=empty, values=empty.clone())

    def forward(
        self,
        x: Tensor,
        rotation: tuple[Tensor, Tensor],
        caches: Sequence[tuple[LayerCache, Positions]] = (),
        packed: Sequence[int] = (),
    ) -> Tensor:
        """x [B, T, dim] to [B, T, dim]; the rows belong to the caches, one cache after the other.

        Without caches a row is one sequence, or sequences of the lengths `packed` that do not see each other.
        """
        batch, length, _ = x.shape
        qkv = self.qkv(x).view(batch, length, -1, self.head_dim).transpose(1, 2)
        qk, v = qkv.split([self.heads + self.kv_heads, self.kv_heads], 1)
        q, k = torch.split(rotate(qk, *rotation), [self.heads, self.kv_heads], 1)
        if caches:
            sizes = [len(where.index) for _, where in caches]
            rows = zip(caches, *(torch.split(x, sizes) for x in (q, k, v)), strict=True)
            y = torch.cat([self._continue(*cache, *qkv_rows) for cache, *qkv_rows in rows])
        else:
            y = _alone(q, k, v, packed or (length,))
        out: Tensor = self.out(y.transpose(1, 2).reshape(batch, length, -1))
        return out

    def _continue(self, cache: LayerCache, where: Positions, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Write the new keys and values, then attend to all. Queries that share a key head stand beside each other
        in time, so keys are never repeated."""
        batch, _, length, dim = q.shape
        places = where.index[:, None, :, None].expand_as(k)
        for past, new in ((cache.keys, k), (cache.values, v)):
            past.scatter_(2, places, new.to(past.dtype))  # autocast makes some narrower
        group = self.heads // self.kv_heads
        y = F.scaled_dot_product_attention(
            q.reshape(batch, self.kv_heads, group * length, dim),
            cache.keys[:, :, : where.span],
            cache.values[:, :, : where.span],
            attn_mask=where.mask,
        )
        return y.view(batch, self.heads, length, dim)


def _alone(q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int]) -> Tensor:
    """Causal attention of sequences that lie one behind the other, each to itself; [B, H, T, D]."""
    parts = zip(*(torch.split(t, list(lengths), 2) for t in (q, k, v)), strict=True)
    return torch.cat([F.scaled_dot_product_attention(a, b, c, is_causal=True, enable_gqa=True) for a, b, c in parts], 2)
