"""Published tensor names of a Qwen2 decoder and ours."""

from __future__ import annotations

from loquor.checkpoints import Entry, fused, same
from loquor.nn.qwen2 import Qwen2Config


def qwen2_keys(config: Qwen2Config, theirs: str, ours: str, final_norm: bool = True) -> list[Entry]:
    """Every tensor of the stack, without the embedding; both prefixes end in a dot."""
    entries: list[Entry] = []
    for i in range(config.num_hidden_layers):
        entries += layer_keys(config, f"{theirs}layers.{i}.", f"{ours}layers.{i}.")
    if final_norm:
        entries.append(same(f"{theirs}norm.weight", f"{ours}norm.weight"))
    return entries


def layer_keys(config: Qwen2Config, theirs: str, ours: str) -> list[Entry]:
    """Every tensor of one layer; both prefixes end in a dot."""
    heads, kv = config.num_attention_heads * config.width, config.num_key_value_heads * config.width
    entries: list[Entry] = []
    for part in ("weight", "bias"):
        names = [f"{theirs}self_attn.{x}_proj.{part}" for x in "qkv"]
        entries.append(fused(names, f"{ours}attention.qkv.{part}", [heads, kv, kv]))
    ffn = config.intermediate_size
    return [
        *entries,
        same(f"{theirs}self_attn.o_proj.weight", f"{ours}attention.out.weight"),
        fused([f"{theirs}mlp.{x}_proj.weight" for x in ("gate", "up")], f"{ours}ffn.gate_up.weight", [ffn, ffn]),
        same(f"{theirs}mlp.down_proj.weight", f"{ours}ffn.down.weight"),
        same(f"{theirs}input_layernorm.weight", f"{ours}attention_norm.weight"),
        same(f"{theirs}post_attention_layernorm.weight", f"{ours}ffn_norm.weight"),
    ]
