"""Recorded cases of VITA-Audio, which lie side by side in one folder: `NAME_case.json`, `NAME_io.safetensors`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from parity.goldens import ROOT, Golden


def vita_folder() -> Path:
    """Where the cases lie; $LOQUOR_GOLDENS is a set of families or one family."""
    found = [folder for folder in (ROOT / "vita", ROOT) if any(folder.glob("*_case.json"))]
    return found[0] if found else ROOT / "vita"


def vita_case(name: str) -> dict[str, Any]:
    """What a case says; empty if the set has no such case."""
    path = vita_folder() / f"{name}_case.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


@contextmanager
def open_vita(name: str, model: str, *prefixes: str) -> Iterator[Golden]:
    """The tensors of a case beside the folder of its mini checkpoint; all under `prefixes` must have been touched."""
    folder = vita_folder()
    path = folder / f"{name}_io.safetensors"
    if not path.is_file():
        pytest.skip(f"no golden case {path}")
    golden = Golden(folder / model, vita_case(name), load_file(path))
    yield golden
    golden.require_touched(*prefixes)
