"""Realtime checkpoints in the published layout: config.json and safetensors with the original names."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from loquor.checkpoints import SHARD_BYTES, Entry, Files, load, published, same, save, without_memory
from loquor.configs import from_dict, read_json
from loquor.errors import CheckpointError, ConfigError
from loquor.models.codec_keys import codec_keys
from loquor.models.connector import connector_keys
from loquor.models.diffusion_head_keys import diffusion_head_keys
from loquor.models.model_types import REALTIME_TYPE
from loquor.models.outline import Headers, Outline, outline
from loquor.models.qwen2_keys import qwen2_keys
from loquor.models.realtime.model import RealtimeConfig, RealtimeModel
from loquor.models.sections import codec_config, decoder_section, head_config
from loquor.nn.qwen2 import Qwen2Config

OURS = ("text_window", "speech_window", "utterance_tokens")  # fields the published layout has no place for
SECTIONS = {"acoustic_tokenizer_config", "decoder_config", "diffusion_head_config"}
READ = SECTIONS | {
    "acoustic_vae_dim",
    "acostic_vae_dim",
    "tts_backbone_num_hidden_layers",
}  # one is misspelled and inert
UNREAD = "model.tts_language_model.embed_tokens.weight"  # published with the upper layers, never used


def read_config(folder: Path) -> RealtimeConfig:
    """The configuration in `folder`/config.json; ConfigError names the file and the key that does not fit."""
    path = folder / "config.json"
    values = read_json(path)
    name = str(path)
    whole = decoder_section(values, name)
    upper = values.get("tts_backbone_num_hidden_layers", 20)
    layers = whole.get("num_hidden_layers")
    if not isinstance(upper, int) or not isinstance(layers, int) or not 0 < upper < layers:
        raise ConfigError(
            f"{name}: tts_backbone_num_hidden_layers {upper!r} must be positive and less than num_hidden_layers, "
            f"which is {layers!r}"
        )
    codec = codec_config(values, "acoustic", name)
    parts = {
        "text": from_dict(Qwen2Config, whole | {"num_hidden_layers": layers - upper}, f"{name}: decoder_config"),
        "speech": from_dict(Qwen2Config, whole | {"num_hidden_layers": upper}, f"{name}: decoder_config"),
        "codec": codec,
        "head": head_config(values, name, codec),
    }
    return from_dict(RealtimeConfig, {k: v for k, v in values.items() if k not in READ} | parts, name)


def keys(config: RealtimeConfig, has_encoder: bool) -> list[Entry]:
    """Every tensor of the published layout and where it goes."""
    entries = [
        same("model.language_model.embed_tokens.weight", "embedding.weight"),
        Entry((UNREAD,), None, optional=True),
        same("model.tts_input_types.weight", "types.weight"),
        same("model.speech_scaling_factor", "latent_scale.scale"),
        same("model.speech_bias_factor", "latent_scale.bias"),
        *end_classifier_keys("tts_eos_classifier.", "end_classifier."),
    ]
    entries += qwen2_keys(config.text, "model.language_model.", "text_model.", final_norm=False)
    entries += qwen2_keys(config.speech, "model.tts_language_model.", "speech_model.")
    entries += connector_keys("model.acoustic_connector.", "connector.")
    entries += diffusion_head_keys(config.head, "model.prediction_head.", "head.")
    return entries + codec_keys(config.codec, "model.acoustic_tokenizer.", "codec.", encoder=has_encoder, decoder=True)


def end_classifier_keys(theirs: str, ours: str) -> list[Entry]:
    """Both prefixes end in a dot."""
    return [same(f"{theirs}{fc}.{part}", f"{ours}{fc}.{part}") for fc in ("fc1", "fc2") for part in ("weight", "bias")]


def load_realtime(folder: Path, dtype: torch.dtype | None = None) -> RealtimeModel:
    """The model in `folder`, strictly: a missing or unexpected tensor is a CheckpointError that names it.

    Released files may lack the codec's encoder; then the model has none. `dtype` None keeps what the file holds.
    """
    files = Files(folder)
    model, entries = blank(files)
    load(model, files, entries, dtype)
    if not torch.isfinite(model.latent_scale.scale) or not torch.isfinite(model.latent_scale.bias):
        raise CheckpointError(
            f"{folder}: speech_scaling_factor or speech_bias_factor is not finite", hint="unfinished?"
        )
    return model.eval().requires_grad_(False)


def outline_realtime(folder: Path) -> Outline:
    """The model in `folder` without its weights, as strictly as `load_realtime`."""
    files = Headers(folder)
    model, entries = blank(files)
    return outline(model, files, entries)


def blank(files: Files) -> tuple[RealtimeModel, list[Entry]]:
    """The model on the meta device, and what its tensors are called in `files`."""
    config = read_config(files.folder)
    has_encoder = any(name.startswith("model.acoustic_tokenizer.encoder.") for name in files.where)
    with without_memory(files.folder):
        model = RealtimeModel(config, has_encoder)
    return model, keys(config, has_encoder)


def export_realtime(
    model: RealtimeModel, folder: Path, source: Path | None = None, shard_bytes: int = SHARD_BYTES
) -> None:
    """Write the published layout. `source`, the folder the model came from, contributes its config.json as it is and
    the tensor nobody reads, so that nothing is lost on the way through."""
    config = read_json(source / "config.json") if source else to_published(model.config)
    tensors = published(model, keys(model.config, model.codec.encoder is not None))
    if source:
        files = Files(source)
        tensors |= {UNREAD: files[UNREAD].to(model.embedding.weight.dtype)} if UNREAD in files.where else {}
    save(folder, config, tensors, shard_bytes)


def to_published(config: RealtimeConfig) -> dict[str, Any]:
    """config.json in the published layout, our own fields beside it."""
    decoder = dataclasses.asdict(config.speech) | {"model_type": "qwen2"}
    decoder["num_hidden_layers"] = config.text.num_hidden_layers + config.speech.num_hidden_layers
    values: dict[str, Any] = {
        "model_type": REALTIME_TYPE,
        "architectures": ["VibeVoiceStreamingForConditionalGenerationInference"],
        "acoustic_vae_dim": config.codec.vae_dim,
        "tts_backbone_num_hidden_layers": config.speech.num_hidden_layers,
        "acoustic_tokenizer_config": dataclasses.asdict(config.codec),
        "decoder_config": decoder,
        "diffusion_head_config": dataclasses.asdict(config.head),
    }
    values |= {name: getattr(config, name) for name in OURS}
    return dict(json.loads(json.dumps(values)))
