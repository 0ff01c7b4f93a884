"""One pass over new tokens of several streams, each with as many as it has, over caches of fixed slots.

Matrix products run over the real tokens only, flattened to [N, H]; attention runs over groups of streams that have
equally many, so nothing is padded but keys of a shorter past. Streams stay in their slots while others come and go:
no cache is ever copied for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional as F

from loquor.nn.attention import Attention, LayerCache, rotate
from loquor.nn.qwen2 import DecoderLayer


@dataclass(frozen=True)
class Feed:
    """What one stream is fed in a pass."""

    slot: int
    start: int  # position of the first new token in the slot's cache
    count: int


@dataclass(frozen=True)
class Group:
    """Streams that are fed equally many tokens, next to each other in the pass."""

    slots: slice | Tensor  # of the cache; a slice where that spares copying the keys
    first: int  # token of the pass
    size: int  # G streams
    count: int  # T tokens each
    span: int  # positions any of them sees
    mask: Tensor | None  # [G, 1, share * T, span]; None: all see all, or `is_fresh`
    is_fresh: bool  # nothing is cached: plain causal attention


@dataclass(frozen=True)
class Pass:
    """The tokens of a pass, in the order of the feeds."""

    slots: Tensor  # [N]
    positions: Tensor  # [N], in the cache
    groups: tuple[Group, ...]

    @classmethod
    def over(cls, feeds: Sequence[Feed], share: int, device: torch.device) -> Pass:
        """`feeds` come with rising counts; `share` is how many queries share a key head."""
        counts = [feed.count for feed in feeds]
        assert counts == sorted(counts)
        stream = torch.repeat_interleave(torch.tensor(counts))
        ends = torch.tensor(counts).cumsum(0)
        slot, start = (torch.tensor(numbers) for numbers in zip(*((f.slot, f.start) for f in feeds), strict=True))
        offset = torch.arange(len(stream)) - (ends - torch.tensor(counts))[stream]
        groups, first = [], 0
        for count, members in groupby(feeds, key=lambda feed: feed.count):
            same = list(members)
            groups.append(_group(same, first, share, device))
            first += count * len(same)
        return cls(slot[stream].to(device), (start[stream] + offset).to(device), tuple(groups))


def _group(feeds: Sequence[Feed], first: int, share: int, device: torch.device) -> Group:
    count, starts = feeds[0].count, [feed.start for feed in feeds]
    span, is_fresh = max(starts) + count, count > 1 and not any(starts)
    mask = None
    if not is_fresh and (count > 1 or min(starts) != max(starts)):
        position = torch.tensor(starts, device=device)[:, None] + torch.arange(count, device=device)
        mask = (torch.arange(span, device=device) <= position[..., None])[:, None].repeat(1, 1, share, 1)
    slots = [feed.slot for feed in feeds]
    beside = slots == list(range(slots[0], slots[0] + len(slots)))
    where = slice(slots[0], slots[0] + len(slots)) if beside else torch.tensor(slots, device=device)
    return Group(where, first, len(feeds), count, span, mask, is_fresh)


def ragged_layer(
    layer: DecoderLayer, x: Tensor, rotation: tuple[Tensor, Tensor], cache: LayerCache, where: Pass
) -> Tensor:
    """The tokens of a pass, x [N, H], through a decoder layer; `rotation` is [N, 1, D]."""
    x = x + ragged_attention(layer.attention, layer.attention_norm(x), rotation, cache, where)
    y: Tensor = x + layer.ffn(layer.ffn_norm(x))
    return y


def ragged_attention(
    attention: Attention, x: Tensor, rotation: tuple[Tensor, Tensor], cache: LayerCache, where: Pass
) -> Tensor:
    """Write the keys and values of x [N, H] to the cache, then attend to what each stream has there; gives [N, H]."""
    heads, kv_heads = attention.heads, attention.kv_heads
    qkv = attention.qkv(x).view(len(x), heads + 2 * kv_heads, attention.head_dim)
    q, k, v = torch.split(qkv, [heads, kv_heads, kv_heads], 1)
    cache.keys[where.slots, :, where.positions] = rotate(k, *rotation)
    cache.values[where.slots, :, where.positions] = v
    q = rotate(q, *rotation)
    y: Tensor = attention.out(torch.cat([_attend(q, cache, group) for group in where.groups]))
    return y


def _attend(q: Tensor, cache: LayerCache, group: Group) -> Tensor:
    """One group's rows of the queries [N, heads, D] against their keys, to [G * T, heads * D]. Queries that share a
    key head stand beside each other in time, so keys are never repeated."""
    size, count = group.size, group.count
    kv_heads, dim = cache.keys.shape[1], cache.keys.shape[3]
    keys, values = (t[group.slots, :, : group.span] for t in (cache.keys, cache.values))
    q = q[group.first : group.first + size * count].view(size, count, -1, dim).transpose(1, 2)  # [G, heads, T, D]
    if group.is_fresh:
        y = F.scaled_dot_product_attention(q, keys, values, is_causal=True, enable_gqa=True)
    else:
        together = q.reshape(size, kv_heads, -1, dim)
        y = F.scaled_dot_product_attention(together, keys, values, attn_mask=group.mask).view(size, -1, count, dim)
    return y.transpose(1, 2).reshape(size * count, -1)
