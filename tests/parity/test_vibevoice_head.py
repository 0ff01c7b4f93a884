"""Golden a: the diffusion head alone, in fp32 and bf16, in both of its forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from loquor.checkpoints import Files, load
from loquor.configs import from_dict
from loquor.models.diffusion_head_keys import diffusion_head_keys
from loquor.nn.diffusion_head import DiffusionHead, DiffusionHeadConfig, timestep_frequencies
from parity.goldens import Golden

CASE = ("vibevoice", "a_diffusion_head")


def head_of(golden: Golden) -> DiffusionHead:
    config = from_dict(DiffusionHeadConfig, golden.config, str(golden.folder / "config.json"))
    with torch.device("meta"):
        head = DiffusionHead(config)
    load(head, Files(golden.folder), diffusion_head_keys(config, "", ""))
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
