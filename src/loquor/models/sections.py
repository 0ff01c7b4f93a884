"""The parts of a published `config.json` that both VibeVoice families share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loquor.configs import from_dict, read_json, section
from loquor.errors import ConfigError
from loquor.models.codec import CodecConfig
from loquor.nn.diffusion_head import DiffusionHeadConfig


def decoder_section(values: Mapping[str, Any], source: str, name: str = "decoder_config") -> dict[str, Any]:
    """What the file says of its Qwen2 decoder."""
    given = dict(section(values, name, source))
    if given.get("model_type", "qwen2") != "qwen2":
        raise ConfigError(f"{source}: {name}.model_type {given['model_type']!r} is not qwen2")
    return given


def codec_config(values: Mapping[str, Any], kind: str, source: str) -> CodecConfig:
    """The codec `kind` (acoustic or semantic); its width at the top level, if there is one, is the one that counts."""
    name = f"{kind}_tokenizer_config"
    given = dict(section(values, name, source))
    given["vae_dim"] = values.get(f"{kind}_vae_dim", given.get("vae_dim"))
    return from_dict(CodecConfig, given, f"{source}: {name}")


def head_config(values: Mapping[str, Any], source: str, codec: CodecConfig) -> DiffusionHeadConfig:
    given = {"latent_size": codec.vae_dim, **section(values, "diffusion_head_config", source)}
    return from_dict(DiffusionHeadConfig, given, f"{source}: diffusion_head_config")


def stated_rate_hz(folder: Path, otherwise: int) -> Any:
    """The sample rate that `preprocessor_config.json` states in either layout; `otherwise` if it states none."""
    path = folder / "preprocessor_config.json"
    values = read_json(path) if path.exists() else {}
    audio = values.get("audio_processor", values)  # which the transformers layout does without
    return audio.get("sampling_rate", otherwise) if isinstance(audio, dict) else otherwise
