"""A model's weights as OpenVINO's graphs take them: matrices in eight bits, and whatever can be multiplied beforehand.

Norms, layer scales and the softmax's temperature are folded into the matrices that follow or precede them. A matrix is
stored as whole numbers of -127 to 127 with a scale for each output; what is small, and would gain nothing, stays in
float32, and so do the two matrices that embed a timestep, which are used once for a solver's plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from loquor.models.codec import Block
from loquor.models.codec import Decoder as CodecDecoder
from loquor.models.connector import Connector
from loquor.models.realtime.model import SPEECH_TYPE, EndClassifier, RealtimeModel
from loquor.nn.conv import CausalConv1d, CausalConvTranspose1d, DepthwiseCausalConv1d
from loquor.nn.diffusion_head import DiffusionHead, HeadLayer
from loquor.nn.norm import RMSNorm
from loquor.nn.qwen2 import Decoder, DecoderLayer

Named = Iterator[tuple[str, Tensor]]

LEAST_SIZE = 2**14  # numbers of a matrix that is worth eight bits
LARGEST = 127


def quantised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix [O, I] as int8 and its scales [O, 1], each row's largest number being 127."""
    weight = weight.float()
    scale = weight.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / LARGEST
    return (weight / scale).round().clamp(-LARGEST, LARGEST).to(torch.int8), scale


@torch.no_grad()
def weights_of(model: RealtimeModel) -> Named:
    """All of them, one after the other, so that no more than one is in memory twice."""
    yield "embedding", model.embedding.weight.half()
    yield "types", model.types.weight.float()
    yield from _language_model("text", model.text_model)
    yield from _language_model("speech", model.speech_model)
    yield from _connector(model)
    yield from _end_classifier(model.end_classifier)
    yield from _head(model.head)
    yield "latent.scale", model.latent_scale.scale.float()
    yield "latent.bias", model.latent_scale.bias.float()
    assert model.codec.decoder is not None
    yield from _decoder(model.codec.decoder)


def _matrix(name: str, weight: Tensor, bias: Tensor | None = None, gain: Tensor | None = None) -> Named:
    """A product's weight [O, I] and bias; `gain` [I] multiplies its input."""
    weight = weight.float() if gain is None else weight.float() * gain.float()
    if weight.numel() >= LEAST_SIZE:
        weight, scale = quantised(weight)
        yield f"{name}.scale", scale
    yield f"{name}.weight", weight
    if bias is not None:
        yield f"{name}.bias", bias.float()


def _language_model(name: str, model: Decoder) -> Named:
    for i, module in enumerate(model.layers):
        layer, prefix = cast(DecoderLayer, module), f"{name}.{i}"
        attention, queries = layer.attention, layer.attention.heads * layer.attention.head_dim
        temperature = torch.ones(len(attention.qkv.weight))
        temperature[:queries] = attention.head_dim**-0.5
        qkv, bias = attention.qkv.weight.float() * temperature[:, None], attention.qkv.bias * temperature
        yield from _matrix(f"{prefix}.qkv", qkv, bias, layer.attention_norm.weight)
        yield from _matrix(f"{prefix}.out", attention.out.weight)
        yield from _matrix(f"{prefix}.gate_up", layer.ffn.gate_up.weight, gain=layer.ffn_norm.weight)
        yield from _matrix(f"{prefix}.down", layer.ffn.down.weight)
    if isinstance(model.norm, RMSNorm):
        assert model.norm.weight is not None
        yield f"{name}.norm", model.norm.weight.float()


def _connector(model: RealtimeModel) -> Named:
    connector: Connector = model.connector
    yield from _matrix("connector.inward", connector.inward.weight, connector.inward.bias)
    outward, bias = connector.outward, connector.outward.bias.float() + model.types.weight[SPEECH_TYPE].float()
    yield from _matrix("connector.outward", outward.weight, bias, connector.norm.weight)


def _end_classifier(classifier: EndClassifier) -> Named:
    yield from _matrix("end.fc1", classifier.fc1.weight, classifier.fc1.bias)
    yield from _matrix("end.fc2", classifier.fc2.weight, classifier.fc2.bias)


def _head(head: DiffusionHead) -> Named:
    """One matrix for the shifts, scales and gates of all layers; a layer's norm is in its scales: w (1 + s)."""
    hidden = head.config.hidden_size
    yield from _matrix("head.latent_in", head.latent_in.weight)
    yield from _matrix("head.condition_in", head.condition_in.weight)
    yield "head.time.fc1", head.time_embedding.fc1.weight.float()
    yield "head.time.fc2", head.time_embedding.fc2.weight.float()
    modulators, biases = list[Tensor](), list[Tensor]()
    for i, module in enumerate(head.layers):
        layer = cast(HeadLayer, module)
        shift, scale, gate = layer.modulation.weight.float().chunk(3)
        norm = cast(Tensor, layer.norm.weight).float()
        modulators += [shift, norm[:, None] * scale, gate]
        biases += [torch.zeros(hidden), norm, torch.zeros(hidden)]
        yield from _matrix(f"head.{i}.gate_up", layer.ffn.gate_up.weight)
        yield from _matrix(f"head.{i}.down", layer.ffn.down.weight)
    modulators += [head.output.modulation.weight.float()]
    biases += [torch.zeros(hidden), torch.ones(hidden)]
    yield from _matrix("head.modulation", torch.cat(modulators), torch.cat(biases))
    yield from _matrix("head.latent_out", head.output.latent_out.weight)


def _decoder(decoder: CodecDecoder) -> Named:
    yield from _convolution("decoder.stem", decoder.stem)
    for i, stage in enumerate(decoder.stages):
        if i:
            yield from _convolution(f"decoder.up.{i}", cast(CausalConvTranspose1d, decoder.resamplers[i - 1]))
        for j, block in enumerate(cast(nn.ModuleList, stage)):
            yield from _block(f"decoder.{i}.{j}", cast(Block, block))
    if not isinstance(decoder.norm, nn.Identity):
        yield from _norm("decoder.norm", decoder.norm)
    yield from _convolution("decoder.head", decoder.head)


def _convolution(name: str, layer: CausalConv1d | CausalConvTranspose1d) -> Named:
    """Of a transposed convolution the bias is one for each output channel, whatever its place in the stride."""
    yield from _matrix(name, layer.weight, None)
    if layer.bias is not None:
        yield f"{name}.bias", layer.bias.float()


def _block(name: str, block: Block) -> Named:
    """The norms' weights and the layer scales are in the matrices between them; a layer norm's bias cannot be, as
    what lies before a stream's beginning is zero, not the bias."""
    mixer, gamma = block.mixer, 1.0 if block.gamma is None else block.gamma.float()
    yield from _norm(f"{name}.norm", block.norm)
    yield from _norm(f"{name}.ffn_norm", block.ffn_norm)
    if isinstance(mixer, DepthwiseCausalConv1d):
        yield f"{name}.mixer.weight", mixer.weight.float() * torch.as_tensor(gamma).reshape(-1, 1, 1)
        if mixer.bias is not None:
            yield f"{name}.mixer.bias", mixer.bias.float() * gamma
    else:
        bias = None if mixer.bias is None else mixer.bias.float() * gamma
        yield from _matrix(f"{name}.mixer", mixer.weight.float() * torch.as_tensor(gamma).reshape(-1, 1), bias)
    gamma = 1.0 if block.ffn_gamma is None else block.ffn_gamma.float()
    yield from _matrix(f"{name}.up", block.ffn.up.weight, block.ffn.up.bias)
    down = block.ffn.down.weight.float() * torch.as_tensor(gamma).reshape(-1, 1)
    yield from _matrix(f"{name}.down", down, block.ffn.down.bias.float() * gamma)


def _norm(name: str, norm: nn.Module) -> Named:
    for part, parameter in norm.named_parameters():
        yield f"{name}.{part}", parameter.float()
