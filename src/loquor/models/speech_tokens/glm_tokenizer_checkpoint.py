"""The published folder of GLM-4-Voice's speech tokenizer: config.json and model.safetensors."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from loquor.checkpoints import Entry, Files, load, same, without_memory
from loquor.configs import from_dict, read_json
from loquor.errors import ConfigError
from loquor.models.speech_tokens.glm_tokenizer import GlmTokenizer, GlmTokenizerConfig

WANTED = {
    "pooling_type": "avg",
    "activation_function": "gelu",
    "scale_embedding": False,
    "quantize_encoder_only": True,
    "quantize_causal_encoder": False,
    "encoder_causal_convolution": True,
    "encoder_causal_attention": False,
}  # the one arithmetic there is
TRAINING = {
    "quantize_ema_decay",
    "quantize_commit_coefficient",
    "quantize_loss_scale",
    "quantize_restart_interval",
}
LAYER = {
    "self_attn.q_proj": "query",
    "self_attn.v_proj": "value",
    "self_attn.out_proj": "out",
    "self_attn_layer_norm": "attention_norm",
    "fc1": "up",
    "fc2": "down",
    "final_layer_norm": "ffn_norm",
}  # modules with weight and bias


def read_config(folder: Path) -> GlmTokenizerConfig:
    """The half that `folder`/config.json describes.

    The file is that of a whole Whisper: what concerns its other parts is passed over, what would change the arithmetic
    of this one is a ConfigError.
    """
    path = folder / "config.json"
    values = read_json(path)
    for name, wanted in WANTED.items():
        if values.get(name, wanted) != wanted:
            raise ConfigError(f"{path}: {name} {values[name]!r} is not supported, only {wanted!r}")
    read = {field.name for field in dataclasses.fields(GlmTokenizerConfig)}
    known = read | set(WANTED) | TRAINING
    unknown = sorted(k for k in values if k.startswith(("quantize_", "pooling_", "encoder_causal")) and k not in known)
    if unknown:
        raise ConfigError(f"{path}: unknown {', '.join(unknown)}", hint="was this written for another tokenizer?")
    return from_dict(GlmTokenizerConfig, {k: v for k, v in values.items() if k in read}, str(path))


def keys(config: GlmTokenizerConfig) -> list[Entry]:
    """Every tensor of the published layout and where it goes; what only training needs is dropped."""
    entries = [same(f"{conv}.{part}", f"{conv}.{part}") for conv in ("conv1", "conv2") for part in ("weight", "bias")]
    entries += [same("embed_positions.weight", "positions"), same("codebook.weight", "codebook")]
    dropped = ("embed_positions2.weight", "ema_count", "ema_weight")
    entries += [Entry((name,), None, optional=True) for name in dropped]
    for i in range(config.quantize_position):
        entries.append(same(f"layers.{i}.self_attn.k_proj.weight", f"layers.{i}.key.weight"))
        entries += [
            same(f"layers.{i}.{theirs}.{part}", f"layers.{i}.{ours}.{part}")
            for theirs, ours in LAYER.items()
            for part in ("weight", "bias")
        ]
    return entries


def load_glm_tokenizer(folder: Path) -> GlmTokenizer:
    """The tokenizer in `folder`, in float32 and strictly: a missing, unexpected or wrongly shaped tensor is a
    CheckpointError that names it."""
    config, files = read_config(folder), Files(folder)
    with without_memory(folder):
        model = GlmTokenizer(config)
    load(model, files, keys(config), model.positions.dtype)
    return model.eval().requires_grad_(False)
