"""VITA-Audio checkpoints: config.json and safetensors, as published.

`model_type` says which of two there is: the base models, which hear codes of an audio tokenizer, and Plus, which has
SenseVoice's encoder inside. Layers of the backbone and of the modules are numbered through; the published config counts
them together. Nothing of the code that published folders bring is ever run.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import torch

from loquor.checkpoints import SHARD_BYTES, Entry, Files, load, published, same, save, without_memory
from loquor.configs import HF_KEYS, MOST, from_dict, read_json
from loquor.errors import ConfigError
from loquor.models.model_types import VITA_PLUS_TYPE, VITA_TYPE
from loquor.models.outline import Headers, Outline, outline
from loquor.models.qwen2_keys import layer_keys, qwen2_keys
from loquor.models.vita.model import VitaConfig, VitaModel
from loquor.models.vita.sensevoice import SenseVoiceConfig
from loquor.models.vita.sensevoice_checkpoint import listener_keys
from loquor.nn.qwen2 import Qwen2Config

logger = logging.getLogger(__name__)

ARCHITECTURES = {VITA_TYPE: "Qwen2MTPForCausalLM", VITA_PLUS_TYPE: "Qwen2MTPSenseVoiceForCausalLM"}
LICENCE = (
    "the published weights of VITA-Audio may be used for research, education and other academic purposes only, "
    "not in products or for profit"
)
EMBEDDING, TOKEN_HEAD = "model.embed_tokens.weight", "lm_head.weight"
ENCODER_SECTION = "_fixture_sensevoice"  # states a smaller encoder than the published one; of recorded cases
OWN_KEYS = {"num_nextn_predict_layers", "mtp_loss_weight", ENCODER_SECTION}
INERT_KEYS = {"speech_token_offset"}  # which no published code reads


@dataclasses.dataclass(frozen=True)
class Counts:
    """How many layers there are; names are those of the published file."""

    num_hidden_layers: int  # of backbone and modules together
    num_nextn_predict_layers: int = 0  # modules, of one layer each

    def __post_init__(self) -> None:
        if not 0 <= self.num_nextn_predict_layers < self.num_hidden_layers <= MOST:
            raise ConfigError(
                f"num_hidden_layers {self.num_hidden_layers} counts the layers of backbone and "
                f"num_nextn_predict_layers {self.num_nextn_predict_layers} modules together, {MOST} at most"
            )

    @property
    def backbone(self) -> int:
        return self.num_hidden_layers - self.num_nextn_predict_layers


def read_config(files: Files) -> VitaConfig:
    """The configuration beside `files`; ConfigError names the file and the key that does not fit."""
    path = files.folder / "config.json"
    return from_published(read_json(path), str(path), _has_own_token_head(files))


def from_published(values: Mapping[str, Any], source: str, has_own_token_head: bool) -> VitaConfig:
    """The configuration in `values`; ConfigError names the file, `source`, and the key that does not fit."""
    counts = from_dict(Counts, values, source, values.keys())
    decoder = {k: v for k, v in values.items() if k not in OWN_KEYS} | {"num_hidden_layers": counts.backbone}
    parts = {
        "decoder": from_dict(Qwen2Config, decoder, source, HF_KEYS | INERT_KEYS),
        "modules": counts.num_nextn_predict_layers,
        "has_own_token_head": has_own_token_head,
        "mtp_loss_weight": values.get("mtp_loss_weight", 1.0),
        "encoder": _encoder(values, source) if values.get("model_type") == VITA_PLUS_TYPE else None,
    }
    return from_dict(VitaConfig, parts, source)


def _encoder(values: Mapping[str, Any], source: str) -> SenseVoiceConfig:
    """The published encoder, unless the file states another; its config.json says nothing of it."""
    return from_dict(SenseVoiceConfig, values.get(ENCODER_SECTION, {}), f"{source}: {ENCODER_SECTION}", {"note"})


def to_published(config: VitaConfig) -> dict[str, Any]:
    """config.json of a model of that shape."""
    kind = VITA_PLUS_TYPE if config.encoder else VITA_TYPE
    values = dataclasses.asdict(config.decoder) | {
        "model_type": kind,
        "architectures": [ARCHITECTURES[kind]],
        "num_hidden_layers": config.decoder.num_hidden_layers + config.modules,
        "num_nextn_predict_layers": config.modules,
        "mtp_loss_weight": config.mtp_loss_weight,
        "tie_word_embeddings": not config.has_own_token_head,
    }
    if config.encoder and config.encoder != SenseVoiceConfig():
        values[ENCODER_SECTION] = dataclasses.asdict(config.encoder)
    return values


def _has_own_token_head(files: Files) -> bool:
    """Published files have a head of their own; of a small base it may be the embedding."""
    tied = read_json(files.folder / "config.json").get("tie_word_embeddings")
    return tied is not True or TOKEN_HEAD in files.where


def keys(config: VitaConfig) -> list[Entry]:
    """Every published tensor and where it goes."""
    backbone = config.decoder.num_hidden_layers
    entries = [same(EMBEDDING, "embedding.weight")]
    if config.has_own_token_head:
        entries.append(same(TOKEN_HEAD, "token_head.weight"))
    entries += qwen2_keys(config.decoder, "model.", "language_model.")
    for k in range(config.modules):
        entries += [
            same(f"mtp_projs.{k}.weight", f"predictors.{k}.projection.weight"),
            same(f"mtp_embed_norms.{k}.weight", f"predictors.{k}.embedding_norm.weight"),
            same(f"mtp_hidden_norms.{k}.weight", f"predictors.{k}.hidden_norm.weight"),
            *layer_keys(config.decoder, f"model.layers.{backbone + k}.", f"predictors.{k}.layer."),
        ]
    return entries + (listener_keys(config.encoder) if config.encoder else [])


def load_vita(folder: Path, dtype: torch.dtype | None = None) -> VitaModel:
    """The model in `folder`, strictly: a missing or unexpected tensor is a CheckpointError that names it.

    `dtype` None keeps what the file holds. Says once what the licence of the published weights allows.
    """
    files = Files(folder)
    model, entries = blank(files)
    load(model, files, entries, dtype)
    _tell_licence()
    return model.eval().requires_grad_(False)


@cache
def _tell_licence() -> None:
    logger.warning("licence: %s", LICENCE)


def outline_vita(folder: Path) -> Outline:
    """The model in `folder` without its weights, as strictly as `load_vita`."""
    files = Headers(folder)
    model, entries = blank(files)
    return outline(model, files, entries)


def blank(files: Files) -> tuple[VitaModel, list[Entry]]:
    """The model on the meta device, and what its tensors are called in `files`."""
    config = read_config(files)
    with without_memory(files.folder):
        model = VitaModel(config)
    return model, keys(config)


def export_vita(model: VitaModel, folder: Path, source: Path | None = None, shard_bytes: int = SHARD_BYTES) -> None:
    """Write the model as published; `source`, the folder it came from, contributes its config.json as it is."""
    config = read_json(source / "config.json") if source else to_published(model.config)
    if source is None:
        config["torch_dtype"] = str(model.embedding.weight.dtype).removeprefix("torch.")
    save(folder, json.loads(json.dumps(config)), published(model, keys(model.config)), shard_bytes)


def refuse_adapter(model: VitaModel, folder: Path, strength: float) -> NoReturn:
    """ConfigError: nobody publishes adapters of this family."""
    raise ConfigError(f"VITA-Audio models take no adapters: {folder}")
