"""Published tensor names of the diffusion head and ours."""

from __future__ import annotations

from dataclasses import dataclass

from loquor.checkpoints import Entry, fused, same
from loquor.nn.diffusion_head import DiffusionHeadConfig


@dataclass(frozen=True)
class HeadNames:
    """What a layout calls the layers whose names differ from one to the other."""

    time_fc1: str
    time_fc2: str
    modulation: str  # of a layer
    output_modulation: str
    latent_out: str


ORIGINAL = HeadNames(
    time_fc1="t_embedder.mlp.0",
    time_fc2="t_embedder.mlp.2",
    modulation="adaLN_modulation.1",
    output_modulation="final_layer.adaLN_modulation.1",
    latent_out="final_layer.linear",
)
HUGGINGFACE = HeadNames(
    time_fc1="timestep_proj.fc1",
    time_fc2="timestep_proj.fc2",
    modulation="linear",
    output_modulation="final_layer.linear_1",
    latent_out="final_layer.linear_2",
)


def diffusion_head_keys(
    config: DiffusionHeadConfig, theirs: str, ours: str, names: HeadNames = ORIGINAL
) -> list[Entry]:
    """Every tensor of the head; both prefixes end in a dot."""
    ffn = config.ffn_size
    entries = [
        same(f"{theirs}noisy_images_proj.weight", f"{ours}latent_in.weight"),  # named after an image model
        same(f"{theirs}cond_proj.weight", f"{ours}condition_in.weight"),
        same(f"{theirs}{names.time_fc1}.weight", f"{ours}time_embedding.fc1.weight"),
        same(f"{theirs}{names.time_fc2}.weight", f"{ours}time_embedding.fc2.weight"),
        same(f"{theirs}{names.latent_out}.weight", f"{ours}output.latent_out.weight"),
        same(f"{theirs}{names.output_modulation}.weight", f"{ours}output.modulation.weight"),
    ]
    for i in range(config.head_layers):
        a, b = f"{theirs}layers.{i}.", f"{ours}layers.{i}."
        entries += [
            fused([f"{a}ffn.{x}_proj.weight" for x in ("gate", "up")], f"{b}ffn.gate_up.weight", [ffn, ffn]),
            same(f"{a}ffn.down_proj.weight", f"{b}ffn.down.weight"),
            same(f"{a}norm.weight", f"{b}norm.weight"),
            same(f"{a}{names.modulation}.weight", f"{b}modulation.weight"),
        ]
    return entries
