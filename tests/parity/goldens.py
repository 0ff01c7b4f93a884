"""Recorded cases of the reference: where they lie, and a reader that notices what a test left out.

A case is a folder with `case.json`, perhaps `config.json` + `model.safetensors`, and `io.safetensors`. The folders are
those of `tests/goldens`, or of another set with the same names under $LOQUOR_GOLDENS. Several tests may share a case:
each opens it with the prefixes it answers for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

ROOT = Path(os.environ.get("LOQUOR_GOLDENS", Path(__file__).resolve().parents[1] / "goldens"))
if not ROOT.is_dir():
    raise pytest.UsageError(f"LOQUOR_GOLDENS names no folder: {ROOT}")


def case_folder(family: str, name: str) -> Path:
    """The folder of a case, e.g. vibevoice / a_diffusion_head; $LOQUOR_GOLDENS is a set of families or one family."""
    found = [folder for folder in (ROOT / family / name, ROOT / name) if folder.is_dir()]
    return found[0] if found else ROOT / family / name


def recorded(family: str, name: str) -> list[str]:
    """Names of all tensors of the case, without reading them; for parametrising tests."""
    path = case_folder(family, name) / "io.safetensors"
    if not path.is_file():
        return []
    with safe_open(path, "pt") as file:
        return sorted(file.keys())


def case_json(family: str, name: str) -> dict[str, Any]:
    """What the case says of itself; empty if the set has no such case (then `Golden.open` skips)."""
    path = case_folder(family, name) / "case.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


@dataclass
class Golden:
    """One case. Reading a tensor or comparing with it touches it; `open` fails at its end if some never were."""

    folder: Path
    about: dict[str, Any]
    tensors: dict[str, Tensor]
    touched: set[str] = field(default_factory=set)

    @classmethod
    @contextmanager
    def open(cls, family: str, name: str, *prefixes: str) -> Iterator[Golden]:
        """The case; at the end, all its tensors under `prefixes` (simply all, if none) must have been touched."""
        folder = case_folder(family, name)
        if not (folder / "case.json").is_file():
            pytest.skip(f"no golden case {folder}")
        golden = cls(folder, case_json(family, name), load_file(folder / "io.safetensors"))
        yield golden
        golden.require_touched(*prefixes)

    def require_touched(self, *prefixes: str) -> None:
        """Fails if a tensor under `prefixes`, or any at all, was never read."""
        mine = [key for key in self.tensors if not prefixes or key.startswith(prefixes)]
        left = sorted(set(mine) - self.touched)
        assert not left, f"recorded in {self.folder.name} but never compared: {left}"

    def __getitem__(self, key: str) -> Tensor:
        self.touched.add(key)
        return self.tensors[key]

    @property
    def config(self) -> dict[str, Any]:
        """`config.json` of the mini checkpoint."""
        return json.loads((self.folder / "config.json").read_text(encoding="utf-8"))

    def check(self, key: str, actual: Tensor, tolerance: dict[str, Any]) -> None:
        """`actual` equals the recorded tensor within the case's own tolerance; integers exactly."""
        expected = self[key]
        assert actual.shape == expected.shape, f"{key}: shape {tuple(actual.shape)}, recorded {tuple(expected.shape)}"
        assert actual.dtype == expected.dtype, f"{key}: {actual.dtype}, recorded {expected.dtype}"
        exact = not expected.is_floating_point()
        atol, rtol = (0.0, 0.0) if exact else (tolerance["atol"], tolerance["rtol"])
        torch.testing.assert_close(actual, expected, atol=atol, rtol=rtol, msg=lambda text: f"{key}: {text}")
