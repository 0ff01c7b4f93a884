"""Checkpoint folders: safetensors, sharded or not, read and written through a table of names.

A model's table lists `Entry(theirs, ours)`: published names to our module's names. Several of theirs may form one of
ours (fused projections), with the reshapes as named functions beside it. The table is complete both ways, so loading
is strict and exporting is its inverse.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from loquor.errors import CheckpointError

SHARD_BYTES = 2_000_000_000  # what the publishers' converter writes per file


def _one(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0]


def _alone(tensor: Tensor) -> list[Tensor]:
    return [tensor]


@dataclass(frozen=True)
class Entry:
    """One tensor of ours and the published tensors it is made of."""

    theirs: tuple[str, ...]
    ours: str | None  # None: read and dropped on purpose
    to_ours: Callable[[Sequence[Tensor]], Tensor] = _one
    to_theirs: Callable[[Tensor], list[Tensor]] = _alone
    optional: bool = False  # may be absent from a file


def same(theirs: str, ours: str) -> Entry:
    """A tensor that only changes its name."""
    return Entry((theirs,), ours)


def fused(theirs: Sequence[str], ours: str, sizes: Sequence[int]) -> Entry:
    """Tensors stacked along their first axis, `sizes` rows each."""
    return Entry(tuple(theirs), ours, lambda t: torch.cat(list(t)), lambda t: list(t.split(list(sizes))))


class Files:
    """The tensors of a checkpoint folder, memory mapped; nothing is read before it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, Any] = {}
        self.where = self._index()

    def _index(self) -> dict[str, str]:
        index = self.folder / "model.safetensors.index.json"
        if index.exists():
            where = _weight_map(index)
            for name, file in where.items():
                if Path(file).name != file:
                    raise CheckpointError(f"{index}: {name} points outside the folder: {file!r}")
                if name not in self._file(file).keys():  # noqa: SIM118
                    raise CheckpointError(f"{self.folder / file} lacks {name}, which {index.name} promises")
            return where
        if not (self.folder / "model.safetensors").exists():
            raise CheckpointError(
                f"{self.folder} holds no model.safetensors", hint="give a folder with config.json and safetensors"
            )
        return {name: "model.safetensors" for name in self._file("model.safetensors").keys()}  # noqa: SIM118

    def _file(self, name: str) -> Any:
        if name not in self._open:
            path = self.folder / name
            try:
                self._open[name] = safe_open(path, framework="pt")
            except FileNotFoundError:
                raise CheckpointError(f"{path} does not exist", hint="download all shards of the checkpoint") from None
            except (SafetensorError, OSError) as error:
                raise CheckpointError(
                    f"{path} is no sound safetensors file: {error}", hint="download it again"
                ) from None
        return self._open[name]

    def __getitem__(self, name: str) -> Tensor:
        tensor: Tensor = self._file(self.where[name]).get_tensor(name)
        return tensor


def _weight_map(index: Path) -> dict[str, str]:
    try:
        where = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return {str(k): str(v) for k, v in where.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is no shard index: {error}") from None


def load(model: nn.Module, files: Files, entries: Iterable[Entry], dtype: torch.dtype | None = None) -> None:
    """Fill `model` (built on the meta device) strictly: every tensor of ours, every tensor of the file.

    Raises CheckpointError naming the missing, unexpected or wrongly shaped tensor.
    """
    wanted = dict(model.state_dict())
    table = [e for e in entries if not (e.optional and all(t not in files.where for t in e.theirs))]
    known = {t for e in table for t in e.theirs}
    missing, unexpected = sorted(known - set(files.where)), sorted(set(files.where) - known)
    if missing or unexpected:
        raise CheckpointError(f"{files.folder}: {_difference(missing, unexpected)}")
    loaded: dict[str, Tensor] = {}
    for entry in table:
        if entry.ours is None:
            continue
        try:
            tensor = entry.to_ours([files[t] for t in entry.theirs])
        except RuntimeError as error:
            raise CheckpointError(f"{files.folder}: {' + '.join(entry.theirs)} cannot be read: {error}") from None
        if tensor.shape != wanted[entry.ours].shape:
            raise CheckpointError(
                f"{files.folder}: {' + '.join(entry.theirs)} has shape {list(tensor.shape)}, "
                f"config.json asks for {list(wanted[entry.ours].shape)}"
            )
        loaded[entry.ours] = tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor
    model.load_state_dict(loaded, strict=True, assign=True)


def _difference(missing: list[str], unexpected: list[str]) -> str:
    parts = [("missing", missing), ("unexpected", unexpected)]
    return "; ".join(
        f"{len(names)} {word} tensor{'s' if len(names) > 1 else ''}: {', '.join(names[:5])}{', ...' if names[5:] else ''}"
        for word, names in parts
        if names
    )


def published(model: nn.Module, entries: Iterable[Entry]) -> dict[str, Tensor]:
    """The tensors of `model` under their published names and shapes."""
    ours = model.state_dict()
    out: dict[str, Tensor] = {}
    for entry in entries:
        if entry.ours is not None and entry.ours in ours:
            parts = entry.to_theirs(ours[entry.ours])
            out.update(zip(entry.theirs, (p.contiguous() for p in parts), strict=True))
    return out


def save(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor], shard_bytes: int = SHARD_BYTES) -> None:
    """Write config.json and the tensors, in shards with an index if they need more than one; each file atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[dict[str, Tensor]] = [{}]
    room = shard_bytes
    for name, tensor in tensors.items():
        if shards[-1] and tensor.nbytes > room:
            shards.append({})
            room = shard_bytes
        shards[-1][name] = tensor
        room -= tensor.nbytes
    names = [
        "model.safetensors" if len(shards) == 1 else f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        for i in range(len(shards))
    ]
    for file, shard in zip(names, shards, strict=True):
        write_atomically(folder / file, lambda path, shard=shard: save_file(shard, path, metadata={"format": "pt"}))  # type: ignore[misc]
    if len(shards) > 1:
        index = {
            "metadata": {"total_size": sum(t.nbytes for t in tensors.values())},
            "weight_map": {n: file for file, shard in zip(names, shards, strict=True) for n in shard},
        }
        write_text(folder / "model.safetensors.index.json", json.dumps(index, indent=1))
    write_text(folder / "config.json", json.dumps(dict(config), indent=1))


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path`, then put it in place; on any failure nothing is left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write {path}: {error}", hint="is there space, and may you write there?") from None
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """A text file, written atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8") and None)
