"""Low-rank adapters in the layout of the PEFT library: what they change a model's matrices by (LoRA, arXiv:2106.09685).

A folder holds `adapter_config.json` and two thin matrices for each changed one: W becomes W + scale * B A, where scale
is alpha / r, or alpha / sqrt(r) if the adapter is rank-stabilised (arXiv:2312.03732). What would change a model in
another way is refused: ignored, it would give a voice that sounds almost right.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from loquor.configs import LARGEST, from_dict, read_json, require_int
from loquor.errors import CheckpointError, ConfigError
from loquor.torch_archives import read_state_dict

CONFIG, WEIGHTS = "adapter_config.json", ("adapter_model.safetensors", "adapter_model.bin")
KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
PLAIN: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "lora_bias": (False, None),
    "use_dora": (False, None),
    "fan_in_fan_out": (False, None),
    "modules_to_save": (None, []),
    "layer_replication": (None, []),
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal"),  # others subtract from the base
}  # features a LoRA may have, and the values with which it has not


@dataclass(frozen=True)
class LowRankConfig:
    """What the arithmetic needs of adapter_config.json, under its names."""

    r: int
    lora_alpha: float
    use_rslora: bool = False
    rank_pattern: Any = field(default_factory=dict)  # module: r, for modules that differ
    alpha_pattern: Any = field(default_factory=dict)  # module: lora_alpha

    def __post_init__(self) -> None:
        for name in ("rank_pattern", "alpha_pattern"):
            pattern = getattr(self, name)
            if not isinstance(pattern, Mapping) or not all(re.fullmatch(r"[\w.]+", module) for module in pattern):
                raise ConfigError(
                    f"{name} {pattern!r} cannot be read", hint="only plain names of modules are supported"
                )
        require_int("adapter", r=self.r, **{f"rank_pattern.{m}": rank for m, rank in self.rank_pattern.items()})
        alphas = {"lora_alpha": self.lora_alpha} | {f"alpha_pattern.{m}": a for m, a in self.alpha_pattern.items()}
        for name, alpha in alphas.items():
            if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not abs(alpha) <= LARGEST:
                raise ConfigError(f"adapter.{name} must be a number of at most {LARGEST}, got {alpha!r}")

    def of(self, module: str) -> tuple[int, float]:
        """Rank and scale of the module of that dotted name; a pattern matches whole parts at its end."""
        rank, alpha = _matched(self.rank_pattern, module, self.r), _matched(self.alpha_pattern, module, self.lora_alpha)
        return int(rank), alpha / (math.sqrt(rank) if self.use_rslora else rank)


def _matched(pattern: Mapping[str, float], module: str, default: float) -> float:
    return next((value for name, value in pattern.items() if f".{module}".endswith(f".{name}")), default)


@dataclass(frozen=True, eq=False)
class LowRank:
    """What one matrix changes by: scale * up @ down."""

    up: Tensor  # B [rows, r]
    down: Tensor  # A [r, columns]
    scale: float

    @property
    def shape(self) -> torch.Size:
        """Of the matrix it changes."""
        return torch.Size((self.up.shape[0], self.down.shape[1]))

    def is_finite(self) -> bool:
        return bool(self.up.isfinite().all() and self.down.isfinite().all())

    def apply_to(self, weight: Tensor, strength: float) -> None:
        """Add so much of the change to `weight` [rows, columns], in float32 or finer, in place."""
        weight.addmm_(self.up.to(weight), self.down.to(weight), alpha=strength * self.scale)


def read_low_rank(folder: Path) -> dict[str, LowRank]:
    """The changes of the adapter in `folder` by the names of modules, such as `layers.0.self_attn.q_proj`.

    ConfigError for features other than plain LoRA, CheckpointError for files that are missing, damaged or at odds.
    """
    config = read_config(folder / CONFIG)
    path = next((folder / name for name in WEIGHTS if (folder / name).exists()), folder / WEIGHTS[0])
    tensors = read_tensors(path)
    sides: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        key = KEY.fullmatch(name)
        if key is None or tensor.dim() != 2 or not tensor.is_floating_point():
            what = f"{name} of shape {list(tensor.shape)} in {tensor.dtype} is no matrix of a LoRA"
            raise CheckpointError(f"{path}: {what}", hint="expected base_model.model.<module>.lora_A.weight and lora_B")
        sides.setdefault(key["module"], {})[key["side"]] = tensor
    return {module: _low_rank(path, module, pair, config) for module, pair in sides.items()}


def read_config(path: Path) -> LowRankConfig:
    """The configuration at `path`; ConfigError if its adapter is more than a plain LoRA."""
    values = read_json(path)
    for name, plain in PLAIN.items():
        if values.get(name) not in plain:
            raise ConfigError(
                f"{path}: {name} is {values.get(name)!r}, which is not supported",
                hint="plain LoRA adapters are; merge this one with the library that wrote it",
            )
    known = {f.name for f in dataclasses.fields(LowRankConfig)}
    return from_dict(LowRankConfig, {k: v for k, v in values.items() if k in known and v is not None}, str(path))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a .bin that torch wrote; CheckpointError if it is neither."""
    if path.suffix == ".bin":
        return read_state_dict(path)
    try:
        return load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is no sound safetensors file: {error}", hint="download it again") from None


def _low_rank(path: Path, module: str, pair: Mapping[str, Tensor], config: LowRankConfig) -> LowRank:
    """The two halves as one change, checked against the rank the configuration gives them."""
    if len(pair) != 2:
        missing, there = ("B", "A") if "A" in pair else ("A", "B")
        raise CheckpointError(f"{path}: {module} has lora_{there} without lora_{missing}")
    up, down = pair["B"], pair["A"]
    rank, scale = config.of(module)
    if not up.shape[1] == down.shape[0] == rank:
        shapes = f"lora_B {list(up.shape)} and lora_A {list(down.shape)}"
        raise CheckpointError(f"{path}: {module} has {shapes}, {CONFIG} gives it rank {rank}")
    return LowRank(up, down, scale)
