"""config.json of a long-form checkpoint in the transformers layout (5.23), both ways.

It names what a model of the published kind varies in; all else is fixed there, so not every shape of the original
layout has a place in it. Codec ratios and depths are in the encoder's order, and one width serves both halves.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loquor.configs import HF_KEYS, from_dict, require_int, section
from loquor.errors import ConfigError
from loquor.models.codec import KERNEL, CodecConfig
from loquor.models.longform.model import LongformConfig
from loquor.models.sections import decoder_section
from loquor.nn.diffusion_head import FREQUENCIES, LONGEST_PERIOD, DiffusionHeadConfig
from loquor.nn.qwen2 import Qwen2Config

SECTIONS = {"text_config", "audio_config", "semantic_model_config", "diffusion_head_config"}
TOKENS = {"audio_bos_token_id", "audio_eos_token_id", "audio_token_id", "vocab_size"}  # the tokenizer knows them
TRAINING = {"diffusion_loss_weight"}
GAUSSIAN_SHARE = 0.8  # vae_std * 0.8 is the original's fix_std

# What must come back when a configuration goes through the layout: all that shapes the model or what it computes.
DECODER_FACTS = ("up_ratios", "up_depths", "up_widths", "std_dist_type")
ENCODER_FACTS = (
    *("vae_dim", "channels", "encoder_ratios", "down_depths", "down_widths", "patch_samples", "ffn_expansion"),
    *("mixer_layer", "conv_bias", "layer_scale_init_value", "disable_last_norm"),
    *("layernorm", "layernorm_eps", "layernorm_elementwise_affine"),
)
HEAD_FACTS = (
    *("hidden_size", "latent_size", "head_layers", "ffn_size", "rms_norm_eps"),
    *("prediction_type", "ddpm_num_steps", "ddpm_beta_schedule"),
)


@dataclass(frozen=True)
class CodecSection:
    """`audio_config` and `semantic_model_config`; names and defaults are the library's."""

    hidden_size: int  # of a latent
    downsampling_ratios: tuple[int, ...]
    depths: tuple[int, ...]
    channels: int = 1
    kernel_size: int = KERNEL
    rms_norm_eps: float = 1e-5
    layer_scale_init_value: float = 1e-6
    num_filters: int = 32
    hidden_act: str = "gelu"
    ffn_expansion: int = 4
    vae_std: float = 0.625  # without meaning for the semantic codec, which is never sampled

    def __post_init__(self) -> None:
        _require_only(self, kernel_size=KERNEL, hidden_act="gelu")


@dataclass(frozen=True)
class HeadSection:
    """`diffusion_head_config`; names and defaults are the library's."""

    hidden_size: int
    latent_size: int
    intermediate_size: int
    num_hidden_layers: int = 4
    rms_norm_eps: float = 1e-5
    hidden_act: str = "silu"
    frequency_embedding_size: int = FREQUENCIES
    diffusion_max_period: int = int(LONGEST_PERIOD)
    mlp_bias: bool = False

    def __post_init__(self) -> None:
        require_int("diffusion_head", hidden_size=self.hidden_size, intermediate_size=self.intermediate_size)
        _require_only(
            self,
            hidden_act="silu",
            frequency_embedding_size=FREQUENCIES,
            diffusion_max_period=LONGEST_PERIOD,
            mlp_bias=False,
        )

    @property
    def ffn_ratio(self) -> float:
        """What the original layout says instead of `intermediate_size`: times `hidden_size`, cut to an integer."""
        ratio = self.intermediate_size / self.hidden_size
        fits = int(self.hidden_size * ratio) == self.intermediate_size
        return ratio if fits else math.nextafter(ratio, math.inf)


def _require_only(part: CodecSection | HeadSection, **supported: object) -> None:
    for name, value in supported.items():
        if getattr(part, name) != value:
            raise ConfigError(f"{name} must be {value!r}, as published, got {getattr(part, name)!r}")


def from_published(values: Mapping[str, Any], source: str, has_own_token_head: bool) -> LongformConfig:
    """The configuration in `values`; ConfigError names the file, `source`, and the key that does not fit."""
    unknown = sorted(set(values) - SECTIONS - TOKENS - TRAINING - HF_KEYS)
    if unknown:
        raise ConfigError(f"{source}: unknown {', '.join(unknown)}", hint="was this written for another kind of model?")
    parts = {
        "decoder": from_dict(Qwen2Config, _decoder(values, source), f"{source}: text_config"),
        "acoustic": _codec(values, "audio_config", "gaussian", source),
        "semantic": _codec(values, "semantic_model_config", "none", source),
        "head": _head(values, source),
        "has_own_token_head": has_own_token_head,
    }
    return from_dict(LongformConfig, parts, source)


def _decoder(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    given = decoder_section(values, source, "text_config")
    rope = given.pop("rope_parameters", None)
    if rope is None:
        return given
    known = {"rope_theta", "rope_type"}
    if not isinstance(rope, Mapping) or set(rope) - known or rope.get("rope_type", "default") != "default":
        raise ConfigError(f"{source}: text_config.rope_parameters must hold a rope_theta and no scaling, got {rope!r}")
    return given | {name: rope[name] for name in ("rope_theta",) if name in rope}


def _codec(values: Mapping[str, Any], name: str, sampled: str, source: str) -> CodecConfig:
    where = f"{source}: {name}"
    given = from_dict(CodecSection, section(values, name, source), where)
    fields = {
        "vae_dim": given.hidden_size,
        "encoder_ratios": given.downsampling_ratios[::-1],
        "encoder_depths": given.depths,
        "channels": given.channels,
        "fix_std": GAUSSIAN_SHARE * given.vae_std if sampled == "gaussian" else 0.0,
        "std_dist_type": sampled,
        "layernorm_eps": given.rms_norm_eps,
        "encoder_n_filters": given.num_filters,
        "decoder_n_filters": given.num_filters,
        "ffn_expansion": given.ffn_expansion,
    }
    if given.layer_scale_init_value > 0:  # if not, the layout's blocks have gammas all the same
        fields["layer_scale_init_value"] = given.layer_scale_init_value
    return from_dict(CodecConfig, fields, where)


def _head(values: Mapping[str, Any], source: str) -> DiffusionHeadConfig:
    where = f"{source}: diffusion_head_config"
    given = from_dict(HeadSection, section(values, "diffusion_head_config", source), where)
    fields = {
        "hidden_size": given.hidden_size,
        "latent_size": given.latent_size,
        "head_layers": given.num_hidden_layers,
        "head_ffn_ratio": given.ffn_ratio,
        "rms_norm_eps": given.rms_norm_eps,
    }
    return from_dict(DiffusionHeadConfig, fields, where)


def to_published(config: LongformConfig) -> dict[str, Any]:
    """config.json of a model of that shape; ConfigError names what the layout has no place for."""
    is_tied = not config.has_own_token_head
    values = {
        "model_type": "vibevoice",
        "architectures": ["VibeVoiceForConditionalGeneration"],
        "tie_word_embeddings": is_tied,
        "vocab_size": config.decoder.vocab_size,
        "text_config": _decoder_values(config.decoder) | {"tie_word_embeddings": is_tied},
        "audio_config": _codec_values(config.acoustic, "vibevoice_acoustic_tokenizer"),
        "semantic_model_config": _codec_values(config.semantic, "vibevoice_acoustic_tokenizer_encoder"),
        "diffusion_head_config": _head_values(config.head),
    }
    back = from_published(values, "config.json", config.has_own_token_head)
    lost = [
        *_differences("acoustic codec", config.acoustic, back.acoustic, ENCODER_FACTS + DECODER_FACTS),
        *_differences("semantic codec", config.semantic, back.semantic, ENCODER_FACTS),
        *_differences("diffusion head", config.head, back.head, HEAD_FACTS),
    ]
    if lost:
        raise ConfigError(f"the hf layout has no place for {'; '.join(lost)}", hint="choose the original layout")
    return values


def _differences(part: str, ours: object, back: object, facts: tuple[str, ...]) -> list[str]:
    different = [name for name in facts if getattr(ours, name) != getattr(back, name)]
    return [f"the {part}'s {name} {getattr(ours, name)!r}" for name in different]


def _decoder_values(config: Qwen2Config) -> dict[str, Any]:
    given = {name: value for name, value in dataclasses.asdict(config).items() if value is not None}
    rope = {"rope_theta": given.pop("rope_theta"), "rope_type": "default"}
    return given | {"model_type": "qwen2", "rope_parameters": rope}


def _codec_values(config: CodecConfig, model_type: str) -> dict[str, Any]:
    given = CodecSection(
        hidden_size=config.vae_dim,
        downsampling_ratios=config.encoder_ratios[::-1],
        depths=config.down_depths,
        channels=config.channels,
        rms_norm_eps=config.layernorm_eps,
        layer_scale_init_value=config.layer_scale_init_value,
        num_filters=config.encoder_n_filters,
        ffn_expansion=config.ffn_expansion,
        vae_std=config.fix_std / GAUSSIAN_SHARE,
    )
    return dataclasses.asdict(given) | {"model_type": model_type}


def _head_values(config: DiffusionHeadConfig) -> dict[str, Any]:
    given = HeadSection(
        hidden_size=config.hidden_size,
        latent_size=config.latent_size,
        intermediate_size=config.ffn_size,
        num_hidden_layers=config.head_layers,
        rms_norm_eps=config.rms_norm_eps,
    )
    return dataclasses.asdict(given) | {"model_type": "vibevoice_diffusion"}
