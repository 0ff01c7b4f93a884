"""Long-form checkpoints: config.json and safetensors, in the original layout or that of the transformers library.

Which one a folder holds is told by config.json: where the original has a `decoder_config`, the other has a
`text_config`. Both fill the same model, and either can be written from it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from loquor.checkpoints import SHARD_BYTES, Entry, Files, load, published, same, save, without_memory
from loquor.configs import read_json
from loquor.errors import CheckpointError, ConfigError
from loquor.models.codec_keys import decoder_keys, encoder_keys
from loquor.models.connector import connector_keys
from loquor.models.diffusion_head_keys import diffusion_head_keys
from loquor.models.longform import huggingface, original
from loquor.models.longform.model import LongformConfig, LongformModel
from loquor.models.longform.names import EMBEDDING, HUGGINGFACE, ORIGINAL, TOKEN_HEAD, Names
from loquor.models.outline import Headers, Outline, outline
from loquor.models.qwen2_keys import qwen2_keys


@dataclass(frozen=True)
class Layout:
    """How a checkpoint is written down."""

    names: Names
    decoder: str  # the section of config.json on the language model
    dtype: str  # the key of config.json that states the weights' type
    from_published: Callable[[Mapping[str, Any], str, bool], LongformConfig]
    to_published: Callable[[LongformConfig], dict[str, Any]]


LAYOUTS = {
    "original": Layout(ORIGINAL, "decoder_config", "torch_dtype", original.from_published, original.to_published),
    "hf": Layout(HUGGINGFACE, "text_config", "dtype", huggingface.from_published, huggingface.to_published),
}


def layout_of(folder: Path) -> str:
    """Which of LAYOUTS the folder's config.json is of; ConfigError if that cannot be told."""
    values = read_json(folder / "config.json")
    found = [name for name, layout in LAYOUTS.items() if layout.decoder in values]
    if len(found) != 1:
        sections = " or ".join(layout.decoder for layout in LAYOUTS.values())
        raise ConfigError(f"{folder / 'config.json'} must have either {sections}", hint="is this a long-form model?")
    return found[0]


def read_config(files: Files) -> LongformConfig:
    """The configuration beside `files`; ConfigError names the file and the key that does not fit."""
    path = files.folder / "config.json"
    layout, values = LAYOUTS[layout_of(files.folder)], read_json(path)
    has_own_token_head = _has_own_token_head((values, values[layout.decoder]), files)
    return layout.from_published(values, str(path), has_own_token_head)


def _has_own_token_head(said: tuple[object, ...], files: Files) -> bool:
    """Whether logits have weights of their own: if any section says so, or the file holds weights that differ.

    Published files say it in different places, and their reader ties by default (spec 3.5).
    """
    if any(isinstance(values, Mapping) and values.get("tie_word_embeddings") is False for values in said):
        return True
    if not {TOKEN_HEAD, EMBEDDING} <= files.where.keys():
        return TOKEN_HEAD in files.where
    weights = Files(files.folder)
    head, embedding = weights[TOKEN_HEAD], weights[EMBEDDING]
    return head.dtype != embedding.dtype or not torch.equal(head, embedding)


def keys(config: LongformConfig, names: Names = ORIGINAL) -> list[Entry]:
    """Every tensor of a layout and where it goes."""
    tied = Entry((TOKEN_HEAD,), None, optional=True)  # a copy of the embedding
    entries = [
        same(EMBEDDING, "embedding.weight"),
        same(TOKEN_HEAD, "token_head.weight") if config.has_own_token_head else tied,
        same(names.scale, "latent_scale.scale"),
        same(names.bias, "latent_scale.bias"),
    ]
    entries += qwen2_keys(config.decoder, "model.language_model.", "language_model.")
    entries += connector_keys(names.connector, "connector.", names.in_connector)
    entries += connector_keys(names.semantic_connector, "semantic_connector.", names.in_connector)
    entries += diffusion_head_keys(config.head, names.head, "head.", names.in_head)
    entries += encoder_keys(config.acoustic, names.encoder, "codec.encoder.", names.in_codec)
    entries += decoder_keys(config.acoustic, names.decoder, "codec.decoder.", names.in_codec)
    return entries + encoder_keys(config.semantic, names.semantic_encoder, "semantic_codec.encoder.", names.in_codec)


def load_longform(folder: Path, dtype: torch.dtype | None = None) -> LongformModel:
    """The model in `folder`, strictly: a missing or unexpected tensor is a CheckpointError that names it.

    `dtype` None keeps what the file holds.
    """
    files = Files(folder)
    model, entries = blank(files)
    load(model, files, entries, dtype)
    if not torch.isfinite(model.latent_scale.scale) or not torch.isfinite(model.latent_scale.bias):
        raise CheckpointError(f"{folder}: the latent scale or bias is not finite", hint="was its training unfinished?")
    return model.eval().requires_grad_(False)


def outline_longform(folder: Path) -> Outline:
    """The model in `folder` without its weights, as strictly as `load_longform`."""
    files = Headers(folder)
    model, entries = blank(files)
    return outline(model, files, entries)


def blank(files: Files) -> tuple[LongformModel, list[Entry]]:
    """The model on the meta device, and what its tensors are called in `files`."""
    config, name = read_config(files), layout_of(files.folder)
    for other, layout in LAYOUTS.items():
        if other != name and layout.names.scale in files.where and LAYOUTS[name].names.scale not in files.where:
            raise CheckpointError(
                f"{files.folder}: config.json is of the {name} layout, the tensors have the names of the {other} one",
                hint="take config.json and weights from one place",
            )
    with without_memory(files.folder):
        model = LongformModel(config)
    return model, keys(config, LAYOUTS[name].names)


def export_longform(
    model: LongformModel,
    folder: Path,
    source: Path | None = None,
    shard_bytes: int = SHARD_BYTES,
    layout: str | None = None,
) -> None:
    """Write the model in a layout, one of LAYOUTS; None: that of `source`, the folder it came from, or the original.

    A source of the same layout contributes its config.json as it is. ConfigError if the layout has no place for
    something of the model.
    """
    old = layout_of(source) if source else None
    new = layout or old or "original"
    if source and old == new:
        config = read_json(source / "config.json")
    else:
        dtype = str(model.embedding.weight.dtype).removeprefix("torch.")
        config = LAYOUTS[new].to_published(model.config) | {LAYOUTS[new].dtype: dtype}
    save(folder, json.loads(json.dumps(config)), published(model, keys(model.config, LAYOUTS[new].names)), shard_bytes)
