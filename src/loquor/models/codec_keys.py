"""Published tensor names of the codec and ours, with the reshapes of the convolution weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from torch import Tensor

from loquor.checkpoints import Entry, same
from loquor.models.codec import CodecConfig


def codec_keys(config: CodecConfig, theirs: str, ours: str, encoder: bool, decoder: bool) -> list[Entry]:
    """Every tensor of the halves that are there; both prefixes end in a dot."""
    entries: list[Entry] = []
    if encoder:
        entries += _half(config, f"{theirs}encoder.", f"{ours}encoder.", up=False)
    if decoder:
        entries += _half(config, f"{theirs}decoder.", f"{ours}decoder.", up=True)
    return entries


def _half(config: CodecConfig, theirs: str, ours: str, up: bool) -> Iterator[Entry]:
    layers = "upsample_layers" if up else "downsample_layers"
    depths = config.up_depths if up else config.down_depths
    ratios = config.up_ratios if up else config.encoder_ratios[::-1]
    widths = config.up_widths if up else config.down_widths
    first = config.vae_dim if up else config.channels
    yield from _conv(config, f"{theirs}{layers}.0.0.conv.conv.", f"{ours}stem.", first)
    for i, ratio in enumerate(ratios):
        name, target = f"{theirs}{layers}.{i + 1}.0.", f"{ours}resamplers.{i}."
        if up:
            yield from _conv_transpose(config, f"{name}convtr.convtr.", target, ratio)
        else:
            yield from _conv(config, f"{name}conv.conv.", target, widths[i])
    for i, depth in enumerate(depths):
        for j in range(depth):
            yield from _block(config, f"{theirs}stages.{i}.{j}.", f"{ours}stages.{i}.{j}.", widths[i])
    if not config.disable_last_norm:
        yield from _norm(config, f"{theirs}norm.", f"{ours}norm.")
    if up and config.patch_samples > 1:
        yield from _conv_transpose(config, f"{theirs}head.convtr.convtr.", f"{ours}head.", config.patch_samples)
    else:
        yield from _conv(config, f"{theirs}head.conv.conv.", f"{ours}head.", widths[-1])


def _block(config: CodecConfig, theirs: str, ours: str, width: int) -> Iterator[Entry]:
    if config.layer_scale_init_value > 0:
        yield same(f"{theirs}gamma", f"{ours}gamma")
        yield same(f"{theirs}ffn_gamma", f"{ours}ffn_gamma")
    yield from _norm(config, f"{theirs}norm.", f"{ours}norm.")
    yield from _norm(config, f"{theirs}ffn_norm.", f"{ours}ffn_norm.")
    mixer = f"{theirs}mixer.conv.conv.conv."
    if config.mixer_layer == "conv":
        yield from _conv(config, mixer, f"{ours}mixer.", width)
    else:
        yield same(f"{mixer}weight", f"{ours}mixer.weight")
        yield from _bias(config, mixer, f"{ours}mixer.")
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
