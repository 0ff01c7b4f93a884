"""Prepared data and models that are sound, and ways to spoil them: what `loquor doctor train` must tell apart."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from loquor.training.checkup.checkup import Listen, check_up
from loquor.training.checkup.findings import Finding
from loquor.training.dataset.reader import Dataset
from loquor.training.longform import latent_statistics
from training.tunable import prepare, recipe

SCALE = ("model.speech_scaling_factor", "model.speech_bias_factor")


def prepare_sound(folder: Path, family: str) -> dict[str, Path]:
    """As `prepare`, with a latent scale and windows that fit the data."""
    place = prepare(folder, family)
    numbers = latent_statistics(torch.cat([item.speech.means for item in Dataset(place["data"], None)]))

    def fit(tensors: dict[str, Tensor]) -> None:
        for name, number in zip(SCALE, numbers, strict=True):
            tensors[name] = number.to(tensors[name])

    rewrite_model(place["model"], fit)
    if family == "realtime":
        rewrite_json(place["model"] / "config.json", text_window=20)  # phonemes are many
    return place


def copied(place: dict[str, Path], folder: Path) -> dict[str, Path]:
    """The same to spoil."""
    return {name: Path(shutil.copytree(path, folder / name)) for name, path in place.items()}


def rewrite_model(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def rewrite_shard(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    """The first one."""
    file = sorted((folder / "shards").iterdir())[0]
    with safe_open(file, framework="pt") as opened:
        header = opened.metadata()
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata=header)


def rewrite_items(folder: Path, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    """The records, as JSON has them."""
    file = folder / "items.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    change(rows)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def rewrite_json(file: Path, **values: Any) -> None:
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps(found | values), encoding="utf-8")


def _check_up(place: dict[str, Path], name: str, changes: Sequence[str], listen: Listen) -> Iterator[Finding]:
    chosen = recipe(place, name, place["data"].parent / "out", *changes)
    return check_up(chosen, place["model"], torch.device("cpu"), listen)


def examine(place: dict[str, Path], name: str, *changes: str) -> list[Finding]:
    """What is found, but for what is heard."""
    return list(_check_up(place, name, changes, lambda case: ()))


def examine_unmoved(place: dict[str, Path], name: str, *changes: str) -> list[Finding]:
    """The same without the steps, which are tried last."""
    end = Finding("the end", "ok", "")
    found = []
    for finding in _check_up(place, name, changes, lambda case: [end]):
        if finding is end:
            break
        found.append(finding)
    return found


def faults(findings: list[Finding]) -> dict[str, str]:
    """Names of what is not sound, with the verdict."""
    return {finding.name: finding.verdict for finding in findings if finding.verdict != "ok"}


def named(findings: list[Finding], name: str) -> Finding:
    """The one finding of that name that is not sound, or the only one there is."""
    found = [finding for finding in findings if finding.name == name]
    (one,) = [finding for finding in found if finding.verdict != "ok"] or found
    return one
