"""Published tensor names of a Qwen2 decoder and ours."""

from __future__ import annotations

from loquor.checkpoints import Entry, fused, same
from loquor.nn.qwen2 import Qwen2Config


def qwen2_keys(config: Qwen2Config, theirs: str, ours: str, final_norm: bool = True) -> list[Entry]:
    """Every tensor of the stack, without the embedding; both prefixes end in a dot."""
    heads, kv = config.num_attention_heads * config.width, config.num_key_value_heads * config.width
    entries: list[Entry] = []
    for i in range(config.num_hidden_layers):
        a, b = f"{theirs}layers.{i}.", f"{ours}layers.{i}."
        for part in ("weight", "bias"):
            names = [f"{a}self_attn.{x}_proj.{part}" for x in "qkv"]
            entries.append(fused(names, f"{b}attention.qkv.{part}", [heads, kv, kv]))
        ffn = config.intermediate_size
        entries += [
            same(f"{a}self_attn.o_proj.weight", f"{b}attention.out.weight"),
            fused([f"{a}mlp.{x}_proj.weight" for x in ("gate", "up")], f"{b}ffn.gate_up.weight", [ffn, ffn]),
            same(f"{a}mlp.down_proj.weight", f"{b}ffn.down.weight"),
            same(f"{a}input_layernorm.weight", f"{b}attention_norm.weight"),
            same(f"{a}post_attention_layernorm.weight", f"{b}ffn_norm.weight"),
        ]
    if final_norm:
        entries.append(same(f"{theirs}norm.weight", f"{ours}norm.weight"))
    return entries
