"""Small GLM-4-Voice decoders with weights of every kind, and the folders they are published in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from loquor.checkpoints import published
from loquor.models.speech_tokens.conformer import ConformerConfig
from loquor.models.speech_tokens.estimator import EstimatorConfig
from loquor.models.speech_tokens.flow import Flow, FlowConfig
from loquor.models.speech_tokens.flow_keys import flow_keys
from loquor.models.speech_tokens.glm_decoder import GlmDecoder
from loquor.models.speech_tokens.glm_tokenizer import GlmTokenizer, GlmTokenizerConfig
from loquor.models.speech_tokens.glm_tokenizer_checkpoint import WANTED, keys
from loquor.models.speech_tokens.hift import Vocoder, VocoderConfig
from loquor.models.speech_tokens.hift_keys import hift_keys
from toy import randomise

CODEBOOK = 40
BINS = 8
CONFIG_YAML = """\
__set_seed: !apply:torch.manual_seed [1986]
sample_rate: {rate}
mel_bins: {bins}
flow: !new:cosyvoice.flow.flow.MaskedDiffWithXvec
    input_size: {width}
    output_size: !ref <mel_bins>
    spk_embed_dim: {speaker}
    vocab_size: {vocab}
    input_frame_rate: 12.5
    encoder: !new:cosyvoice.transformer.encoder.BlockConformerEncoder
        output_size: {width}
        attention_heads: {heads}
        linear_units: {ffn}
        num_blocks: {layers}
        macaron_style: False
        block_size: {block}
    length_regulator: !new:cosyvoice.flow.length_regulator.InterpolateRegulator
        channels: !ref <mel_bins>
        sampling_ratios: {ratios}
    decoder: !new:cosyvoice.flow.flow_matching.ConditionalCFM
        cfm_params: !new:omegaconf.DictConfig
            content:
                sigma_min: 1e-06
                solver: 'euler'
                t_scheduler: 'cosine'
                inference_cfg_rate: 0.7
        estimator: !new:cosyvoice.flow.decoder.ConditionalDecoder
            in_channels: {estimator_in}
            out_channels: !ref <mel_bins>
            channels: {channels}
            attention_head_dim: {head_dim}
            n_blocks: {stage_blocks}
            num_mid_blocks: {mid}
            num_heads: {estimator_heads}
            act_fn: 'gelu'
hift: !new:cosyvoice.hifigan.generator.HiFTGenerator
    in_channels: !ref <mel_bins>
    base_channels: {base}
    sampling_rate: !ref <sample_rate>
    upsample_rates: {upsample_rates}
    upsample_kernel_sizes: {upsample_kernels}
    resblock_kernel_sizes: {kernels}
    resblock_dilation_sizes: {dilations}
    source_resblock_kernel_sizes: {source_kernels}
    source_resblock_dilation_sizes: {source_dilations}
    f0_predictor: !new:cosyvoice.hifigan.f0_predictor.ConvRNNF0Predictor
        num_class: 1
        cond_channels: {pitch}
"""  # as the publishers' own tool reads it; our own words, not their file


def flow_config(vocoder: VocoderConfig) -> FlowConfig:
    bins, rate = vocoder.mel_bins, vocoder.sample_rate_hz / vocoder.frame_samples
    encoder = ConformerConfig(width=12, heads=2, ffn_width=16, layers=2, block_size=10)
    estimator = EstimatorConfig(
        in_channels=4 * bins, out_channels=bins, channels=(8, 8), blocks_per_stage=1, mid_stages=1, heads=2, head_dim=4
    )
    return FlowConfig(CODEBOOK, bins, 6, 12.5, rate, 0.7, 2, encoder, estimator)


PUBLISHED: dict[str, Any] = {
    "upsample_rates": (8, 8),
    "upsample_kernels": (16, 16),
    "kernels": (3, 7, 11),
    "dilations": ((1, 3, 5),) * 3,
    "source_kernels": (7, 11),
    "source_dilations": ((1, 3, 5),) * 2,
}  # of the vocoder
SMALL: dict[str, Any] = {
    "upsample_rates": (4, 2),
    "upsample_kernels": (8, 4),
    "kernels": (3, 5),
    "dilations": ((1,), (1, 2)),
    "source_kernels": (3, 5),
    "source_dilations": ((1,), (1, 2)),
}


def vocoder_config(**other: Any) -> VocoderConfig:
    sizes: dict[str, Any] = {
        "mel_bins": BINS,
        "base_channels": 8,
        "sample_rate_hz": 2756,  # 32 samples a frame, and frames at nearly the published rate
        "fft_samples": 16,
        "fft_hop_samples": 4,
        "pitch_channels": 6,
        "harmonics": 8,
        "sine_level": 0.1,
        "noise_level": 0.003,
        "voiced_from_hz": 10.0,
        "slope": 0.1,
        "limit": 0.99,
    }
    return VocoderConfig(**(sizes | SMALL | other))


@torch.no_grad()
def toy_vocoder(config: VocoderConfig, seed: int = 0) -> Vocoder:
    vocoder = Vocoder(config)
    randomise(vocoder, seed)
    vocoder.pitch.out.bias.fill_(40.0)  # Hz, so that most frames are voiced
    vocoder.pitch.out.weight.mul_(30.0)
    vocoder.out.weight.mul_(0.3)  # its exponential would make the loud much louder
    return vocoder.eval().requires_grad_(False)


@torch.no_grad()
def toy_glm_decoder(seed: int = 0) -> GlmDecoder:
    flow = Flow(flow_config(vocoder_config()))
    randomise(flow, seed)
    return GlmDecoder(flow.eval().requires_grad_(False), toy_vocoder(vocoder_config(), seed))


@torch.no_grad()
def toy_glm_tokenizer(seed: int = 0) -> GlmTokenizer:
    config = GlmTokenizerConfig(
        d_model=8,
        encoder_attention_heads=2,
        encoder_ffn_dim=12,
        num_mel_bins=16,
        max_source_positions=1500,
        pooling_kernel_size=4,
        pooling_position=1,
        quantize_position=1,
        quantize_vocab_size=CODEBOOK,
        quantize_causal_block_size=20,
    )
    tokenizer = GlmTokenizer(config)
    randomise(tokenizer, seed)
    return tokenizer.eval().requires_grad_(False)


def save_glm_tokenizer(folder: Path, tokenizer: GlmTokenizer) -> None:
    """The published layout, with what only training needs."""
    folder.mkdir(parents=True, exist_ok=True)
    values = vars(tokenizer.config) | WANTED | {"model_type": "whisper", "vocab_size": 51866, "decoder_layers": 32}
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    extra = {"ema_count": torch.zeros(CODEBOOK), "ema_weight": torch.zeros_like(tokenizer.codebook)}
    save_file(published(tokenizer, keys(tokenizer.config)) | extra, folder / "model.safetensors")


def save_glm_decoder(folder: Path, decoder: GlmDecoder) -> None:
    """The published layout: a config with tags, and two files that torch wrote."""
    flow, vocoder = decoder.flow.config, decoder.vocoder.config
    tensors = published(decoder.flow, flow_keys(flow)), published(decoder.vocoder, hift_keys(vocoder))
    write_glm_decoder(folder, settings_of(flow, vocoder), *tensors)


def settings_of(flow: FlowConfig, vocoder: VocoderConfig) -> dict[str, Any]:
    """What fills the gaps of CONFIG_YAML."""
    return {
        "bins": flow.mel_bins,
        "width": flow.encoder.width,
        "speaker": flow.speaker_dim,
        "vocab": flow.vocab_size,
        "heads": flow.encoder.heads,
        "ffn": flow.encoder.ffn_width,
        "layers": flow.encoder.layers,
        "block": flow.encoder.block_size,
        "ratios": [1] * flow.regulator_stages,
        "estimator_in": flow.estimator.in_channels,
        "channels": list(flow.estimator.channels),
        "head_dim": flow.estimator.head_dim,
        "stage_blocks": flow.estimator.blocks_per_stage,
        "mid": flow.estimator.mid_stages,
        "estimator_heads": flow.estimator.heads,
        "base": vocoder.base_channels,
        "pitch": vocoder.pitch_channels,
        "rate": vocoder.sample_rate_hz,
    } | {name: _listed(getattr(vocoder, name)) for name in SMALL}


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


def write_glm_decoder(
    folder: Path, settings: Mapping[str, Any], flow: Mapping[str, Tensor], hift: Mapping[str, Tensor]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(CONFIG_YAML.format(**settings), encoding="utf-8")
    torch.save(dict(flow), folder / "flow.pt")
    torch.save(dict(hift), folder / "hift.pt")
