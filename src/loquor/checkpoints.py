"""Checkpoint folders: safetensors, sharded or not, read and written through a table of names.

A model's table lists `Entry(theirs, ours)`: published names to our module's names. Several of theirs may form one of
ours (fused projections), with the reshapes as named functions beside it. The table is complete both ways, so loading
is strict and exporting is its inverse.
"""

from __future__ import annotations

import json
import re
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from loquor.errors import CheckpointError, ConfigError
from loquor.tensor_file import TensorFile

SHARD_BYTES = 2_000_000_000  # what the publishers' converter writes per file
INDEX = "model.safetensors.index.json"
CACHE_LINE = 64  # bytes; where a matrix begins elsewhere its products sum in another order, and layouts sound different
PARTIAL = ".partial-"  # begins the name of a file that is not yet in its place
OURS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")  # files `save` writes


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
    return Entry(tuple(theirs), ours, lambda t: torch.cat(list(t)), lambda t: list(torch.split(t, list(sizes))))


class Files:
    """The tensors of a checkpoint folder, memory mapped; nothing is read before it is needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, TensorFile] = {}
        self.where = self._index()

    def _index(self) -> dict[str, str]:
        index = self.folder / INDEX
        if index.exists():
            where = _weight_map(index)
            for name, file in where.items():
                if Path(file).name != file:
                    raise CheckpointError(f"{index}: {name} points outside the folder: {file!r}")
                if name not in self._file(file).headers:
                    raise CheckpointError(f"{self.folder / file} lacks {name}, which {index.name} promises")
            return {name: file for file in self._open for name in self._open[file].headers} | where
        if not (self.folder / "model.safetensors").exists():
            raise CheckpointError(
                f"{self.folder} holds no model.safetensors", hint="give a folder with config.json and safetensors"
            )
        return dict.fromkeys(self._file("model.safetensors").headers, "model.safetensors")

    def _file(self, name: str) -> TensorFile:
        if name not in self._open:
            self._open[name] = TensorFile(self.folder / name)
        return self._open[name]

    def __getitem__(self, name: str) -> Tensor:
        return self._file(self.where[name]).tensor(name)

    def release(self, name: str) -> None:
        """Give back the memory of a tensor that has been copied."""
        self._file(self.where[name]).release(name)


@contextmanager
def without_memory(folder: Path) -> Iterator[None]:
    """Modules built here have shapes and no weights; ConfigError if the sizes in config.json make no tensors."""
    try:
        with torch.device("meta"), _NoNoise():
            yield
    except RuntimeError as error:
        raise ConfigError(f"{folder / 'config.json'}: no model has such sizes: {error}") from None


class _NoNoise(TorchFunctionMode):
    """Leaves out first values: without memory they fill nothing, but `normal_` loads torch's compiler, a second at
    every start, and `kaiming_uniform_` takes a third of the time that building does."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (nn.init.normal_, nn.init.kaiming_uniform_):
            return kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def _weight_map(index: Path) -> dict[str, str]:
    try:
        where = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return {str(k): str(v) for k, v in where.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index} is no shard index: {error}") from None


def load(model: nn.Module, files: Files, entries: Iterable[Entry], dtype: torch.dtype | None = None) -> None:
    """Fill `model` (built `without_memory`) strictly: every tensor of ours, every tensor of the file.

    Never is all of it held twice: what keeps its numbers and begins at a cache line stays a view of the file; what is
    fused, reshaped, cast or moved takes the place of the pages it was made from.

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
        sources = _fitting(files, entry, wanted[entry.ours])
        tensor = entry.to_ours(sources)
        tensor = tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor
        loaded[entry.ours] = tensor = tensor.clone() if tensor.data_ptr() % CACHE_LINE else tensor
        for name, source in zip(entry.theirs, sources, strict=True):
            if tensor.untyped_storage().data_ptr() != source.untyped_storage().data_ptr():
                files.release(name)
    model.load_state_dict(loaded, strict=True, assign=True)


def _fitting(files: Files, entry: Entry, ours: Tensor) -> list[Tensor]:
    """The published tensors that form `ours`, each of the shape that exporting it would give."""
    tensors = [files[name] for name in entry.theirs]
    shapes = [t.shape for t in entry.to_theirs(torch.empty((), dtype=torch.bool).expand(ours.shape))]  # hardly memory
    for name, tensor, shape in zip(entry.theirs, tensors, shapes, strict=True):
        if tensor.shape != shape:
            difference = f"has shape {list(tensor.shape)}, config.json asks for {list(shape)}"
            raise CheckpointError(f"{files.folder}: {name} {difference}")
        if tensor.is_floating_point() != ours.is_floating_point():
            raise CheckpointError(f"{files.folder}: {name} holds {tensor.dtype}, which these weights cannot be")
    return tensors


def _difference(missing: list[str], unexpected: list[str]) -> str:
    parts = [("missing", missing), ("unexpected", unexpected)]
    return "; ".join(
        f"{len(names)} {word} tensor{'s' if len(names) > 1 else ''}: {', '.join(names[:5])}"
        + (", ..." if names[5:] else "")
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


def save(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor], shard_bytes: int = SHARD_BYTES
) -> None:
    """Write config.json and the tensors, in shards with an index if they need more than one.

    Every file is complete before the first takes its place; weights of an earlier save then go. CheckpointError if
    that fails, and the folder is as it was.
    """
    shards = _shards(tensors, shard_bytes)
    count = len(shards)
    numbers = [f"-{i + 1:05}-of-{count:05}" for i in range(count)] if count > 1 else [""]
    names = [f"model{number}.safetensors" for number in numbers]
    where = {name: file for file, shard in zip(names, shards, strict=True) for name in shard}
    index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": where}
    texts = {"config.json": config} | ({INDEX: index} if count > 1 else {})
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as name:
            beside = Path(name)
            for file, shard in zip(names, shards, strict=True):
                save_file(shard, beside / file, metadata={"format": "pt"})
                (beside / file).chmod(0o644)  # safetensors writes files that only their owner can read
            for file, values in texts.items():
                (beside / file).write_text(json.dumps(dict(values), indent=1), encoding="utf-8")
            for file in (*names, *texts):
                (beside / file).replace(folder / file)
        for stale in folder.iterdir():
            if OURS.fullmatch(stale.name) and stale.name not in (*names, *texts):
                stale.unlink()


def _shards(tensors: Mapping[str, Tensor], shard_bytes: int) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    room = shard_bytes
    for name, tensor in tensors.items():
        if shards[-1] and tensor.nbytes > room:
            shards.append({})
            room = shard_bytes
        shards[-1][name] = tensor
        room -= tensor.nbytes
    return shards


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot write {path}: {error}", hint="is there space, and may you write there?"
        ) from None


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path`, then put it in place; on any failure nothing is left behind."""
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{PARTIAL}{secrets.token_hex(6)}-{path.name}")
        try:
            write(beside)
            beside.replace(path)
        finally:  # one call, as a signal may raise anywhere: an interrupted removal of a folder would hide it
            beside.unlink(missing_ok=True)


def discard_partial(folder: Path) -> None:
    """Remove what killed runs were about to write into `folder`; nobody may be writing there now."""
    for leftover in folder.glob(f"{PARTIAL}*"):
        leftover.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """A text file, written atomically."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomically(path, write)
