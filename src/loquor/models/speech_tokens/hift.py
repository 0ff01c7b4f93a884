"""Mel spectrum to waveform: HiFTNet (Li et al. 2023, arXiv:2309.09493), the vocoder of GLM-4-Voice's decoder.

A pitch is read off the spectrum, sines of it and their harmonics are the voice's source (see `source`), and a HiFi-GAN
shapes the source's spectrum into that of speech, from which an inverse Fourier transform makes the waveform.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loquor.configs import MOST, require_int
from loquor.errors import ConfigError

EDGE_KERNEL = 7  # of the first and last convolution
PITCH_KERNEL, PITCH_LAYERS = 3, 5
LOUDEST = 100.0  # magnitude of a bin
SLOPE_AT_END = 0.01  # of the last leaky ReLU, which the reference leaves at torch's default
SMALLEST = 1e-9  # keeps Snake from dividing by zero
Dilations = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class VocoderConfig:
    """Shape of the vocoder and of its source."""

    mel_bins: int
    base_channels: int
    sample_rate_hz: int
    upsample_rates: tuple[int, ...]
    upsample_kernels: tuple[int, ...]
    fft_samples: int
    fft_hop_samples: int
    kernels: tuple[int, ...]  # of the residual blocks, side by side
    dilations: Dilations
    source_kernels: tuple[int, ...]  # one for each upsampling
    source_dilations: Dilations
    pitch_channels: int
    harmonics: int  # beyond the fundamental
    sine_level: float
    noise_level: float
    voiced_from_hz: float
    slope: float  # of the leaky ReLUs inside
    limit: float  # of a sample

    def __post_init__(self) -> None:
        names = ("mel_bins", "base_channels", "sample_rate_hz", "fft_samples", "fft_hop_samples", "pitch_channels")
        require_int("vocoder", **{name: getattr(self, name) for name in names})
        require_int("vocoder", minimum=0, maximum=MOST, harmonics=self.harmonics)
        lists = (self.upsample_rates, self.upsample_kernels, self.kernels, self.source_kernels)
        for value in (n for row in (*lists, *self.dilations, *self.source_dilations) for n in row):
            require_int("vocoder", maximum=MOST, sizes=value)
        stages = len(self.upsample_rates)
        if {len(self.upsample_kernels), len(self.source_kernels), len(self.source_dilations)} != {stages} or not stages:
            raise ConfigError("vocoder: upsampling and source have different numbers of stages")
        if len(self.kernels) != len(self.dilations) or not self.kernels:
            raise ConfigError("vocoder: every residual kernel needs its dilations")
        if any((k - r) % 2 or k < r for k, r in zip(self.upsample_kernels, self.upsample_rates, strict=True)):
            raise ConfigError("vocoder: kernels of upsampling must exceed their rates by even numbers")
        if any(k % 2 == 0 for k in (*self.kernels, *self.source_kernels)) or self.base_channels % 2**stages:
            raise ConfigError("vocoder: residual kernels must be odd, and channels divisible at every stage")

    @property
    def frame_samples(self) -> int:
        """Samples of a mel frame."""
        return math.prod(self.upsample_rates) * self.fft_hop_samples

    @property
    def radius_frames(self) -> int:
        """How many frames away the mel and the source may lie that a sample depends on.

        Followed from the sample back to the input, in steps of the last transform.
        """
        spectrum = self.fft_samples // 2 // self.fft_hop_samples
        reach, source, step = spectrum + 1 + EDGE_KERNEL // 2, 0, 1  # one for the reflected frame
        for i in reversed(range(len(self.upsample_rates))):
            rate, kernel = self.upsample_rates[i], self.upsample_kernels[i]
            reach += step * max(_block_reach(k, d) for k, d in zip(self.kernels, self.dilations, strict=True))
            block = _block_reach(self.source_kernels[i], self.source_dilations[i])
            source = max(source, reach + step * (block + 1) + spectrum)
            reach += step * (kernel + rate) // 2
            step *= rate
        return -(-max(reach + step * (EDGE_KERNEL // 2), source) // step)

    @property
    def pitch_radius_frames(self) -> int:
        return PITCH_LAYERS * (PITCH_KERNEL // 2)


def _block_reach(kernel: int, dilations: tuple[int, ...]) -> int:
    return sum(kernel // 2 * (dilation + 1) for dilation in dilations)


class Snake(nn.Module):
    """x + sin(a x)^2 / a, a per channel (Ziyin et al. 2020, arXiv:2006.08195)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        alpha = self.alpha[:, None]
        return x + torch.sin(x * alpha).square() / (alpha + SMALLEST)


class ResidualBlock(nn.Module):
    """Pairs of convolutions, the first of each dilated, around which the signal goes unchanged."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.dilated = nn.ModuleList(_conv(channels, kernel, dilation) for dilation in dilations)
        self.plain = nn.ModuleList(_conv(channels, kernel, 1) for _ in dilations)
        self.before_dilated = nn.ModuleList(Snake(channels) for _ in dilations)
        self.before_plain = nn.ModuleList(Snake(channels) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for s, dilated, t, plain in zip(self.before_dilated, self.dilated, self.before_plain, self.plain, strict=True):
            x = x + plain(t(dilated(s(x))))
        return x


def _conv(channels: int, kernel: int, dilation: int) -> nn.Conv1d:
    return nn.Conv1d(channels, channels, kernel, padding=kernel // 2 * dilation, dilation=dilation)


class Pitch(nn.Module):
    """Mel spectrum to the pitch of every frame."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        widths = (config.mel_bins, *[config.pitch_channels] * PITCH_LAYERS)
        self.convs = nn.ModuleList(
            nn.Conv1d(a, b, PITCH_KERNEL, padding=PITCH_KERNEL // 2) for a, b in pairwise(widths)
        )
        self.out = nn.Linear(config.pitch_channels, 1)

    def forward(self, mel: Tensor) -> Tensor:
        """mel [B, M, T] to [B, T] Hz, never negative."""
        for conv in self.convs:
            mel = F.elu(conv(mel))
        return cast(Tensor, self.out(mel.transpose(1, 2))[..., 0].abs())


class Vocoder(nn.Module):
    """Mel frames and the source of the same time to a waveform."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.config = config
        self.pitch = Pitch(config)
        self.merge = nn.Linear(config.harmonics + 1, 1)  # of the source's sines
        self.stem = nn.Conv1d(config.mel_bins, config.base_channels, EDGE_KERNEL, padding=EDGE_KERNEL // 2)
        widths = [config.base_channels >> i for i in range(len(config.upsample_rates) + 1)]
        rates = list(zip(config.upsample_rates, config.upsample_kernels, strict=True))
        self.upsamplers = nn.ModuleList(
            nn.ConvTranspose1d(widths[i], widths[i + 1], kernel, rate, (kernel - rate) // 2)
            for i, (rate, kernel) in enumerate(rates)
        )
        later = [math.prod(config.upsample_rates[i + 1 :]) for i in range(len(rates))]
        self.source_in = nn.ModuleList(
            _downsampler(config.fft_samples + 2, widths[i + 1], rate) for i, rate in enumerate(later)
        )
        self.source_blocks = nn.ModuleList(
            ResidualBlock(widths[i + 1], kernel, config.source_dilations[i])
            for i, kernel in enumerate(config.source_kernels)
        )
        self.blocks = nn.ModuleList(
            nn.ModuleList(ResidualBlock(w, k, d) for k, d in zip(config.kernels, config.dilations, strict=True))
            for w in widths[1:]
        )
        self.out = nn.Conv1d(widths[-1], config.fft_samples + 2, EDGE_KERNEL, padding=EDGE_KERNEL // 2)

    def forward(self, mel: Tensor, source: Tensor) -> Tensor:
        """mel [B, M, T] and source [B, T * frame_samples] to a waveform [B, T * frame_samples]."""
        window = torch.hann_window(self.config.fft_samples, device=mel.device)
        size, hop = self.config.fft_samples, self.config.fft_hop_samples
        spectrum = torch.view_as_real(torch.stft(source, size, hop, window=window, return_complex=True))
        excitation = torch.cat([spectrum[..., 0], spectrum[..., 1]], 1)
        x = self.stem(mel)
        for i, upsampler in enumerate(self.upsamplers):
            x = upsampler(F.leaky_relu(x, self.config.slope))
            if i == len(self.upsamplers) - 1:
                x = F.pad(x, (1, 0), mode="reflect")  # a transform has one frame more than hops
            x = x + self.source_blocks[i](self.source_in[i](excitation))
            blocks = cast(nn.ModuleList, self.blocks[i])
            x = cast(Tensor, sum(block(x) for block in blocks)) / len(blocks)
        magnitude, phase = self.out(F.leaky_relu(x, SLOPE_AT_END)).split(size // 2 + 1, dim=1)
        shaped = torch.polar(magnitude.exp().clamp(max=LOUDEST), torch.sin(phase))
        limit = self.config.limit
        return torch.istft(shaped, size, hop, window=window).clamp(-limit, limit)


def _downsampler(in_channels: int, out_channels: int, rate: int) -> nn.Conv1d:
    if rate == 1:
        return nn.Conv1d(in_channels, out_channels, 1)
    return nn.Conv1d(in_channels, out_channels, 2 * rate, rate, rate // 2)
