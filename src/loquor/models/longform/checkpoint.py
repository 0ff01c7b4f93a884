"""Long-form checkpoints in the original layout: config.json and safetensors with the names of the first release."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from loquor.checkpoints import SHARD_BYTES, Entry, Files, load, published, same, save, without_memory
from loquor.configs import HF_KEYS, from_dict, read_json
from loquor.errors import CheckpointError, ConfigError
from loquor.models.codec_keys import codec_keys
from loquor.models.connector import connector_keys
from loquor.models.diffusion_head_keys import diffusion_head_keys
from loquor.models.longform.model import LongformConfig, LongformModel
from loquor.models.outline import Headers, Outline, outline
from loquor.models.qwen2_keys import qwen2_keys
from loquor.models.sections import codec_config, decoder_section, head_config
from loquor.nn.qwen2 import Qwen2Config

MODEL_TYPE = "vibevoice"
SECTIONS = {"acoustic_tokenizer_config", "semantic_tokenizer_config", "decoder_config", "diffusion_head_config"}
WIDTHS = {"acoustic_vae_dim", "acostic_vae_dim", "semantic_vae_dim"}  # one is misspelled in published files, and inert
TOKEN_HEAD, EMBEDDING = "lm_head.weight", "model.language_model.embed_tokens.weight"


def read_config(folder: Path, files: Files) -> LongformConfig:
    """The configuration in `folder`/config.json; ConfigError names the file and the key that does not fit."""
    path = folder / "config.json"
    values, source = read_json(path), str(path)
    unknown = sorted(set(values) - SECTIONS - WIDTHS - HF_KEYS)
    if unknown:
        raise ConfigError(f"{source}: unknown {', '.join(unknown)}", hint="was this written for another kind of model?")
    decoder, acoustic = decoder_section(values, source), codec_config(values, "acoustic", source)
    return LongformConfig(
        decoder=from_dict(Qwen2Config, decoder, f"{source}: decoder_config"),
        acoustic=acoustic,
        semantic=codec_config(values, "semantic", source),
        head=head_config(values, source, acoustic),
        has_own_token_head=has_own_token_head((values, decoder), files, TOKEN_HEAD, EMBEDDING),
    )


def has_own_token_head(said: tuple[Mapping[str, Any], ...], files: Files, head: str, embedding: str) -> bool:
    """Whether logits have weights of their own: if any section says so, or the file holds weights that differ.

    Published files say it in different places, and their reader ties by default (spec 3.5).
    """
    if any(values.get("tie_word_embeddings") is False for values in said):
        return True
    if head not in files.where:
        return False
    weights = Files(files.folder)
    return not torch.equal(weights[head], weights[embedding])


def keys(config: LongformConfig) -> list[Entry]:
    """Every tensor of the original layout and where it goes."""
    tied = Entry((TOKEN_HEAD,), None, optional=True)  # a copy of the embedding
    entries = [
        same(EMBEDDING, "embedding.weight"),
        same(TOKEN_HEAD, "token_head.weight") if config.has_own_token_head else tied,
        same("model.speech_scaling_factor", "latent_scale.scale"),
        same("model.speech_bias_factor", "latent_scale.bias"),
    ]
    entries += qwen2_keys(config.decoder, "model.language_model.", "language_model.")
    entries += connector_keys("model.acoustic_connector.", "connector.")
    entries += connector_keys("model.semantic_connector.", "semantic_connector.")
    entries += diffusion_head_keys(config.head, "model.prediction_head.", "head.")
    entries += codec_keys(config.acoustic, "model.acoustic_tokenizer.", "codec.", encoder=True, decoder=True)
    return entries + codec_keys(
        config.semantic, "model.semantic_tokenizer.", "semantic_codec.", encoder=True, decoder=False
    )


def load_longform(folder: Path, dtype: torch.dtype | None = None) -> LongformModel:
    """The model in `folder`, strictly: a missing or unexpected tensor is a CheckpointError that names it.

    `dtype` None keeps what the file holds.
    """
    files = Files(folder)
    model, entries = _empty(files)
    load(model, files, entries, dtype)
    if not torch.isfinite(model.latent_scale.scale) or not torch.isfinite(model.latent_scale.bias):
        raise CheckpointError(f"{folder}: the latent scale or bias is not finite", hint="was its training unfinished?")
    return model.eval().requires_grad_(False)


def outline_longform(folder: Path) -> Outline:
    """The model in `folder` without its weights, as strictly as `load_longform`."""
    files = Headers(folder)
    model, entries = _empty(files)
    return outline(model, files, entries)


def _empty(files: Files) -> tuple[LongformModel, list[Entry]]:
    """The model on the meta device, and what its tensors are called in `files`."""
    config = read_config(files.folder, files)
    with without_memory(files.folder):
        model = LongformModel(config)
    return model, keys(config)


def export_longform(
    model: LongformModel, folder: Path, source: Path | None = None, shard_bytes: int = SHARD_BYTES
) -> None:
    """Write the original layout; `source`, the folder the model came from, contributes its config.json as it is."""
    config = read_json(source / "config.json") if source else to_published(model.config)
    save(folder, config, published(model, keys(model.config)), shard_bytes)


def to_published(config: LongformConfig) -> dict[str, Any]:
    """config.json in the original layout."""
    is_tied = not config.has_own_token_head
    decoder = dataclasses.asdict(config.decoder) | {"model_type": "qwen2", "tie_word_embeddings": is_tied}
    values: dict[str, Any] = {
        "model_type": MODEL_TYPE,
        "architectures": ["VibeVoiceForConditionalGeneration"],
        "tie_word_embeddings": is_tied,
        "acoustic_vae_dim": config.acoustic.vae_dim,
        "semantic_vae_dim": config.semantic.vae_dim,
        "acoustic_tokenizer_config": dataclasses.asdict(config.acoustic),
        "semantic_tokenizer_config": dataclasses.asdict(config.semantic),
        "decoder_config": decoder,
        "diffusion_head_config": dataclasses.asdict(config.head),
    }
    return dict(json.loads(json.dumps(values)))
