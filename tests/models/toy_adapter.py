"""Adapters of a small long-form model in the layout of the community's fine-tuner, as its users would have them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from loquor.checkpoints import published
from loquor.models.codec import CodecConfig
from loquor.models.longform.adapter import LAYOUT
from loquor.models.longform.checkpoint import keys
from loquor.models.longform.model import LongformConfig, LongformModel
from loquor.nn.diffusion_head import DiffusionHeadConfig
from loquor.nn.qwen2 import Qwen2Config
from toy import randomise

LANGUAGE_MODEL, HEAD = (place.prefix for place in LAYOUT.low_rank)
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
HEAD_TARGETS = (*TARGETS[4:], "noisy_images_proj", "cond_proj", "linear")
CONNECTORS = ("acoustic_connector", "semantic_connector")


def small_model(hidden_size: int = 16, seed: int = 0) -> LongformModel:
    """Two layers, a vocabulary of 40, a head of one layer; read-only, as loaded ones are."""
    strides = {"encoder_ratios": (2, 2), "encoder_depths": "1-1-1", "encoder_n_filters": 2, "decoder_n_filters": 2}
    config = LongformConfig(
        decoder=Qwen2Config(
            hidden_size=hidden_size,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            vocab_size=40,
            max_position_embeddings=64,
        ),
        acoustic=CodecConfig(vae_dim=6, **strides),
        semantic=CodecConfig(vae_dim=5, fix_std=0.0, std_dist_type="none", **strides),
        head=DiffusionHeadConfig(hidden_size=hidden_size, latent_size=6, head_layers=1, head_ffn_ratio=2.0),
        has_own_token_head=False,
    )
    model = LongformModel(config)
    randomise(model, seed)
    model.latent_scale.scale.fill_(0.8)
    model.latent_scale.bias.fill_(0.1)
    return model.eval().requires_grad_(False)


def weights(model: LongformModel) -> dict[str, Tensor]:
    """Every tensor under its published name, copied."""
    return {name: tensor.clone() for name, tensor in published(model, keys(model.config)).items()}


def low_rank(base: Mapping[str, Tensor], targets: tuple[str, ...], rank: int, seed: int = 0) -> dict[str, Tensor]:
    """lora_A [rank, columns] and lora_B [rows, rank] by module, for each matrix of `base` whose module ends so."""
    generator, tensors = torch.Generator().manual_seed(seed), {}
    for name, weight in base.items():
        module = name.removesuffix(".weight")
        if module.endswith(targets) and name.endswith(".weight"):
            rows, columns = weight.shape
            tensors[f"{module}.lora_A.weight"] = torch.randn(rank, columns, generator=generator) * columns**-0.5
            tensors[f"{module}.lora_B.weight"] = torch.randn(rows, rank, generator=generator) * 0.1
    return tensors


def part_of(base: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in base.items() if name.startswith(prefix)}


def moved(base: Mapping[str, Tensor], prefix: str, seed: int = 0) -> dict[str, Tensor]:
    """All tensors of a part, trained a little further."""
    generator = torch.Generator().manual_seed(seed)
    return {n: t + 0.05 * torch.randn(t.shape, generator=generator) for n, t in part_of(base, prefix).items()}


def write_low_rank(folder: Path, tensors: Mapping[str, Tensor], wrapper: str = "", **config: Any) -> Path:
    """`adapter_config.json` and the tensors, of modules below a `wrapper` of PEFT's own."""
    folder.mkdir(parents=True, exist_ok=True)
    rank = next((t.shape[0] for name, t in tensors.items() if "lora_A" in name), 1)
    values = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "bias": "none", "use_dora": False, **config}
    (folder / "adapter_config.json").write_text(json.dumps(values), encoding="utf-8")
    named = {f"base_model.model.{wrapper}{name}": tensor for name, tensor in tensors.items()}
    save_file(named, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder


def write_adapter(folder: Path, model: LongformModel, rank: int = 3, targets: tuple[str, ...] = TARGETS) -> Path:
    """All the fine-tuner writes when it trains language model, head and connectors; gives the folder above `lora`."""
    base = weights(model)
    home = write_low_rank(folder / "lora", low_rank(part_of(base, LANGUAGE_MODEL), targets, rank))
    write_state_dict(home / "diffusion_head_full.bin", moved(base, HEAD))
    (home / "diffusion_head").mkdir()
    save_file(moved(base, HEAD), home / "diffusion_head" / "model.safetensors")
    for connector in CONNECTORS:
        write_state_dict(home / connector / "pytorch_model.bin", moved(base, f"model.{connector}."))
    return folder


def write_state_dict(path: Path, tensors: Mapping[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(tensors), path)
