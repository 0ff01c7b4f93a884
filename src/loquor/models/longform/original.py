"""config.json of a long-form checkpoint in the original layout, both ways."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from loquor.configs import HF_KEYS, from_dict
from loquor.errors import ConfigError
from loquor.models.longform.model import LongformConfig
from loquor.models.sections import codec_config, decoder_section, head_config
from loquor.nn.qwen2 import Qwen2Config

SECTIONS = {"acoustic_tokenizer_config", "semantic_tokenizer_config", "decoder_config", "diffusion_head_config"}
WIDTHS = {"acoustic_vae_dim", "acostic_vae_dim", "semantic_vae_dim"}  # one is misspelled in published files, and inert


def from_published(values: Mapping[str, Any], source: str, has_own_token_head: bool) -> LongformConfig:
    """The configuration in `values`; ConfigError names the file, `source`, and the key that does not fit."""
    unknown = sorted(set(values) - SECTIONS - WIDTHS - HF_KEYS)
    if unknown:
        raise ConfigError(f"{source}: unknown {', '.join(unknown)}", hint="was this written for another kind of model?")
    decoder, acoustic = decoder_section(values, source), codec_config(values, "acoustic", source)
    parts = {
        "decoder": from_dict(Qwen2Config, decoder, f"{source}: decoder_config"),
        "acoustic": acoustic,
        "semantic": codec_config(values, "semantic", source),
        "head": head_config(values, source, acoustic),
        "has_own_token_head": has_own_token_head,
    }
    return from_dict(LongformConfig, parts, source)


def to_published(config: LongformConfig) -> dict[str, Any]:
    """config.json of a model of that shape."""
    is_tied = not config.has_own_token_head
    decoder = dataclasses.asdict(config.decoder) | {"model_type": "qwen2", "tie_word_embeddings": is_tied}
    return {
        "model_type": "vibevoice",
        "architectures": ["VibeVoiceForConditionalGeneration"],
        "tie_word_embeddings": is_tied,
        "acoustic_vae_dim": config.acoustic.vae_dim,
        "semantic_vae_dim": config.semantic.vae_dim,
        "acoustic_tokenizer_config": dataclasses.asdict(config.acoustic),
        "semantic_tokenizer_config": dataclasses.asdict(config.semantic),
        "decoder_config": decoder,
        "diffusion_head_config": dataclasses.asdict(config.head),
    }
