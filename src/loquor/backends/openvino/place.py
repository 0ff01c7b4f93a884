"""Where an optimised model is kept, and what it is called: looked up at every start, so OpenVINO is not needed here."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

import platformdirs

from loquor.checkpoints import write_text
from loquor.errors import CheckpointError

VERSION = 2  # of weights and graphs; a higher one makes all files again
READ_BYTES = 2**22


def cache_folder() -> Path:
    """Where optimised models are: $LOQUOR_CACHE, if set, else in the user's cache folder."""
    chosen = os.environ.get("LOQUOR_CACHE")
    return (Path(chosen) if chosen else Path(platformdirs.user_cache_dir("loquor"))) / "openvino"


def place_of(folder: Path) -> Path:
    """The file of the model in `folder`, whether it is there or not."""
    return cache_folder() / f"{content_hash(folder)}.safetensors"


def content_hash(folder: Path) -> str:
    """Of config and weights in `folder`, and of how they are optimised. Large files are read once: their hashes are
    noted beside the cache, with size and time of change."""
    notes = cache_folder() / "hashes.json"
    known = _noted(notes)
    digest, fresh = hashlib.blake2b(f"loquor {VERSION}".encode(), digest_size=16), dict(known)
    for path in sorted([folder / "config.json", *folder.glob("*.safetensors"), *folder.glob("*.index.json")]):
        facts = path.stat()
        key = f"{path.resolve()} {facts.st_size} {facts.st_mtime_ns}"
        fresh[key] = known.get(key) or _hash(path)
        digest.update(f"{path.name} {fresh[key]}".encode())
    if fresh != known:
        with suppress(CheckpointError):  # noted to save time only; the cache may be read-only
            write_text(notes, json.dumps(fresh, indent=1))
    return digest.hexdigest()


def _noted(notes: Path) -> dict[str, str]:
    try:
        known = json.loads(notes.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _hash(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
