"""One pass over tokens of several streams in slots, against each stream alone."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loquor.nn.attention import LayerCache
from loquor.nn.qwen2 import Decoder, Qwen2Config
from loquor.nn.ragged import Feed, Pass, ragged_layer
from toy import randomise

CONFIG = Qwen2Config(
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=1,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=8,
    max_position_embeddings=64,
)
DECODER = Decoder(CONFIG, final_norm=False).requires_grad_(False)
randomise(DECODER, 3)
LAYER = DECODER.layers[0]


@torch.no_grad()
def fed(cache: LayerCache, feeds: list[Feed], inputs: dict[int, torch.Tensor]) -> dict[int, torch.Tensor]:
    """What comes of one pass, by slot."""
    where = Pass.over(feeds, 2, torch.device("cpu"))
    x = torch.cat([inputs[f.slot][f.start : f.start + f.count] for f in feeds])
    cos, sin = DECODER.rotary(where.positions[None], x.dtype)
    y = ragged_layer(LAYER, x, (cos[0].transpose(0, 1), sin[0].transpose(0, 1)), cache, where)
    return {f.slot: part for f, part in zip(feeds, torch.split(y, [f.count for f in feeds]), strict=True)}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4), min_size=1, max_size=4), st.permutations(range(4)))
def test_a_pass_gives_each_stream_what_it_gets_alone(plans, slots):
    lengths = {slot: sum(plan) for slot, plan in zip(slots, plans, strict=False)}
    inputs = {slot: torch.randn(n, 16, generator=torch.Generator().manual_seed(slot)) for slot, n in lengths.items()}
    cache, done = LAYER.attention.init_state(4, 20), {slot: list[torch.Tensor]() for slot in lengths}
    for i in range(max(map(len, plans))):
        now = [(s, plan[i]) for s, plan in zip(slots, plans, strict=False) if i < len(plan) and plan[i]]
        feeds = [Feed(s, sum(map(len, done[s])), count) for s, count in sorted(now, key=lambda pair: pair[1])]
        for slot, part in fed(cache, feeds, inputs).items() if feeds else ():
            done[slot].append(part)
    for slot, length in lengths.items():
        if length:
            alone = DECODER(inputs[slot][None])[0]
            torch.testing.assert_close(torch.cat(done[slot]), alone, atol=1e-5, rtol=1e-5)
