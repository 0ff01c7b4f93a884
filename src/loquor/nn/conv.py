"""Causal convolutions over time, channels last, each one a single matrix product per call.

A window of K = m * stride inputs is m blocks of `stride` samples: the convolution is a product over the blocks
[oldest, ..., newest], and a transposed convolution with K = 2 * stride is a product over [previous, current] input.
So the same line serves training, one-shot and streaming use, and one frame costs one matrix-vector product.
Source: causal convolutions of the VibeVoice tokenizer (arXiv:2508.19205, section 2.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loquor.errors import ConfigError
from loquor.nn.linear import product
from loquor.state import State


@dataclass
class ConvState(State):
    """What a causal convolution remembers."""

    past: Tensor  # [B, P, C_in], the last P inputs; zeros at the start of a stream


def _continue(x: Tensor, past_samples: int, state: ConvState | None) -> Tensor:
    """x [B, T, C] with its P past inputs in front; the state then holds the last P of them."""
    if state is None:
        return F.pad(x, (0, 0, past_samples, 0))
    joined = torch.cat([state.past, x], 1)
    state.past.copy_(joined[:, joined.shape[1] - past_samples :])
    return joined


class CausalConv1d(nn.Module):
    """Convolution without look-ahead: T inputs give ceil(T / stride) outputs.

    One-shot, or with `is_final`, a last incomplete block is filled with zeros; a stream that goes on must be fed
    multiples of `stride`. Weight [C_out, K * C_in], taps outermost.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        if kernel % stride:
            raise ConfigError(f"a causal convolution of kernel {kernel} needs a stride that divides it, got {stride}")
        self.in_channels, self.stride, self.taps = in_channels, stride, kernel // stride
        self.past_samples = kernel - stride
        self.weight = nn.Parameter(torch.empty(out_channels, kernel * in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def init_state(self, batch: int) -> ConvState:
        return ConvState(past=self.weight.new_zeros(batch, self.past_samples, self.in_channels))

    def forward(self, x: Tensor, state: ConvState | None = None, is_final: bool = False) -> Tensor:
        """x [B, T, C_in] to [B, ceil(T / stride), C_out]."""
        missing = -x.shape[1] % self.stride
        assert not missing or state is None or is_final, "a stream is cut at multiples of the stride"
        x = _continue(F.pad(x, (0, 0, 0, missing)) if missing else x, self.past_samples, state)
        blocks = x.reshape(x.shape[0], x.shape[1] // self.stride, self.stride * self.in_channels)
        count = blocks.shape[1] - self.taps + 1
        window = torch.cat([blocks[:, i : i + count] for i in range(self.taps)], -1)
        return product(window, self.weight, self.bias)


class DepthwiseCausalConv1d(nn.Module):
    """One causal filter of `kernel` taps per channel, stride 1. Weight [C, 1, K]."""

    def __init__(self, channels: int, kernel: int, bias: bool = True) -> None:
        super().__init__()
        self.channels, self.past_samples = channels, kernel - 1
        self.weight = nn.Parameter(torch.empty(channels, 1, kernel))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def init_state(self, batch: int) -> ConvState:
        return ConvState(past=self.weight.new_zeros(batch, self.past_samples, self.channels))

    def forward(self, x: Tensor, state: ConvState | None = None) -> Tensor:
        """x [B, T, C] to [B, T, C]."""
        x = _continue(x, self.past_samples, state)
        if torch.is_grad_enabled() or x.device.type != "cpu":
            return F.conv1d(x.transpose(1, 2), self.weight, self.bias, groups=self.channels).transpose(1, 2)
        return self._by_tap(x)

    def _by_tap(self, x: Tensor) -> Tensor:
        """The same, one tap after the other, summed in fp32: a CPU's library turns all to another layout and back,
        which takes longer."""
        steps, x32 = x.shape[1] - self.past_samples, x.float()
        first, *others = self.weight[:, 0].t().float().contiguous()
        now = x32[:, :steps]
        y = now * first if self.bias is None else torch.addcmul(self.bias.float(), now, first)
        for i, tap in enumerate(others, 1):
            y.addcmul_(x32[:, i : i + steps], tap)
        return y.to(x.dtype)


class CausalConvTranspose1d(nn.Module):
    """Upsampler without look-ahead: T inputs give T * stride outputs; kernel 2 * stride, one past input remembered.

    Weight [stride * C_out, 2 * C_in]: output j of a block is a product over [previous, current] input.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, bias: bool = True) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.stride = in_channels, out_channels, stride
        self.weight = nn.Parameter(torch.empty(stride * out_channels, 2 * in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def init_state(self, batch: int) -> ConvState:
        return ConvState(past=self.weight.new_zeros(batch, 1, self.in_channels))

    def forward(self, x: Tensor, state: ConvState | None = None) -> Tensor:
        """x [B, T, C_in] to [B, T * stride, C_out]."""
        batch, length, _ = x.shape
        x = _continue(x, 1, state)
        y = product(torch.cat([x[:, :-1], x[:, 1:]], -1), self.weight)
        y = y.view(batch, length * self.stride, self.out_channels)
        return y if self.bias is None else y + self.bias
