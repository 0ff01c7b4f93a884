"""Published tensor names of the codec and ours, with the reshapes of the convolution weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from loquor.checkpoints import Entry, same
from loquor.models.codec import CodecConfig


@dataclass(frozen=True)
class HalfNames:
    """What a layout calls the parts of an encoder or decoder; {stage} counts from the stem's 0, {step} is one less."""

    stem: str
    resampler: str
    first_block: str  # {block} of the stage that follows the stem
    block: str
    mixer: str
    head: str
    patch_head: str = ""  # of a decoder whose head makes patches of waveform


def _original(layers: str, resampler: str) -> HalfNames:
    return HalfNames(
        stem=f"{layers}.0.0.conv.conv.",
        resampler=f"{layers}.{{stage}}.0.{resampler}.{resampler}.",
        first_block="stages.{stage}.{block}.",
        block="stages.{stage}.{block}.",
        mixer="mixer.conv.conv.conv.",
        head="head.conv.conv.",
        patch_head="head.convtr.convtr.",
    )


def _huggingface(resampler: str) -> HalfNames:
    return HalfNames(
        stem="stem.conv.conv.",
        resampler=f"conv_layers.{{step}}.{resampler}.{resampler}.",
        first_block="stem.stage.{block}.",
        block="conv_layers.{step}.stage.{block}.",
        mixer="mixer.conv.",
        head="head.conv.",
    )


@dataclass(frozen=True)
class CodecNames:
    """What a layout calls the parts of a codec."""

    encoder: HalfNames
    decoder: HalfNames


ORIGINAL = CodecNames(_original("downsample_layers", "conv"), _original("upsample_layers", "convtr"))
HUGGINGFACE = CodecNames(_huggingface("conv"), _huggingface("convtr"))


def codec_keys(config: CodecConfig, theirs: str, ours: str, encoder: bool, decoder: bool) -> list[Entry]:
    """Every tensor of the halves that are there, by their original names; both prefixes end in a dot."""
    entries: list[Entry] = []
    if encoder:
        entries += encoder_keys(config, f"{theirs}encoder.", f"{ours}encoder.", ORIGINAL)
    if decoder:
        entries += decoder_keys(config, f"{theirs}decoder.", f"{ours}decoder.", ORIGINAL)
    return entries


def encoder_keys(config: CodecConfig, theirs: str, ours: str, names: CodecNames) -> list[Entry]:
    """Every tensor of the encoder; both prefixes end in a dot."""
    part, widths = names.encoder, config.down_widths
    entries = list(_conv(config, f"{theirs}{part.stem}", f"{ours}stem.", config.channels))
    for step in range(len(config.encoder_ratios)):
        name = theirs + part.resampler.format(stage=step + 1, step=step)
        entries += _conv(config, name, f"{ours}resamplers.{step}.", widths[step])
    entries += _stages(config, (theirs, ours), part, widths, config.down_depths)
    return [*entries, *_conv(config, f"{theirs}{part.head}", f"{ours}head.", widths[-1])]


def decoder_keys(config: CodecConfig, theirs: str, ours: str, names: CodecNames) -> list[Entry]:
    """Every tensor of the decoder; both prefixes end in a dot."""
    part, widths = names.decoder, config.up_widths
    entries = list(_conv(config, f"{theirs}{part.stem}", f"{ours}stem.", config.vae_dim))
    for step, ratio in enumerate(config.up_ratios):
        name = theirs + part.resampler.format(stage=step + 1, step=step)
        entries += _conv_transpose(config, name, f"{ours}resamplers.{step}.", ratio)
    entries += _stages(config, (theirs, ours), part, widths, config.up_depths)
    if config.patch_samples > 1:
        head = _conv_transpose(config, f"{theirs}{part.patch_head}", f"{ours}head.", config.patch_samples)
    else:
        head = _conv(config, f"{theirs}{part.head}", f"{ours}head.", widths[-1])
    return [*entries, *head]


def _stages(
    config: CodecConfig, prefixes: tuple[str, str], part: HalfNames, widths: Sequence[int], depths: Sequence[int]
) -> Iterator[Entry]:
    """The blocks of every stage, and the norm behind them."""
    theirs, ours = prefixes
    for i, depth in enumerate(depths):
        for j in range(depth):
            name = (part.block if i else part.first_block).format(stage=i, step=i - 1, block=j)
            yield from _block(config, f"{theirs}{name}", f"{ours}stages.{i}.{j}.", widths[i], part.mixer)
    if not config.disable_last_norm:
        yield from _norm(config, f"{theirs}norm.", f"{ours}norm.")


def _block(config: CodecConfig, theirs: str, ours: str, width: int, mixer: str) -> Iterator[Entry]:
    if config.layer_scale_init_value > 0:
        yield same(f"{theirs}gamma", f"{ours}gamma")
        yield same(f"{theirs}ffn_gamma", f"{ours}ffn_gamma")
    yield from _norm(config, f"{theirs}norm.", f"{ours}norm.")
    yield from _norm(config, f"{theirs}ffn_norm.", f"{ours}ffn_norm.")
    if config.mixer_layer == "conv":
        yield from _conv(config, f"{theirs}{mixer}", f"{ours}mixer.", width)
    else:
        yield same(f"{theirs}{mixer}weight", f"{ours}mixer.weight")
        yield from _bias(config, f"{theirs}{mixer}", f"{ours}mixer.")
    for a, b in (("linear1", "up"), ("linear2", "down")):
        yield from (same(f"{theirs}ffn.{a}.{p}", f"{ours}ffn.{b}.{p}") for p in ("weight", "bias"))


def _norm(config: CodecConfig, theirs: str, ours: str) -> Iterator[Entry]:
    if config.layernorm_elementwise_affine:
        yield same(f"{theirs}weight", f"{ours}weight")
        if config.layernorm == "LN":
            yield same(f"{theirs}bias", f"{ours}bias")


def _bias(config: CodecConfig, theirs: str, ours: str) -> Iterator[Entry]:
    if config.conv_bias:
        yield same(f"{theirs}bias", f"{ours}bias")


def _conv(config: CodecConfig, theirs: str, ours: str, in_channels: int) -> Iterator[Entry]:
    inverse = partial(channels_outermost, in_channels=in_channels)
    yield Entry((f"{theirs}weight",), f"{ours}weight", taps_outermost, inverse)
    yield from _bias(config, theirs, ours)


def _conv_transpose(config: CodecConfig, theirs: str, ours: str, stride: int) -> Iterator[Entry]:
    yield Entry((f"{theirs}weight",), f"{ours}weight", blocks_outermost, partial(kernels_outermost, stride=stride))
    yield from _bias(config, theirs, ours)


def taps_outermost(tensors: Sequence[Tensor]) -> Tensor:
    """Convolution [C_out, C_in, K] to [C_out, K * C_in]."""
    return tensors[0].transpose(1, 2).flatten(1).contiguous()


def channels_outermost(weight: Tensor, in_channels: int) -> list[Tensor]:
    """The inverse of `taps_outermost`."""
    return [weight.view(weight.shape[0], -1, in_channels).transpose(1, 2)]


def blocks_outermost(tensors: Sequence[Tensor]) -> Tensor:
    """Transposed convolution [C_in, C_out, 2 * stride] to [stride * C_out, 2 * C_in]: previous input, then current.

    Taps of the first half are heard in the block of their own input, those of the second in the next block.
    """
    c_in, c_out, kernel = tensors[0].shape
    halves = tensors[0].view(c_in, c_out, 2, kernel // 2).flip(2)  # [C_in, C_out, previous | current, stride]
    return halves.permute(3, 1, 2, 0).reshape(kernel // 2 * c_out, 2 * c_in).contiguous()


def kernels_outermost(weight: Tensor, stride: int) -> list[Tensor]:
    """The inverse of `blocks_outermost`."""
    c_out, c_in = weight.shape[0] // stride, weight.shape[1] // 2
    halves = weight.view(stride, c_out, 2, c_in).permute(3, 1, 2, 0).flip(2)
    return [halves.reshape(c_in, c_out, 2 * stride)]
