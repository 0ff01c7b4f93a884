"""Golden i: the published Realtime presets, tensor by tensor; the files themselves are not part of this repository."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from loquor.voices.presets import PRESET_GLOBALS
from loquor.voices.voice import import_preset
from parity.goldens import case_json

CASE = ("vibevoice", "i_voice_presets")
MANIFEST = case_json(*CASE)
FILES = sorted(MANIFEST.get("files", {}))


def sha256(tensor: Tensor) -> str:
    """Over the numbers as contiguous little-endian bfloat16, row by row."""
    return hashlib.sha256(tensor.contiguous().view(torch.int16).numpy().astype("<i2").tobytes()).hexdigest()


def test_the_names_presets_may_use_are_those_they_need() -> None:
    if not MANIFEST:
        pytest.skip(f"no golden case {CASE[1]}")

    assert set(MANIFEST["pickle_globals"]) == PRESET_GLOBALS


@pytest.mark.parametrize("file", FILES, ids=[f"{CASE[1]}-{name}" for name in FILES])
def test_a_published_preset_is_imported_to_the_last_bit(file: str) -> None:
    folder = os.environ.get("LOQUOR_PRESETS")
    if not folder:
        pytest.skip("LOQUOR_PRESETS names no folder with published presets (*.pt)")
    path, recorded = Path(folder) / file, MANIFEST["files"][file]
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    assert path.stat().st_size == recorded["bytes"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == recorded["file_sha256"]

    voice = import_preset(path)

    assert {
        name: [list(t.shape), str(t.dtype).removeprefix("torch."), sha256(t)] for name, t in voice.tensors.items()
    } == {name: list(entry) for name, entry in recorded["tensors"].items()}
    for branch in recorded["keys"]:
        assert voice.length(branch) == recorded[f"{branch}_len"]
