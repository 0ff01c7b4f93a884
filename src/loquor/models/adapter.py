"""Adapters in the layout of the community's long-form fine-tuner, merged into the weights of a model at a strength.

A folder holds a LoRA of the language model, and beside it what else was trained, each part of the model in a folder of
its own: a diffusion head (a LoRA of it, or all its weights), connectors (all their weights). Which parts there are
depends on the family. A matrix with a LoRA becomes W + strength * scale * B A; one that is there in full, the point
between the model's and the adapter's: strength 0 is the model, 1 the adapter. Sums are taken in float32 or finer.
Users of this family report adapters that silently do nothing, so that is an error here.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from loquor.checkpoints import Entry
from loquor.errors import CheckpointError, InputError
from loquor.models.low_rank import CONFIG, read_low_rank, read_tensors

logger = logging.getLogger(__name__)

LEVEL = "lora"  # the fine-tuner writes all into a folder of this name; users name either
FULL = "pytorch_model.bin"  # all weights of a part


@dataclass(frozen=True)
class Place:
    """A part of a model, and where an adapter keeps what it changes it by."""

    name: str
    folder: str  # below the adapter's; nothing: the adapter's itself
    prefix: str  # of the published names
    wrapper: str = ""  # modules that PEFT puts above those of the part
    full: tuple[str, ...] = ()  # files that may hold all its weights, the likeliest first


def full_place(name: str, folder: str, prefix: str) -> Place:
    """That of a part which is small enough to be kept in full."""
    return Place(name, folder, prefix, full=(f"{folder}/{FULL}",))


@dataclass(frozen=True)
class AdapterLayout:
    """Where the adapters of a family keep what: parts that have LoRAs, and those that are there in full."""

    low_rank: tuple[Place, ...]
    in_full: tuple[Place, ...]
    foreign: tuple[str, ...]  # folders that only adapters of another family have


DIFFUSION_HEAD = Place(
    "diffusion head",
    "diffusion_head",
    "model.prediction_head.",
    wrapper="base.",
    full=("diffusion_head/model.safetensors", "diffusion_head/diffusion_head_full.bin", "diffusion_head_full.bin"),
)
ACOUSTIC_CONNECTOR = full_place("acoustic connector", "acoustic_connector", "model.acoustic_connector.")


class Change(Protocol):
    """What one published matrix or vector changes by."""

    @property
    def shape(self) -> torch.Size: ...

    def is_finite(self) -> bool: ...

    def apply_to(self, weight: Tensor, strength: float) -> None:
        """Change `weight`, in float32 or finer, in place."""
        ...


@dataclass(frozen=True, eq=False)
class Full:
    """All of a tensor, as it was when training ended."""

    tensor: Tensor

    @property
    def shape(self) -> torch.Size:
        return self.tensor.shape

    def is_finite(self) -> bool:
        return bool(self.tensor.isfinite().all())

    def apply_to(self, weight: Tensor, strength: float) -> None:
        weight.lerp_(self.tensor.to(weight), strength)


@dataclass(frozen=True, eq=False)
class Part:
    """Changes to one part of a model, by published names."""

    name: str
    source: Path
    prefix: str  # of the published names
    changes: dict[str, Change]


@dataclass(frozen=True)
class AppliedPart:
    """What became of a part of an adapter."""

    name: str
    source: Path
    tensors: int  # published tensors that changed
    largest_change: float  # of a number, relative to the largest in its tensor, before or after


@dataclass(frozen=True)
class AppliedAdapter:
    """What became of an adapter; at least one part changed something."""

    folder: Path
    strength: float
    parts: tuple[AppliedPart, ...]


def merge_adapter(
    model: nn.Module, entries: Sequence[Entry], layout: AdapterLayout, folder: Path, strength: float = 1.0
) -> AppliedAdapter:
    """Merge the adapter in `folder` into the weights of `model`, before anything speaks with it; says what changed.

    `entries` are all tensors of the model with their published names. CheckpointError if the adapter is damaged, does
    not fit the model, holds NaN, or changes nothing, ConfigError if it is more than a plain LoRA, InputError if the
    strength is no finite number. What does not fit is found before the first weight changes.
    """
    if not math.isfinite(strength):
        raise InputError(f"the strength of adapter {folder} must be a finite number, got {strength}")
    parts = read_adapter(folder, layout)
    touched = tuple(part.prefix for part in parts)
    entries = [entry for entry in entries if entry.ours and entry.theirs[0].startswith(touched)]
    shapes = {name: row.shape for entry in entries for name, row in _rows(model, entry)}
    for part in parts:
        _require_fit(part, shapes)
    applied = tuple(_apply(model, part, entries, strength) for part in parts)
    idle = [done for done in applied if not done.tensors]
    if len(idle) == len(applied):
        read = "; ".join(f"{done.name} from {done.source}" for done in idle)
        raise CheckpointError(
            f"{folder}: at strength {strength} this adapter changes nothing (read: {read})",
            hint="was it trained, and saved before its weights were dropped?",
        )
    for done in idle:
        logger.warning("the %s in %s changes nothing: the model has these weights already", done.name, done.source)
    return AppliedAdapter(folder, strength, applied)


def read_adapter(folder: Path, layout: AdapterLayout) -> list[Part]:
    """The parts that are there, in the order of the fine-tuner's own loader.

    CheckpointError if there is none, or one that only models of another family have.
    """
    home = folder / LEVEL if (folder / LEVEL).is_dir() else folder
    for name in layout.foreign:
        if (home / name).is_dir():
            raise CheckpointError(
                f"{folder} is an adapter of another family of models: it holds {name}",
                hint="adapters fit the model they were trained on",
            )
    parts = [part for place in layout.low_rank if (part := _low_rank(home, place) or _full(home, place))]
    parts += [part for place in layout.in_full if (part := _full(home, place))]
    if not parts:
        raise CheckpointError(
            f"{folder} holds no adapter: there is no {CONFIG}, diffusion head or connector in it",
            hint=f"give the folder a fine-tuning wrote, with or without its {LEVEL}/",
        )
    return parts


def _low_rank(home: Path, place: Place) -> Part | None:
    """A LoRA comes first: full weights beside it are those of the wrapped part, under other names."""
    source = home / place.folder
    if not _has_low_rank(source):
        return None
    modules = {module.removeprefix(place.wrapper): change for module, change in read_low_rank(source).items()}
    return Part(place.name, source, place.prefix, {f"{place.prefix}{m}.weight": c for m, c in modules.items()})


def _full(home: Path, place: Place) -> Part | None:
    for path in (home / name for name in place.full):
        if path.exists():
            tensors = {f"{place.prefix}{key}": Full(tensor) for key, tensor in read_tensors(path).items()}
            return Part(place.name, path, place.prefix, dict(tensors))
    return None


def _has_low_rank(folder: Path) -> bool:
    return any(folder.glob("adapter_*"))


def _rows(model: nn.Module, entry: Entry) -> Iterator[tuple[str, Tensor]]:
    """The published tensors that a tensor of ours is made of, as views of it."""
    assert entry.ours is not None
    yield from zip(entry.theirs, entry.to_theirs(model.get_parameter(entry.ours).data), strict=True)


def _require_fit(part: Part, shapes: Mapping[str, torch.Size]) -> None:
    """CheckpointError unless each change has its place in the model, and full weights leave none out."""
    for name, change in part.changes.items():
        key = name.removeprefix(part.prefix)
        if name not in shapes:
            raise CheckpointError(
                f"{part.source}: {key} is nothing that the {part.name} of this model has",
                hint="adapters fit the model they were trained on",
            )
        if change.shape != shapes[name]:
            raise CheckpointError(
                f"{part.source}: {key} changes weights of shape {list(change.shape)}, those of this model have "
                f"{list(shapes[name])}",
                hint="adapters fit the size of model they were trained on",
            )
        if not change.is_finite():
            raise CheckpointError(f"{part.source}: {key} holds NaN or infinite numbers", hint="its training failed")
    missing = [name for name in shapes if name.startswith(part.prefix) and name not in part.changes]
    if missing and any(isinstance(change, Full) for change in part.changes.values()):
        raise CheckpointError(f"{part.source} lacks {', '.join(missing[:3])}", hint="download it again")


def _apply(model: nn.Module, part: Part, entries: list[Entry], strength: float) -> AppliedPart:
    """Replace what the part changes. No weight is written in place: it may be a view of a file."""
    sizes = []
    for entry in entries:
        if entry.ours is None or part.changes.keys().isdisjoint(entry.theirs):
            continue
        merged = [_merged(part, name, row, strength) for name, row in _rows(model, entry)]
        changed = [size for _, size in merged if size]
        if changed:
            model.get_parameter(entry.ours).data = entry.to_ours([row for row, _ in merged])
            sizes += changed
    logger.info(
        "%s: %d tensors changed, by at most %.2g of their largest number",
        part.source,
        len(sizes),
        max(sizes, default=0),
    )
    return AppliedPart(part.name, part.source, len(sizes), max(sizes, default=0.0))


def _merged(part: Part, name: str, weight: Tensor, strength: float) -> tuple[Tensor, float]:
    """A published tensor after the change, in its own dtype, and how much that is of its largest number."""
    if name not in part.changes:
        return weight, 0.0
    total = weight.to(torch.promote_types(weight.dtype, torch.float32), copy=True)
    part.changes[name].apply_to(total, strength)
    merged = total.to(weight.dtype)
    reach = _reach(merged)
    if not math.isfinite(reach):
        raise CheckpointError(f"{part.source}: merging {name} exceeds {weight.dtype}", hint="use bfloat16 or float32")
    change = _reach(merged - weight)
    return merged, change / max(reach, _reach(weight)) if change else 0.0


def _reach(tensor: Tensor) -> float:
    """The largest number, whatever its sign; NaN if there is one."""
    low, high = tensor.aminmax()
    return float(torch.maximum(-low, high))
