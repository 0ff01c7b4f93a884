"""What is verified: a folder with a whole model, or with a part that is published by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from loquor.checkpoints import Entry, Files, load, without_memory
from loquor.configs import from_dict, read_json
from loquor.errors import ConfigError
from loquor.evaluation.verification import speech_tokens
from loquor.models import FAMILIES, family_of
from loquor.models.codec import Codec, CodecConfig
from loquor.models.codec_keys import codec_keys
from loquor.models.diffusion_head_keys import diffusion_head_keys
from loquor.nn.diffusion_head import DiffusionHead, DiffusionHeadConfig

NESTED = ("codec", "semantic_codec", "predictors", "listener")  # their parts are components of their own
Blank = Callable[[Files], tuple[nn.Module, list[Entry]]]


@dataclass(frozen=True)
class Subject:
    """A folder and how its model is built; `kind` is the family's name, or the part's."""

    kind: str
    folder: Path
    blank: Blank
    load: Callable[[torch.dtype | None], nn.Module]


def subject_of(folder: Path) -> Subject:
    """What is in `folder`. CheckpointError without config.json, ConfigError if it is neither a model nor a part."""
    kind = read_json(folder / "config.json").get("model_type")
    if kind in PARTS:
        return Subject(f"{kind} alone", folder, PARTS[kind], partial(_load, folder, PARTS[kind]))
    try:
        family = family_of(folder)
    except ConfigError as error:
        known = ", ".join((*FAMILIES, *PARTS))
        raise ConfigError(str(error), hint=f"models and parts that can be verified: {known}") from None
    return Subject(family.name, folder, family.blank, partial(family.load, folder))


def component_of(name: str) -> str:
    """The component that a tensor of ours belongs to, as `loquor inspect` shows it."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] in NESTED else parts[0]


def _load(folder: Path, blank: Blank, dtype: torch.dtype | None) -> nn.Module:
    files = Files(folder)
    model, entries = blank(files)
    load(model, files, entries, dtype)
    return model.eval().requires_grad_(False)


class Alone(nn.Module):
    """A part under the name that it has in a whole model."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


def _config(files: Files, kind: type[Any]) -> Any:
    path = files.folder / "config.json"
    return from_dict(kind, read_json(path), str(path))


def _head(files: Files) -> tuple[nn.Module, list[Entry]]:
    config: DiffusionHeadConfig = _config(files, DiffusionHeadConfig)
    with without_memory(files.folder):
        model = Alone(head=DiffusionHead(config))
    return model, diffusion_head_keys(config, "", "head.")


def _codec(files: Files, name: str) -> tuple[nn.Module, list[Entry]]:
    config: CodecConfig = _config(files, CodecConfig)
    halves = [any(tensor.startswith(f"{half}.") for tensor in files.where) for half in ("encoder", "decoder")]
    with without_memory(files.folder):
        model = Alone(**{name: Codec(config, *halves)})
    return model, codec_keys(config, "", f"{name}.", *halves)


PARTS: dict[str, Blank] = {
    "vibevoice_diffusion_head": _head,
    "vibevoice_acoustic_tokenizer": partial(_codec, name="codec"),
    "vibevoice_semantic_tokenizer": partial(_codec, name="semantic_codec"),
    "whisper": speech_tokens.blank,  # what GLM-4-Voice's tokenizer of speech calls itself
}
