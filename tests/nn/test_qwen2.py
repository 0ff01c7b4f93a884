"""The Qwen2 decoder: a cache equals one-shot for any cut, any company and any age, and nothing sees the future."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from loquor.errors import ConfigError
from loquor.nn.attention import GROWTH, KVCache
from loquor.nn.qwen2 import Decoder, Qwen2Config
from toy import randomise

SHAPE = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 10,
    "max_position_embeddings": 1024,
}
CLOSE = 1e-5  # outputs are around 1, through two layers: only the order of sums differs


def decoder(final_norm: bool = True, **shape: Any) -> Decoder:
    module = Decoder(Qwen2Config(**SHAPE | shape), final_norm)
    randomise(module, 0)
    return module.requires_grad_(False)


MODEL = decoder()
MODELS = [MODEL, decoder(final_norm=False), decoder(num_key_value_heads=4, head_dim=6), decoder(num_hidden_layers=1)]


def inputs(batch: int, length: int, seed: int = 0) -> Tensor:
    return torch.randn(batch, length, SHAPE["hidden_size"], generator=torch.Generator().manual_seed(seed))


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=CLOSE)


@given(model=st.sampled_from(MODELS), length=st.integers(1, 14), data=st.data())
@settings(max_examples=40)
def test_a_sequence_cut_anywhere_gives_what_the_whole_gives(model: Decoder, length: int, data: st.DataObject) -> None:
    places = sorted({0, length, *data.draw(st.lists(st.integers(0, length), max_size=4))})
    x, state = inputs(2, length), model.init_state(2, capacity=data.draw(st.integers(0, 20)))
    pieces = [model(x[:, a:b], state) for a, b in pairwise(places)]
    assert_close(torch.cat(pieces, 1), model(x))
    assert state.length.tolist() == [length, length]


@given(model=st.sampled_from(MODELS), length=st.integers(2, 10), data=st.data())
@settings(max_examples=20)
def test_no_position_sees_the_future(model: Decoder, length: int, data: st.DataObject) -> None:
    now = data.draw(st.integers(1, length - 1))
    x = inputs(1, length)
    other = torch.cat([x[:, :now], 10 * inputs(1, length - now, seed=1)], 1)
    assert torch.equal(model(x)[:, :now], model(other)[:, :now])


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4), steps=st.integers(1, 4), data=st.data())
@settings(max_examples=30)
def test_streams_of_different_age_share_a_batch(lengths: list[int], steps: int, data: st.DataObject) -> None:
    past = [inputs(1, length, seed=i) for i, length in enumerate(lengths)]
    fresh = inputs(len(lengths), steps, seed=99)
    caches = [MODEL.init_state(1, capacity=data.draw(st.integers(0, 12))) for _ in lengths]
    for x, cache in zip(past, caches, strict=True):
        MODEL(x, cache)

    together = MODEL(fresh, KVCache.join(caches))

    for i, x in enumerate(past):
        assert_close(together[i : i + 1], MODEL(torch.cat([x, fresh[i : i + 1]], 1))[:, -steps:])


@given(ages=st.lists(st.integers(0, 7), min_size=1, max_size=3), steps=st.integers(1, 3))
@settings(max_examples=20)
def test_several_caches_in_one_pass_are_as_many_passes(ages: list[int], steps: int) -> None:
    """As the two branches of guidance, which differ in age; each cache has two rows here."""
    caches = []
    for i, age in enumerate(ages):
        cache = MODEL.init_state(2)
        if age:
            MODEL(inputs(2, age, seed=i), cache)
        caches.append(cache)
    apart, fresh = [cache.clone() for cache in caches], inputs(2 * len(ages), steps, seed=50)

    together = MODEL(fresh, *caches)

    expected = [MODEL(rows, cache) for rows, cache in zip(fresh.split(2), apart, strict=True)]
    assert_close(together, torch.cat(expected))
    assert [c.length.tolist() for c in caches] == [c.length.tolist() for c in apart]


@given(rounds=st.lists(st.lists(st.integers(1, 5), min_size=3, max_size=3), min_size=1, max_size=4))
@settings(max_examples=30)
def test_rows_may_have_inputs_of_different_length(rounds: list[list[int]]) -> None:
    """What is computed behind a row's real inputs leaves no trace, in this round and in later ones."""
    state, heard = MODEL.init_state(3), [[], [], []]
    for round_number, lengths in enumerate(rounds):
        x = inputs(3, max(lengths), seed=round_number)
        y = MODEL(x, state, lengths=torch.tensor(lengths))
        for row, length in enumerate(lengths):
            heard[row].append(x[row, :length])
            whole = MODEL(torch.cat(heard[row])[None])
            assert_close(y[row, :length], whole[0, -length:])
    assert state.length.tolist() == [sum(lengths) for lengths in zip(*rounds, strict=True)]


def test_a_cache_grows_past_its_room_again_and_again() -> None:
    length = 2 * GROWTH + 3
    x, state = inputs(1, length), MODEL.init_state(1)
    pieces = [MODEL(piece, state) for piece in x.split(GROWTH // 2 + 1, 1)]
    assert_close(torch.cat(pieces, 1), MODEL(x))
    assert state.capacity >= length


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_key_value_heads": 3}, r"num_attention_heads \(4\) must be a multiple of num_key_value_heads \(3\)"),
        ({"hidden_size": 0}, "decoder.hidden_size must be an integer from 1"),
        ({"num_hidden_layers": 0}, "decoder.num_hidden_layers must be an integer from 1"),
        ({"num_hidden_layers": 10**9}, "decoder.num_hidden_layers must be an integer from 1 to 1000"),
        ({"vocab_size": True}, "decoder.vocab_size must be an integer"),
        ({"hidden_size": 2, "head_dim": None}, "heads of an even width"),
        ({"head_dim": 5}, "heads of an even width"),
        ({"rope_theta": 0.0}, "positive rope_theta"),
        ({"hidden_act": "gelu"}, "only silu"),
        ({"rope_scaling": {"type": "yarn"}}, "plain rotary positions"),
        ({"use_sliding_window": True}, "full attention"),
    ],
)
def test_a_shape_no_such_model_has_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Qwen2Config(**SHAPE | change)
