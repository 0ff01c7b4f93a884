"""Attention by itself: what it computes, where positions stand, and caches that grow."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from loquor.nn.attention import GROWTH, Attention, KVCache, LayerCache, RotaryTable, locate, rotate
from toy import randomise

DIM, EXACT = 12, 2e-6  # outputs are around 1: only the order of sums differs


def attention(heads: int, kv_heads: int, head_dim: int) -> Attention:
    module = Attention(DIM, heads, kv_heads, head_dim)
    randomise(module, 0)
    return module.requires_grad_(False)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def cache_of(module: Attention, lengths: list[int], capacity: int) -> KVCache:
    """An empty cache whose rows pretend to have some age."""
    return KVCache(layers=[module.init_state(len(lengths), capacity)], length=torch.tensor(lengths))


@given(
    kv_heads=st.integers(1, 3), group=st.integers(1, 3), half=st.integers(1, 4), length=st.integers(1, 7)
)  # query heads are a multiple of key heads
@settings(max_examples=30)
def test_it_is_softmax_over_the_past_with_each_key_head_shared_by_its_queries(
    kv_heads: int, group: int, half: int, length: int
) -> None:
    heads, width = kv_heads * group, 2 * half
    module, x = attention(heads, kv_heads, width), noise(2, length, DIM)
    cos, sin = RotaryTable(width, 10_000.0)(torch.arange(length)[None], torch.float32)

    projected = module.qkv(x).view(2, length, heads + 2 * kv_heads, width)
    expected = torch.zeros(2, length, heads * width)
    for head in range(heads):
        q, k = (
            rotate(projected[:, :, i : i + 1].transpose(1, 2), cos, sin)[:, 0] for i in (head, heads + head // group)
        )
        v = projected[:, :, heads + kv_heads + head // group]
        scores = q @ k.transpose(1, 2) / math.sqrt(width)
        scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf)
        expected[..., head * width : (head + 1) * width] = scores.softmax(-1) @ v

    torch.testing.assert_close(module(x, (cos, sin)), module.out(expected), rtol=0, atol=EXACT)


@given(at=st.integers(0, 3000), apart=st.integers(0, 50))
@settings(max_examples=30)
def test_rotated_queries_and_keys_know_only_how_far_they_are_apart(at: int, apart: int) -> None:
    table, q, k = RotaryTable(8, 1e6), noise(1, 1, 1, 8), noise(1, 1, 1, 8).flip(-1)

    def score(query_at: int, key_at: int) -> float:
        a = rotate(q, *table(torch.tensor([[query_at]]), torch.float32))
        b = rotate(k, *table(torch.tensor([[key_at]]), torch.float32))
        return float((a * b).sum())

    # At position 3000 the angle itself is only known to 3000 * 2^-24, twice.
    assert score(at + apart, at) == pytest.approx(score(apart, 0), abs=3e-3)


@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=4), steps=st.integers(1, 4))
def test_every_row_goes_on_at_its_own_position_and_sees_itself_and_before(lengths: list[int], steps: int) -> None:
    cache = cache_of(attention(2, 1, 4), lengths, capacity=0)
    where = locate(cache, steps)
    assert where.span == max(lengths) + steps
    assert cache.capacity >= where.span
    for row, length in enumerate(lengths):
        assert where.index[row].tolist() == list(range(length, length + steps))
        for step in range(steps):
            seen = [True] * where.span if where.mask is None else (where.mask[row, 0, step] == 0).tolist()
            assert seen == [position <= length + step for position in range(where.span)]


@given(capacity=st.integers(0, 20), wanted=st.integers(0, 2 * GROWTH))
def test_a_cache_that_grows_keeps_what_it_holds(capacity: int, wanted: int) -> None:
    layers = [LayerCache(keys=noise(2, 1, capacity, 4), values=noise(2, 1, capacity, 4).neg()) for _ in range(2)]
    cache = KVCache(layers=[layer.clone() for layer in layers], length=torch.tensor([capacity, 0]))
    cache.reserve(wanted)
    assert cache.capacity >= max(wanted, capacity)
    assert cache.capacity == capacity or cache.capacity >= capacity + GROWTH  # seldom, and by a good piece
    for grown, before in zip(cache.layers, layers, strict=True):
        assert torch.equal(grown.keys[:, :, :capacity], before.keys)
        assert torch.equal(grown.values[:, :, :capacity], before.values)


def test_a_long_cache_copies_its_past_seldom() -> None:
    """From nothing to 40 000 positions, one by one: an eighth more each time, once that is more than the least."""
    cache = KVCache(layers=[LayerCache(noise(1, 1, 0, 1), noise(1, 1, 0, 1))], length=torch.tensor([0]))
    capacities = []
    while cache.capacity < 40_000:
        cache.reserve(cache.capacity + 1)
        capacities.append(cache.capacity)
    assert len(capacities) < 40
    assert all(new - old <= max(GROWTH, old // 8) for old, new in pairwise(capacities))


def test_joining_leaves_the_caches_that_join_as_they_were() -> None:
    module = attention(2, 1, 4)
    short, long = cache_of(module, [1], 2), cache_of(module, [5], 9)
    joined = KVCache.join([short, long])
    assert (short.capacity, long.capacity, joined.capacity) == (2, 9, 9)
    joined.length += 1
    assert [int(short.length), int(long.length)] == [1, 5]
