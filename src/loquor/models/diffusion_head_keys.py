"""Published tensor names of the diffusion head and ours."""

from __future__ import annotations

from loquor.checkpoints import Entry, fused, same
from loquor.nn.diffusion_head import DiffusionHeadConfig


def diffusion_head_keys(config: DiffusionHeadConfig, theirs: str, ours: str) -> list[Entry]:
    """Every tensor of the head; both prefixes end in a dot."""
    ffn = config.ffn_size
    entries = [
        same(f"{theirs}noisy_images_proj.weight", f"{ours}latent_in.weight"),  # named after an image model
        same(f"{theirs}cond_proj.weight", f"{ours}condition_in.weight"),
        same(f"{theirs}t_embedder.mlp.0.weight", f"{ours}time_embedding.fc1.weight"),
        same(f"{theirs}t_embedder.mlp.2.weight", f"{ours}time_embedding.fc2.weight"),
        same(f"{theirs}final_layer.linear.weight", f"{ours}output.latent_out.weight"),
        same(f"{theirs}final_layer.adaLN_modulation.1.weight", f"{ours}output.modulation.weight"),
    ]
    for i in range(config.head_layers):
        a, b = f"{theirs}layers.{i}.", f"{ours}layers.{i}."
        entries += [
            fused([f"{a}ffn.{x}_proj.weight" for x in ("gate", "up")], f"{b}ffn.gate_up.weight", [ffn, ffn]),
            same(f"{a}ffn.down_proj.weight", f"{b}ffn.down.weight"),
            same(f"{a}norm.weight", f"{b}norm.weight"),
            same(f"{a}adaLN_modulation.1.weight", f"{b}modulation.weight"),
        ]
    return entries
