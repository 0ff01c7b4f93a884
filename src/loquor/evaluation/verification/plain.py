"""The arithmetic of every block as its paper writes it, in float64: slow, and different from what runs.

Nothing is fused, cached or batched here, and no kernel of torch for attention is used; weights are taken from the
modules that are to be checked. What a part computes must be equal to this but for rounding.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loquor.models.codec import Block, Decoder, Encoder
from loquor.models.connector import Connector
from loquor.models.realtime.model import EndClassifier
from loquor.nn.attention import Attention
from loquor.nn.conv import CausalConv1d, CausalConvTranspose1d, DepthwiseCausalConv1d
from loquor.nn.diffusion_head import FREQUENCIES, LONGEST_PERIOD, DiffusionHead, HeadLayer
from loquor.nn.norm import RMSNorm
from loquor.nn.qwen2 import DecoderLayer, GatedFeedForward


def linear(module: nn.Linear, x: Tensor) -> Tensor:
    y = x.double() @ module.weight.double().T
    return y if module.bias is None else y + module.bias.double()


def norm(module: nn.Module, x: Tensor) -> Tensor:
    """Root-mean-square normalisation, layer normalisation, or none."""
    x = x.double()
    if isinstance(module, nn.Identity):
        return x
    if isinstance(module, nn.LayerNorm):
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + module.eps).sqrt()
        bias = 0 if module.bias is None else module.bias.double()
        return x if module.weight is None else x * module.weight.double() + bias
    assert isinstance(module, RMSNorm)
    y = x / (x.square().mean(-1, keepdim=True) + module.eps).sqrt()
    return y if module.weight is None else y * module.weight.double()


def rotary(positions: Tensor, width: int, theta: float) -> Tensor:
    """e^(i p theta^(-2j / D)) for positions [T]: complex [T, D / 2]."""
    rates = theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = positions.double()[:, None] * rates
    return torch.polar(torch.ones_like(angles), angles)


def attention(module: Attention, x: Tensor, turn: Tensor) -> Tensor:
    """x [B, T, dim] to [B, T, dim], row by row and head by head; `turn` is complex [T, D / 2]."""
    heads, kv_heads, width = module.heads, module.kv_heads, module.head_dim
    q, k, v = torch.split(linear(module.qkv, x), [heads * width, kv_heads * width, kv_heads * width], -1)
    future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
    out = []
    for h in range(heads):
        shared = h // (heads // kv_heads)
        query, key = (_turned(t[..., i * width : (i + 1) * width], turn) for t, i in ((q, h), (k, shared)))
        scores = (query @ key.transpose(1, 2) / math.sqrt(width)).masked_fill(future, -math.inf)
        out.append(scores.softmax(-1) @ v[..., shared * width : (shared + 1) * width])
    return linear(module.out, torch.cat(out, -1))


def _turned(x: Tensor, turn: Tensor) -> Tensor:
    """x [..., D], of which number j and j + D / 2 are the parts of a complex number."""
    real, imaginary = x.chunk(2, -1)
    turned = torch.complex(real, imaginary) * turn
    return torch.cat([turned.real, turned.imag], -1)


def gated(module: GatedFeedForward, x: Tensor) -> Tensor:
    gate, up = linear(module.gate_up, x).chunk(2, -1)
    return linear(module.down, gate * gate.sigmoid() * up)


def decoder_layer(module: DecoderLayer, x: Tensor, turn: Tensor) -> Tensor:
    x = x.double() + attention(module.attention, norm(module.attention_norm, x), turn)
    return x + gated(module.ffn, norm(module.ffn_norm, x))


def head(module: DiffusionHead, noisy: Tensor, timesteps: Tensor, condition: Tensor) -> Tensor:
    """noisy [N, D], timesteps [N], condition [N, H] to the velocity [N, D]."""
    half = FREQUENCIES // 2
    angles = timesteps.double()[:, None] * LONGEST_PERIOD ** (-torch.arange(half, dtype=torch.float64) / half)
    first = linear(module.time_embedding.fc1, torch.cat([angles.cos(), angles.sin()], -1))
    mixed = linear(module.condition_in, condition) + linear(module.time_embedding.fc2, first * first.sigmoid())
    act = mixed * mixed.sigmoid()
    x = linear(module.latent_in, noisy)
    for layer in cast(list[HeadLayer], list(module.layers)):
        shift, scale, gate = linear(layer.modulation, act).chunk(3, -1)
        x = x + gate * gated(layer.ffn, norm(layer.norm, x) * (1 + scale) + shift)
    shift, scale = linear(module.output.modulation, act).chunk(2, -1)
    return linear(module.output.latent_out, norm(module.output.norm, x) * (1 + scale) + shift)


def connector(module: Connector, x: Tensor) -> Tensor:
    return linear(module.outward, norm(module.norm, linear(module.inward, x)))


def end_classifier(module: EndClassifier, x: Tensor) -> Tensor:
    return linear(module.fc2, linear(module.fc1, x).clamp(min=0))[..., 0]


def codec_half(module: Encoder | Decoder, x: Tensor) -> Tensor:
    """Encoder or decoder on channels first [B, C, T], one convolution after the other."""
    x = _convolved(module.stem, x)
    for i, stage in enumerate(cast(list[nn.ModuleList], list(module.stages))):
        x = _convolved(module.resamplers[i - 1], x) if i else x
        for block in cast(list[Block], list(stage)):
            x = _block(block, x)
    return _convolved(module.head, norm(module.norm, x.transpose(1, 2)).transpose(1, 2))


def _block(block: Block, x: Tensor) -> Tensor:
    mixed = _convolved(block.mixer, norm(block.norm, x.transpose(1, 2)).transpose(1, 2)).transpose(1, 2)
    y = x.transpose(1, 2) + (mixed if block.gamma is None else mixed * block.gamma.double())
    inner = linear(block.ffn.up, norm(block.ffn_norm, y))
    fed = linear(block.ffn.down, inner * (1 + torch.erf(inner / math.sqrt(2))) / 2)
    y = y + (fed if block.ffn_gamma is None else fed * block.ffn_gamma.double())
    return y.transpose(1, 2)


def _convolved(module: nn.Module, x: Tensor) -> Tensor:
    """x [B, C, T] through a convolution whose weights are put back into the published order."""
    if isinstance(module, CausalConvTranspose1d):
        before, now = module.weight.double().view(module.stride, module.out_channels, 2, module.in_channels).unbind(2)
        weight = torch.cat([now, before]).permute(2, 1, 0)  # [C_in, C_out, K]
        y = F.conv_transpose1d(x.double(), weight, stride=module.stride)[..., : x.shape[-1] * module.stride]
        return y if module.bias is None else y + module.bias.double()[:, None]
    assert isinstance(module, CausalConv1d | DepthwiseCausalConv1d)
    bias = None if module.bias is None else module.bias.double()
    if isinstance(module, DepthwiseCausalConv1d):
        past = F.pad(x.double(), (module.past_samples, 0))
        return F.conv1d(past, module.weight.double(), bias, groups=module.channels)
    weight = module.weight.double().view(len(module.weight), -1, module.in_channels).transpose(1, 2)
    padded = F.pad(x.double(), (module.past_samples, -x.shape[-1] % module.stride))
    return F.conv1d(padded, weight, bias, stride=module.stride)
