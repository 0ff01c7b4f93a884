"""Golden a: the diffusion head alone, in fp32 and bf16, in both of its forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from loquor.configs import HF_KEYS, from_dict
from loquor.nn.diffusion_head import DiffusionHead, DiffusionHeadConfig, timestep_frequencies
from parity.goldens import Golden

CASE = ("vibevoice", "a_diffusion_head")

KEYS = {
    "noisy_images_proj": "latent_in",  # name inherited from an image model
    "cond_proj": "condition_in",
    "t_embedder.mlp.0": "time_embedding.fc1",
    "t_embedder.mlp.2": "time_embedding.fc2",
    "final_layer.linear": "output.latent_out",
    "final_layer.adaLN_modulation.1": "output.modulation",
}
LAYER_KEYS = {"norm": "norm", "ffn.down_proj": "ffn.down", "adaLN_modulation.1": "modulation"}


def renamed(weights: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The reference's weights under our names; gate and up become one matrix. Every weight is used."""
    left = dict(weights)
    ours = {f"{new}.weight": left.pop(f"{old}.weight") for old, new in KEYS.items()}
    for i in range(layers):
        old, new = f"layers.{i}", f"layers.{i}"
        ours |= {f"{new}.{n}.weight": left.pop(f"{old}.{o}.weight") for o, n in LAYER_KEYS.items()}
        gate, up = left.pop(f"{old}.ffn.gate_proj.weight"), left.pop(f"{old}.ffn.up_proj.weight")
        ours[f"{new}.ffn.gate_up.weight"] = torch.cat([gate, up])
    assert not left, f"weights without a place: {sorted(left)}"
    return ours


def head_of(golden: Golden) -> DiffusionHead:
    config = from_dict(DiffusionHeadConfig, golden.config, str(golden.folder / "config.json"), ignore=HF_KEYS)
    head = DiffusionHead(config)
    head.load_state_dict(renamed(golden.weights, config.head_layers), strict=True)
    return head


def precomputed(head: DiffusionHead, noisy: Tensor, timesteps: Tensor, condition: Tensor) -> Tensor:
    """The head's output for one timestep a row, by way of the modulations of all timesteps for all rows."""
    modulations = head.modulations(head.embed_timesteps(timesteps), condition)
    return torch.stack([head.predict(noisy, modulation)[i] for i, modulation in enumerate(modulations)])


@pytest.mark.parametrize("case", [CASE[1]])
@torch.no_grad()
def test_the_head_predicts_what_the_reference_predicts(case: str) -> None:
    with Golden.open(CASE[0], case) as golden:
        head, tolerance = head_of(golden), golden.about["tolerance"]
        for run in ("fwd", "small"):
            inputs = [golden[f"{run}/{part}"] for part in ("noisy", "timesteps", "condition")]
            golden.check(f"{run}/output", head(*inputs), tolerance["fp32"])
            golden.check(f"{run}/output", precomputed(head, *inputs), tolerance["fp32"])

        timesteps = golden["fwd/timesteps"]
        golden.check("fwd/t_freq", timestep_frequencies(timesteps), tolerance["fp32"])
        golden.check("fwd/t_emb", head.embed_timesteps(timesteps), tolerance["fp32"])

        rough = head.bfloat16()  # everything is rounded, the timesteps too
        inputs = [golden[f"fwd/{part}"].bfloat16() for part in ("noisy", "timesteps", "condition")]
        golden.check("bf16/output", rough(*inputs), tolerance["bf16"])
        golden.check("bf16/output", precomputed(rough, *inputs), tolerance["bf16"])
