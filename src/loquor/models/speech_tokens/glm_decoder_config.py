"""config.yaml of GLM-4-Voice's decoder, read as data.

The file is hyperpyyaml: tags name Python classes to construct. None of them is looked at; tagged nodes become plain
mappings, and only sizes are taken from them. Where the file is silent, the published size stands.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loquor.errors import CheckpointError, ConfigError, MissingExtra
from loquor.models.speech_tokens.conformer import ConformerConfig
from loquor.models.speech_tokens.estimator import EstimatorConfig
from loquor.models.speech_tokens.flow import FlowConfig
from loquor.models.speech_tokens.hift import VocoderConfig

MAX_BYTES = 2**20
REFERENCE = re.compile(r"<(\w+)>")  # of !ref, to a name at the top of the file
ONLY: Mapping[str, Mapping[str, object]] = {
    "flow.encoder": {
        "normalize_before": True,
        "macaron_style": False,
        "use_cnn_module": False,
        "input_layer": "linear",
        "pos_enc_layer_type": "rel_pos_espnet",
    },
    "flow.decoder.estimator": {"act_fn": "gelu"},
    "flow.decoder.cfm_params": {"solver": "euler", "t_scheduler": "cosine"},
}  # the one arithmetic there is


@dataclass(frozen=True)
class Section:
    """A mapping of the file, its place in it, and the names that its values may refer to."""

    path: Path
    place: str
    values: Mapping[str, Any]
    names: Mapping[str, Any]

    def section(self, name: str) -> Section:
        """The mapping under `name`, empty if there is none."""
        value = self._value(name, {})
        if not isinstance(value, Mapping):
            raise ConfigError(f"{self.path}: {self.place}.{name} must be a mapping, got {value!r}")
        return Section(self.path, f"{self.place}.{name}".lstrip("."), value, self.names)

    def whole(self, name: str, default: int) -> int:
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(f"{self.path}: {self.place}.{name} must be a whole number, got {value!r}")
        return value

    def number(self, name: str, default: float) -> float:
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ConfigError(f"{self.path}: {self.place}.{name} must be a number, got {value!r}")
        return float(value)

    def wholes(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        return self._row(name, self._value(name, default))

    def rows(self, name: str, default: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
        value = self._value(name, default)
        return tuple(self._row(name, row) for row in (value if isinstance(value, list | tuple) else [value]))

    def require(self, wanted: Mapping[str, object]) -> None:
        """ConfigError if the file asks for other arithmetic."""
        for name, value in wanted.items():
            if (found := self._value(name, value)) != value:
                raise ConfigError(f"{self.path}: {self.place}.{name} {found!r} is not supported, only {value!r}")

    def _row(self, name: str, value: object) -> tuple[int, ...]:
        if not isinstance(value, list | tuple) or not all(type(n) is int for n in value):
            raise ConfigError(f"{self.path}: {self.place}.{name} must list whole numbers, got {value!r}")
        return tuple(value)

    def _value(self, name: str, default: object) -> Any:
        value = self.values.get(name, default)
        if isinstance(value, str) and (reference := REFERENCE.fullmatch(value)):
            return self.names.get(reference[1], value)
        return value


def read_config(folder: Path) -> tuple[FlowConfig, VocoderConfig]:
    """The shapes that `folder`/config.yaml describes; CheckpointError if it cannot be read, ConfigError names the value
    that does not fit."""
    path = folder / "config.yaml"
    values = _read(path)
    whole = Section(path, "", values, values)
    for place, wanted in ONLY.items():
        section = whole
        for name in place.split("."):
            section = section.section(name)
        (section.section("content") if "content" in section.values else section).require(wanted)
    try:
        vocoder = _vocoder(whole.section("hift"))
        return _flow(whole.section("flow"), vocoder), vocoder
    except ConfigError as error:
        raise ConfigError(str(error) if str(path) in str(error) else f"{path}: {error}", hint=error.hint) from None


def published_config() -> tuple[FlowConfig, VocoderConfig]:
    """The shapes of the published decoder."""
    silent = Section(Path("config.yaml"), "", {}, {})
    vocoder = _vocoder(silent)
    return _flow(silent, vocoder), vocoder


def _flow(section: Section, vocoder: VocoderConfig) -> FlowConfig:
    encoder, decoder = section.section("encoder"), section.section("decoder")
    estimator, solver = decoder.section("estimator"), decoder.section("cfm_params")
    solver = solver.section("content") if "content" in solver.values else solver
    width, bins = section.whole("input_size", 512), section.whole("output_size", 80)
    if encoder.whole("output_size", width) != width or bins != vocoder.mel_bins:
        raise ConfigError("the widths of ids, encoder and spectrum do not fit one another")
    return FlowConfig(
        vocab_size=section.whole("vocab_size", 16384),
        mel_bins=bins,
        speaker_dim=section.whole("spk_embed_dim", 192),
        token_rate_hz=section.number("input_frame_rate", 12.5),
        frame_rate_hz=vocoder.sample_rate_hz / vocoder.frame_samples,
        guidance=solver.number("inference_cfg_rate", 0.7),
        regulator_stages=len(section.section("length_regulator").wholes("sampling_ratios", (1, 1, 1, 1))),
        encoder=ConformerConfig(
            width=width,
            heads=encoder.whole("attention_heads", 8),
            ffn_width=encoder.whole("linear_units", 2048),
            layers=encoder.whole("num_blocks", 6),
            block_size=encoder.whole("block_size", 10),
        ),
        estimator=EstimatorConfig(
            in_channels=estimator.whole("in_channels", 4 * bins),
            out_channels=estimator.whole("out_channels", bins),
            channels=estimator.wholes("channels", (256, 256)),
            blocks_per_stage=estimator.whole("n_blocks", 4),
            mid_stages=estimator.whole("num_mid_blocks", 12),
            heads=estimator.whole("num_heads", 8),
            head_dim=estimator.whole("attention_head_dim", 64),
        ),
    )


def _vocoder(section: Section) -> VocoderConfig:
    transform = section.section("istft_params")
    return VocoderConfig(
        mel_bins=section.whole("in_channels", 80),
        base_channels=section.whole("base_channels", 512),
        sample_rate_hz=section.whole("sampling_rate", 22050),
        upsample_rates=section.wholes("upsample_rates", (8, 8)),
        upsample_kernels=section.wholes("upsample_kernel_sizes", (16, 16)),
        fft_samples=transform.whole("n_fft", 16),
        fft_hop_samples=transform.whole("hop_len", 4),
        kernels=section.wholes("resblock_kernel_sizes", (3, 7, 11)),
        dilations=section.rows("resblock_dilation_sizes", ((1, 3, 5),) * 3),
        source_kernels=section.wholes("source_resblock_kernel_sizes", (7, 11)),
        source_dilations=section.rows("source_resblock_dilation_sizes", ((1, 3, 5),) * 2),
        pitch_channels=section.section("f0_predictor").whole("cond_channels", 512),
        harmonics=section.whole("nb_harmonics", 8),
        sine_level=section.number("nsf_alpha", 0.1),
        noise_level=section.number("nsf_sigma", 0.003),
        voiced_from_hz=section.number("nsf_voiced_threshold", 10),
        slope=section.number("lrelu_slope", 0.1),
        limit=section.number("audio_limit", 0.99),
    )


def _read(path: Path) -> Mapping[str, Any]:
    """The mapping in the file, tags left out."""
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra(f"{path} needs PyYAML to be read", hint="pip install 'loquor[vita]'") from error

    class Untagged(yaml.SafeLoader):  # type: ignore[misc]
        """What a tag would have made stays the mapping, list or text it is made from."""

    def plain(loader: Any, _: str, node: Any) -> Any:
        if isinstance(node, yaml.MappingNode):
            return loader.construct_mapping(node, deep=True)
        if isinstance(node, yaml.SequenceNode):
            return loader.construct_sequence(node, deep=True)
        return loader.construct_scalar(node)

    Untagged.add_multi_constructor("!", plain)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"{path} is larger than {MAX_BYTES} bytes")
        values = yaml.load(path.read_text(encoding="utf-8"), Untagged)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist", hint="give the folder of glm-4-voice-decoder") from None
    except (OSError, UnicodeDecodeError, RecursionError, ValueError, TypeError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path} cannot be read as YAML: {error}") from None
    if not isinstance(values, Mapping):
        raise CheckpointError(f"{path} holds a {type(values).__name__}, not a mapping")
    return values
