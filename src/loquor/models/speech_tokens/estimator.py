"""The velocity of flow matching: a U-Net over mel frames with Transformer blocks, as in Matcha-TTS (Mehta et al. 2023,
arXiv:2309.03199, section 2.2), deep in the middle and only one level down.
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

KERNEL = 3
NORM_GROUPS = 8
FFN_EXPANSION = 4
TIME_EXPANSION = 4
TIME_SCALE = 1000.0


@dataclass(frozen=True)
class EstimatorConfig:
    """Shape of the U-Net."""

    in_channels: int  # noisy mel, mean, speaker and known mel, one on the other
    out_channels: int
    channels: tuple[int, ...]  # of the levels, first to deepest
    blocks_per_stage: int
    mid_stages: int
    heads: int
    head_dim: int

    def __post_init__(self) -> None:
        sizes = {name: value for name, value in vars(self).items() if name not in ("channels", "mid_stages")}
        require_int("estimator", **sizes)
        require_int("estimator", maximum=MOST, levels=len(self.channels))
        require_int("estimator", minimum=0, maximum=MOST, mid_stages=self.mid_stages)
        for width in self.channels:
            require_int("estimator", channels=width)
        if self.in_channels % 2 or any(width % NORM_GROUPS for width in self.channels):
            raise ConfigError(f"estimator: channels {self.channels} are no multiples of {NORM_GROUPS}")


class ConvNorm(nn.Module):
    """Convolution, norm over groups of channels and all of time, Mish."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, KERNEL, padding=KERNEL // 2)
        self.norm = nn.GroupNorm(NORM_GROUPS, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.mish(self.norm(self.conv(x)))


class Resnet(nn.Module):
    """Two convolutions with the time between them, and a way around."""

    def __init__(self, in_channels: int, out_channels: int, time_width: int) -> None:
        super().__init__()
        self.first, self.second = ConvNorm(in_channels, out_channels), ConvNorm(out_channels, out_channels)
        self.time = nn.Linear(time_width, out_channels)
        self.around = nn.Conv1d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x [B, C, T], time [B, E], to [B, C', T]."""
        y = self.first(x) + self.time(F.mish(time))[..., None]
        return cast(Tensor, self.second(y) + self.around(x))


class TransformerBlock(nn.Module):
    """Pre-norm attention over all frames, and a feed-forward."""

    def __init__(self, width: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, inner = heads, heads * head_dim
        self.attention_norm, self.ffn_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.out = nn.Linear(inner, width)
        self.up, self.down = nn.Linear(width, FFN_EXPANSION * width), nn.Linear(FFN_EXPANSION * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, C] to [B, T, C]."""
        y = self.attention_norm(x)
        q, k, v = (f(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return cast(Tensor, x + self.down(F.gelu(self.up(self.ffn_norm(x)))))


class Stage(nn.Module):
    """A resnet, Transformer blocks, and what leads to the next level, if anything does."""

    def __init__(self, config: EstimatorConfig, widths: tuple[int, int], time_width: int, to_next: nn.Module | None):
        super().__init__()
        self.resnet = Resnet(*widths, time_width)
        self.blocks = nn.ModuleList(
            TransformerBlock(widths[1], config.heads, config.head_dim) for _ in range(config.blocks_per_stage)
        )
        self.to_next = to_next

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x [B, C, T] to [B, C', T]; `to_next` is the caller's to apply."""
        y = self.resnet(x, time).transpose(1, 2)
        for block in self.blocks:
            y = block(y)
        return cast(Tensor, y.transpose(1, 2))


class Estimator(nn.Module):
    """Noisy mel and what it shall become to a velocity."""

    def __init__(self, config: EstimatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.channels
        time_width = TIME_EXPANSION * widths[0]
        self.time_in, self.time_out = nn.Linear(config.in_channels, time_width), nn.Linear(time_width, time_width)
        down = list(pairwise((config.in_channels, *widths)))
        up = [(2 * a, b) for a, b in pairwise((*widths[::-1], widths[0]))]
        deepest = len(widths) - 1
        self.down = nn.ModuleList(
            Stage(config, pair, time_width, _down(pair[1], i < deepest)) for i, pair in enumerate(down)
        )
        middle = (widths[-1], widths[-1])
        self.mid = nn.ModuleList(Stage(config, middle, time_width, None) for _ in range(config.mid_stages))
        self.up = nn.ModuleList(Stage(config, pair, time_width, _up(pair[1], i < deepest)) for i, pair in enumerate(up))
        self.last = ConvNorm(widths[0], widths[0])
        self.out = nn.Conv1d(widths[0], config.out_channels, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x [B, in_channels, T], time [B] from 0 (noise) to 1, to a velocity [B, out_channels, T]."""
        embedded = self.time_out(F.silu(self.time_in(self._sines(time))))
        skips = []
        for stage in cast(list[Stage], list(self.down)):
            skips.append(stage(x, embedded))
            x = cast(nn.Module, stage.to_next)(skips[-1])
        for middle in self.mid:
            x = middle(x, embedded)
        for stage in cast(list[Stage], list(self.up)):
            skip = skips.pop()
            x = stage(torch.cat([x[..., : skip.shape[-1]], skip], 1), embedded)  # halving rounds up: one frame too many
            x = cast(nn.Module, stage.to_next)(x)
        return cast(Tensor, self.out(self.last(x)))

    def _sines(self, time: Tensor) -> Tensor:
        """time [B] to [B, in_channels]: the sines, then the cosines."""
        half = self.config.in_channels // 2
        rates = torch.exp(torch.arange(half, device=time.device) * (-math.log(10_000) / (half - 1)))
        angles = TIME_SCALE * time[:, None] * rates
        return torch.cat([angles.sin(), angles.cos()], -1)


def _down(width: int, halves: bool) -> nn.Conv1d:
    return nn.Conv1d(width, width, KERNEL, stride=2 if halves else 1, padding=KERNEL // 2)


def _up(width: int, doubles: bool) -> nn.Module:
    return nn.ConvTranspose1d(width, width, 4, 2, 1) if doubles else nn.Conv1d(width, width, KERNEL, padding=1)
