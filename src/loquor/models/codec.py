"""The audio codec of VibeVoice: 24 kHz audio to 64-dim latents at 7.5 Hz and back, causal, streamable.

A sigma-VAE whose encoder and decoder are stages of convolution blocks between strided (transposed) convolutions
(arXiv:2508.19205, section 2.1). The acoustic codec has both halves, the semantic one only an encoder.
Inside, tensors are channels last: [B, T, C].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loquor.configs import MOST, require_int
from loquor.errors import ConfigError
from loquor.nn.conv import CausalConv1d, CausalConvTranspose1d, ConvState, DepthwiseCausalConv1d
from loquor.nn.linear import Linear
from loquor.nn.norm import RMSNorm
from loquor.state import State

SAMPLE_RATE_HZ = 24_000  # of every published codec, and of what is recorded for them
KERNEL = 7  # taps of stem, head and mixer in every published file


@dataclass(frozen=True)
class CodecConfig:
    """Shape of a codec; field names are those of the published files, the last four are ours.

    `decoder_depths` as a string is used as written, otherwise the encoder's depths reversed (as published).
    """

    vae_dim: int  # D, channels of a latent
    encoder_ratios: tuple[int, ...]  # strides from latent to waveform; the encoder runs them backwards
    encoder_depths: str | tuple[int, ...]  # blocks per stage, from waveform to latent
    channels: int = 1
    causal: bool = True
    corpus_normalize: float = 0.0
    fix_std: float = 0.5
    std_dist_type: str = "gaussian"
    mixer_layer: str = "depthwise_conv"
    conv_norm: str = "none"
    pad_mode: str = "constant"
    disable_last_norm: bool = True
    layernorm: str = "RMSNorm"
    layernorm_eps: float = 1e-5
    layernorm_elementwise_affine: bool = True
    conv_bias: bool = True
    layer_scale_init_value: float = 1e-6
    weight_init_value: float = 0.01
    encoder_n_filters: int = 32  # channels at the waveform's rate, doubled by every stride
    decoder_n_filters: int = 32
    decoder_ratios: tuple[int, ...] | None = None
    decoder_depths: str | tuple[int, ...] | None = None
    ffn_expansion: int = 4
    patch_samples: int = 1  # stride of stem and head: above 1 they see whole patches of waveform
    encoder_widths: tuple[int, ...] | None = None  # explicit channels per stage, from waveform to latent
    decoder_widths: tuple[int, ...] | None = None  # the same for the decoder, from latent to waveform

    def __post_init__(self) -> None:
        require_int("codec", vae_dim=self.vae_dim, channels=self.channels, patch_samples=self.patch_samples)
        require_int("codec", encoder_n_filters=self.encoder_n_filters, decoder_n_filters=self.decoder_n_filters)
        require_int("codec", ffn_expansion=self.ffn_expansion)
        for name in ("encoder_ratios", "up_ratios", "down_widths", "up_widths"):
            for value in getattr(self, name):
                require_int("codec", **{name: value})
        for depth in (*self.down_depths, *self.up_depths):
            require_int("codec", 0, MOST, depth=depth)
        supported = {
            "causal": (True,),
            "conv_norm": ("none",),
            "pad_mode": ("constant",),
            "mixer_layer": ("depthwise_conv", "conv"),
            "layernorm": ("RMSNorm", "LN"),
            "std_dist_type": ("gaussian", "fix", "none"),
        }
        for name, allowed in supported.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(f"codec.{name} must be one of {allowed}, got {getattr(self, name)!r}")
        stages = len(self.encoder_ratios) + 1
        for name in ("down_depths", "up_depths", "down_widths", "up_widths"):
            if len(getattr(self, name)) != stages:
                raise ConfigError(
                    f"codec.{name} needs {stages} entries, one more than ratios, got {getattr(self, name)}"
                )
        if math.prod(self.up_ratios) != math.prod(self.encoder_ratios):
            raise ConfigError(f"codec: {self.encoder_ratios} and {self.up_ratios} make frames of different length")
        if not self.layernorm_eps > 0:
            raise ConfigError(f"codec.layernorm_eps must be positive, got {self.layernorm_eps}")

    @property
    def hop_samples(self) -> int:
        """Samples of one frame: 3200 = 8*5*5*4*2*2 in the published codec."""
        return math.prod(self.encoder_ratios) * self.patch_samples

    @property
    def up_ratios(self) -> tuple[int, ...]:
        return self.decoder_ratios or self.encoder_ratios

    @property
    def down_depths(self) -> tuple[int, ...]:
        return _depths(self.encoder_depths)

    @property
    def up_depths(self) -> tuple[int, ...]:
        given = self.decoder_depths
        return _depths(given) if isinstance(given, str) else self.down_depths[::-1]

    @property
    def down_widths(self) -> tuple[int, ...]:
        return self.encoder_widths or tuple(self.encoder_n_filters * 2**i for i in range(len(self.encoder_ratios) + 1))

    @property
    def up_widths(self) -> tuple[int, ...]:
        count = len(self.up_ratios)
        return self.decoder_widths or tuple(self.decoder_n_filters * 2 ** (count - i) for i in range(count + 1))


def _depths(value: str | tuple[int, ...]) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in (value.split("-") if isinstance(value, str) else value))
    except (TypeError, ValueError):
        raise ConfigError(f"codec depths must be numbers joined by dashes, got {value!r}") from None


@dataclass
class StackState(State):
    """Memory of a codec half, convolution by convolution, in the order audio passes them."""

    stem: ConvState
    resamplers: list[ConvState]  # between the stages
    mixers: list[list[ConvState]]  # per stage and block
    head: ConvState


class FeedForward(nn.Module):
    """W2 gelu(W1 x), exact GELU."""

    def __init__(self, dim: int, expansion: int) -> None:
        super().__init__()
        self.up = Linear(dim, expansion * dim)
        self.down = Linear(expansion * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(F.gelu(self.up(x)))
        return y


class Block(nn.Module):
    """Scaled residuals of a causal mixer over time and a feed-forward over channels (ConvNeXt-like)."""

    def __init__(self, config: CodecConfig, dim: int) -> None:
        super().__init__()
        depthwise = config.mixer_layer == "depthwise_conv"
        self.norm, self.ffn_norm = _norm(config, dim), _norm(config, dim)
        self.mixer: DepthwiseCausalConv1d | CausalConv1d = (
            DepthwiseCausalConv1d(dim, KERNEL, config.conv_bias)
            if depthwise
            else CausalConv1d(dim, dim, KERNEL, bias=config.conv_bias)
        )
        self.ffn = FeedForward(dim, config.ffn_expansion)
        scaled = config.layer_scale_init_value > 0
        self.gamma = nn.Parameter(torch.full((dim,), config.layer_scale_init_value)) if scaled else None
        self.ffn_gamma = nn.Parameter(torch.full((dim,), config.layer_scale_init_value)) if scaled else None

    def forward(self, x: Tensor, state: ConvState | None = None) -> Tensor:
        """x [B, T, C] to [B, T, C]."""
        x = x + _scaled(self.mixer(self.norm(x), state), self.gamma)
        return x + _scaled(self.ffn(self.ffn_norm(x)), self.ffn_gamma)


def _scaled(x: Tensor, scale: Tensor | None) -> Tensor:
    return x if scale is None else x * scale


def _norm(config: CodecConfig, dim: int) -> nn.Module:
    if config.layernorm == "LN":
        return nn.LayerNorm(dim, config.layernorm_eps, elementwise_affine=config.layernorm_elementwise_affine)
    return RMSNorm(dim, config.layernorm_eps, affine=config.layernorm_elementwise_affine)


class _Stack(nn.Module):
    """What encoder and decoder share: stem, stages of blocks with resamplers between them, norm, head."""

    stem: CausalConv1d
    resamplers: nn.ModuleList
    head: CausalConv1d | CausalConvTranspose1d

    def _build_stages(self, config: CodecConfig, widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
        self.stages = nn.ModuleList(
            nn.ModuleList(Block(config, width) for _ in range(depth))
            for width, depth in zip(widths, depths, strict=True)
        )
        self.norm = nn.Identity() if config.disable_last_norm else _norm(config, widths[-1])

    def init_state(self, batch: int) -> StackState:
        return StackState(
            stem=self.stem.init_state(batch),
            resamplers=[cast(CausalConv1d | CausalConvTranspose1d, r).init_state(batch) for r in self.resamplers],
            mixers=[[block.mixer.init_state(batch) for block in self._blocks(i)] for i in range(len(self.stages))],
            head=self.head.init_state(batch),
        )

    def _stage(self, i: int, x: Tensor, state: StackState | None) -> Tensor:
        for j, block in enumerate(self._blocks(i)):
            x = block(x, state and state.mixers[i][j])
        return x

    def _blocks(self, i: int) -> list[Block]:
        return cast(list[Block], list(cast(nn.ModuleList, self.stages[i])))


class Encoder(_Stack):
    """Waveform to latent means: stem, then stages that halve the rate and widen the channels, then a head."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        widths, patch, bias = config.down_widths, config.patch_samples, config.conv_bias
        self.stem = CausalConv1d(config.channels, widths[0], _patch_kernel(patch), patch, bias)
        self.resamplers = nn.ModuleList(
            CausalConv1d(a, b, 2 * ratio, ratio, bias)
            for a, b, ratio in zip(widths, widths[1:], config.encoder_ratios[::-1], strict=False)
        )
        self._build_stages(config, widths, config.down_depths)
        self.head = CausalConv1d(widths[-1], config.vae_dim, KERNEL, bias=bias)

    def forward(self, waveform: Tensor, state: StackState | None = None, is_final: bool = False) -> Tensor:
        """Waveform [B, 1, T] to means [B, ceil(T / hop), D].

        A stream is fed multiples of the hop; with `is_final` the last chunk may have any length, and zeros are
        appended layer by layer as one-shot encoding does.
        """
        x = self.stem(waveform.transpose(1, 2), state and state.stem, is_final)
        x = self._stage(0, x, state)
        for i, down in enumerate(self.resamplers):
            x = self._stage(i + 1, down(x, state and state.resamplers[i], is_final), state)
        y: Tensor = self.head(self.norm(x), state and state.head)
        return y


class Decoder(_Stack):
    """Latents to waveform: the encoder's mirror image, every frame heard at once."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        widths, patch, bias = config.up_widths, config.patch_samples, config.conv_bias
        self.stem = CausalConv1d(config.vae_dim, widths[0], KERNEL, bias=bias)
        self.resamplers = nn.ModuleList(
            CausalConvTranspose1d(a, b, ratio, bias)
            for a, b, ratio in zip(widths, widths[1:], config.up_ratios, strict=False)
        )
        self._build_stages(config, widths, config.up_depths)
        self.head = (
            CausalConvTranspose1d(widths[-1], config.channels, patch, bias)
            if patch > 1
            else CausalConv1d(widths[-1], config.channels, KERNEL, bias=bias)
        )

    def forward(self, latents: Tensor, state: StackState | None = None) -> Tensor:
        """Latents [B, N, D] to waveform [B, 1, N * hop]; the layout is fixed, never guessed from the shape."""
        x = self._stage(0, self.stem(latents, state and state.stem), state)
        for i, up in enumerate(self.resamplers):
            x = self._stage(i + 1, up(x, state and state.resamplers[i]), state)
        y: Tensor = self.head(self.norm(x), state and state.head)
        return y.transpose(1, 2)


def _patch_kernel(patch: int) -> int:
    return KERNEL if patch == 1 else 2 * patch


class Codec(nn.Module):
    """Encoder and decoder of one latent space; either may be absent, as in published checkpoints."""

    def __init__(self, config: CodecConfig, has_encoder: bool = True, has_decoder: bool = True) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config) if has_encoder else None
        self.decoder = Decoder(config) if has_decoder else None

    def sample(self, mean: Tensor, noise: Tensor, scale_noise: Tensor | None = None) -> Tensor:
        """A latent from the encoder's mean [B, N, D] and normal draws: noise [B, N, D], scale_noise [B].

        gaussian: one scale per row, drawn from N(0, fix_std / 0.8), possibly negative; fix: fix_std; none: the mean.
        """
        kind, std = self.config.std_dist_type, self.config.fix_std
        if kind == "none":
            return mean
        if kind == "fix":
            return mean + std * noise
        assert scale_noise is not None, "gaussian sampling needs one scale draw per row"
        return mean + (scale_noise * (std / 0.8)).view(-1, 1, 1) * noise
