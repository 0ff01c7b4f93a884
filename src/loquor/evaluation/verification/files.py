"""The files of a checkpoint, before anything is computed: checksums, the index, and every tensor's name and shape.

Checksums are there where somebody stated them: in SHA256SUMS, as coreutils writes it, or in the cache of the hub, which
names what it downloads by its hash.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from loquor.checkpoints import INDEX, Entry
from loquor.configs import read_json
from loquor.errors import CheckpointError
from loquor.evaluation.verification.checks import Check
from loquor.evaluation.verification.subject import Subject, component_of
from loquor.models.outline import Headers

SUMS = "SHA256SUMS"
SHA256 = re.compile(r"[0-9a-f]{64}")
BLOCK_BYTES = 1 << 22
SHOWN = 3


def checksums(folder: Path) -> Iterator[Check]:
    """Every file whose hash is stated."""
    stated = _stated(folder)
    if not stated:
        yield Check("files", "checksums", f"{SUMS}, the hub's cache", "ok", detail="none stated")
        return
    wrong = [name for name, digest in stated.items() if _sha256(folder / name) != digest]
    detail = f"changed: {', '.join(wrong)}" if wrong else f"{len(stated)} files"
    yield Check("files", "checksums", "what was stated", "fail" if wrong else "ok", detail=detail)


def _stated(folder: Path) -> dict[str, str]:
    path, found = folder / SUMS, dict[str, str]()
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        digest, _, name = line.partition(" ")
        name = name.lstrip(" *").removeprefix("./")
        if not SHA256.fullmatch(digest) or not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise CheckpointError(f"{path} has a line that is no checksum of a file here: {line!r}")
        found[name] = digest
    for file in folder.iterdir():
        target = file.resolve()
        if file.is_symlink() and target.parent.name == "blobs" and SHA256.fullmatch(target.name):
            found.setdefault(file.name, target.name)
    return found


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def index(folder: Path, files: Headers) -> Check:
    """Shards and their index; what is not sound has been refused on opening."""
    shards = len(set(files.where.values()))
    stored = sum(files[name].nbytes for name in files.where)
    told = f"{len(files.where)} tensors, {stored:,} bytes in {shards} file{'s' * (shards != 1)}"
    path = folder / INDEX
    if not path.exists():
        return Check("files", "tensors are all there", "the headers", detail=told)
    metadata = read_json(path).get("metadata")
    size = metadata.get("total_size") if isinstance(metadata, dict) else None
    if isinstance(size, int) and size != stored:
        detail = f"{told}, {INDEX} says {size:,}"
        return Check("files", "tensors are all there", INDEX, "warn", detail=detail)
    return Check("files", "tensors are all there", INDEX, detail=told)


def tensors(subject: Subject, files: Headers) -> list[Check]:
    """Names, shapes and types of all tensors, component by component; ConfigError if config.json makes no model."""
    model, entries = subject.blank(files)
    wanted = model.state_dict()
    faults: dict[str, list[str]] = defaultdict(list)
    counts: dict[str, set[torch.dtype]] = defaultdict(set)
    for entry in entries:
        if entry.ours is not None:
            component = component_of(entry.ours)
            faults[component] += _faults(entry, wanted[entry.ours], files)
            counts[component] |= {files[name].dtype for name in entry.theirs if name in files.where}
    known = {name for entry in entries for name in entry.theirs}
    against = "config.json"
    checks = [
        _check(component, f"names, shapes ({_types(counts[component])})", against, found)
        for component, found in faults.items()
    ]
    strangers = [f"{name} belongs to nothing" for name in files.where if name not in known]
    return [*checks, _check("files", "no tensor too many", against, strangers)]


def _faults(entry: Entry, ours: Tensor, files: Headers) -> list[str]:
    missing = [name for name in entry.theirs if name not in files.where]
    if missing:
        return (
            [] if entry.optional and len(missing) == len(entry.theirs) else [f"{name} is missing" for name in missing]
        )
    shapes = [tensor.shape for tensor in entry.to_theirs(ours)]
    return [
        f"{name} is {files[name].dtype} {list(files[name].shape)}, config.json asks for {list(shape)}"
        for name, shape in zip(entry.theirs, shapes, strict=True)
        if files[name].shape != shape or files[name].is_floating_point() != ours.is_floating_point()
    ]


def _types(found: set[torch.dtype]) -> str:
    return ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in found)) or "none"


def _check(component: str, what: str, against: str, faults: list[str]) -> Check:
    told = "; ".join(faults[:SHOWN]) + (f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else "")
    return Check(component, what, against, "fail" if faults else "ok", detail=told)
