"""Low-rank adapters that train (LoRA, Hu et al. 2021, arXiv:2106.09685), written in the layout of the PEFT library.

They are our own layer, not PEFT's: our projections are fused (q, k and v are one matrix, gate and up another) where
published adapters have one LoRA for each, and PEFT brings the transformers library, which nothing else here needs. So
a layer keeps the thin matrices of each published matrix apart, and the tables of names that load a checkpoint also
name what is saved. The one difference from PEFT: matrices that are fused see one dropout of their common input.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from loquor.checkpoints import Entry, write_atomically, write_text
from loquor.models.adapter import FULL, AdapterLayout, Place
from loquor.models.low_rank import CONFIG, WEIGHTS
from loquor.training.recipes.options import LowRankOptions


class LowRankLinear(nn.Module):
    """y = W x + b + scale * (B A) dropout(x), where W does not train; W's rows may be those of several matrices."""

    def __init__(
        self, base: nn.Linear, rows: Sequence[int], options: LowRankOptions, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.base, self.rows = base.requires_grad_(False), list(rows)
        self.scale, self.dropout = options.alpha / options.rank, options.dropout
        bound = base.in_features**-0.5  # as PEFT: A as a fresh linear layer, B zero
        down = torch.empty(len(rows) * options.rank, base.in_features)
        self.down = nn.Parameter(down.uniform_(-bound, bound, generator=generator).to(base.weight))  # A, stacked
        self.up = nn.Parameter(base.weight.new_zeros(sum(rows), options.rank))  # B, stacked

    @property
    def weight(self) -> Tensor:
        """That of the layer as it was."""
        return self.base.weight

    def forward(self, x: Tensor) -> Tensor:
        thin = F.linear(F.dropout(x, self.dropout, self.training), self.down).chunk(len(self.rows), -1)
        ups = torch.split(self.up, self.rows)
        change = torch.cat([F.linear(z, up) for z, up in zip(thin, ups, strict=True)], -1)
        y: Tensor = self.base(x) + self.scale * change
        return y

    def halves(self) -> list[tuple[Tensor, Tensor]]:
        """A [r, columns] and B [rows, r] of each published matrix."""
        downs = self.down.detach().chunk(len(self.rows))
        return list(zip(downs, torch.split(self.up.detach(), self.rows), strict=True))

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The layer as it was, with other weights: those it had may be a view of a file."""
        change = torch.cat([up.float() @ down.float() for down, up in self.halves()])
        weight = self.base.weight.float() + self.scale * change
        self.base.weight = nn.Parameter(weight.to(self.base.weight.dtype), requires_grad=False)
        return self.base


def add_low_rank(
    model: nn.Module, entries: Sequence[Entry], prefixes: tuple[str, ...], options: LowRankOptions, seed: int
) -> int:
    """Put a LoRA beside each linear layer of `model` whose name starts with one of `prefixes`; gives their number."""
    generator, count = torch.Generator().manual_seed(seed), 0
    for entry in entries:
        name = (entry.ours or "").removesuffix(".weight")
        if not name.startswith(prefixes) or name == entry.ours:
            continue
        layer = model.get_submodule(name)
        if isinstance(layer, nn.Linear):
            rows = [len(part) for part in entry.to_theirs(layer.weight.detach())]
            _put(model, name, LowRankLinear(layer, rows, options, generator))
            count += 1
    return count


def merge_low_rank(model: nn.Module) -> None:
    """Turn every LoRA of `model` into a change of the weights beside it; the LoRAs are gone."""
    for name, layer in list(_low_ranks(model)):
        _put(model, name, layer.merged())


def _low_ranks(model: nn.Module) -> Iterator[tuple[str, LowRankLinear]]:
    return ((name, m) for name, m in model.named_modules() if isinstance(m, LowRankLinear))


def _put(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, layer)


def save_adapter(
    folder: Path, model: nn.Module, entries: Sequence[Entry], options: LowRankOptions, layout: AdapterLayout
) -> None:
    """Write what trained: LoRAs, and all weights of the parts that are kept in full."""
    for part in layout.low_rank:
        _save_low_rank(folder / part.folder, part, low_rank_tensors(model, entries, part), options)
    for part in layout.in_full:
        tensors = {
            name.removeprefix(part.prefix): tensor.detach().cpu().clone()
            for entry in entries
            if entry.ours and entry.theirs[0].startswith(part.prefix)
            for name, tensor in zip(entry.theirs, entry.to_theirs(model.get_parameter(entry.ours)), strict=True)
        }
        write_atomically(folder / part.folder / FULL, _saver(tensors))


def low_rank_tensors(model: nn.Module, entries: Sequence[Entry], part: Place) -> dict[str, Tensor]:
    """lora_A and lora_B of every adapted matrix of a part, under PEFT's names."""
    layers, tensors = dict(_low_ranks(model)), dict[str, Tensor]()
    for entry in entries:
        layer = layers.get((entry.ours or "").removesuffix(".weight"))
        if layer is None or not entry.theirs[0].startswith(part.prefix):
            continue
        for theirs, halves in zip(entry.theirs, layer.halves(), strict=True):
            module = theirs.removeprefix(part.prefix).removesuffix(".weight")
            for side, half in zip("AB", halves, strict=True):
                tensors[f"base_model.model.{part.wrapper}{module}.lora_{side}.weight"] = half.cpu().contiguous()
    return tensors


def _save_low_rank(folder: Path, part: Place, tensors: dict[str, Tensor], options: LowRankOptions) -> None:
    modules = sorted({name.split(".lora_")[0].rpartition(".")[2] for name in tensors})
    config = {
        "peft_type": "LORA",
        "task_type": None if part.wrapper else "CAUSAL_LM",
        "base_model_name_or_path": None,
        "r": options.rank,
        "lora_alpha": options.alpha,
        "lora_dropout": options.dropout,
        "target_modules": modules,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "inference_mode": True,
        "modules_to_save": None,
        "use_dora": False,
        "use_rslora": False,
    }
    write_atomically(folder / WEIGHTS[0], lambda path: save_file(tensors, path, metadata={"format": "pt"}))
    write_text(folder / CONFIG, json.dumps(config, indent=1))


def _saver(tensors: dict[str, Tensor]) -> Callable[[Path], None]:
    return lambda path: torch.save(tensors, path)
