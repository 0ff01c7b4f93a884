"""The codec's decoder as a graph, channels last; what it remembers comes in and goes out, convolution by convolution.

Convolutions over few inputs are products over windows, as in `loquor.nn.conv`; only those of one filter a channel are
left to OpenVINO.
"""

from __future__ import annotations

import openvino as ov
from openvino import opset13 as op

from loquor.backends.openvino.graph import (
    END,
    Node,
    Weights,
    integers,
    named,
    parameter,
    rms_normalised,
    size,
    sliced,
)
from loquor.models.codec import KERNEL, CodecConfig


class DecoderGraph:
    """The graph while it is built: inputs and outputs of memory are added as convolutions need them."""

    def __init__(self, weights: Weights, config: CodecConfig) -> None:
        self.weights, self.config = weights, config
        self.inputs, self.outputs = list[Node](), list[Node]()

    def build(self) -> ov.Model:
        """Latents [B, N, D] to waveform [B, N * hop]."""
        config, weights = self.config, self.weights
        latents = parameter("latents", (-1, -1, config.vae_dim))
        x = op.subtract(op.divide(latents, weights.constant("latent.scale")), weights.constant("latent.bias"))
        x = self._blocks(0, self._convolution(x, "stem", "stem", config.vae_dim))
        ratios, widths = config.up_ratios, config.up_widths
        for i, (ratio, width) in enumerate(zip(ratios, widths, strict=False)):
            x = self._transposed(x, f"up.{i + 1}", f"resamplers.{i}", (width, widths[i + 1], ratio))
            x = self._blocks(i + 1, x)
        x = x if config.disable_last_norm else self._normalised(x, "decoder.norm")
        if config.patch_samples > 1:
            x = self._transposed(x, "head", "head", (widths[-1], config.channels, config.patch_samples))
        else:
            x = self._convolution(x, "head", "head", widths[-1])
        waveform = op.reshape(x, op.concat([size(latents, 0), integers(-1)], 0), False)
        return ov.Model([named(waveform, "waveform"), *self.outputs], [latents, *self.inputs], "decoder")

    def _blocks(self, stage: int, x: Node) -> Node:
        width = self.config.up_widths[stage]
        for j in range(self.config.up_depths[stage]):
            prefix = f"decoder.{stage}.{j}"
            mixed = self._mixed(self._normalised(x, f"{prefix}.norm"), prefix, f"mixers.{stage}.{j}", width)
            x = op.add(x, mixed)
            inward = self.weights.linear(self._normalised(x, f"{prefix}.ffn_norm"), f"{prefix}.up")
            x = op.add(x, self.weights.linear(op.gelu(inward, "erf"), f"{prefix}.down"))
        return x

    def _normalised(self, x: Node, name: str) -> Node:
        eps = self.config.layernorm_eps
        if self.config.layernorm == "LN":
            x = op.mvn(x, integers(-1), True, eps, "inside_sqrt")
        else:
            x = rms_normalised(x, eps)
        return self.weights.scaled(x, name)

    def _mixed(self, x: Node, prefix: str, memory: str, width: int) -> Node:
        if self.config.mixer_layer == "conv":
            return self._windowed(self._remembering(x, memory, KERNEL - 1, width), f"{prefix}.mixer", x)
        joined = op.transpose(self._remembering(x, memory, KERNEL - 1, width), integers(0, 2, 1))
        kernel = op.unsqueeze(self.weights.constant(f"{prefix}.mixer.weight"), integers(1))  # [C, 1, 1, K]
        y = op.transpose(op.group_convolution(joined, kernel, [1], [0], [0], [1]), integers(0, 2, 1))
        bias = f"{prefix}.mixer.bias"
        return op.add(y, self.weights.constant(bias)) if bias in self.weights else y

    def _convolution(self, x: Node, name: str, memory: str, width: int) -> Node:
        return self._windowed(self._remembering(x, memory, KERNEL - 1, width), f"decoder.{name}", x)

    def _windowed(self, joined: Node, name: str, x: Node) -> Node:
        """A convolution of KERNEL taps as a product over windows of `joined`, which has the past in front of x."""
        count = size(x, 1)
        taps = [sliced(joined, i, op.add(count, integers(i)), 1) for i in range(KERNEL)]
        return self.weights.linear(op.concat(taps, -1), name)

    def _transposed(self, x: Node, name: str, memory: str, shape: tuple[int, int, int]) -> Node:
        """x [B, T, C_in] to [B, T * stride, C_out], of shape C_in, C_out, stride."""
        in_channels, out_channels, _ = shape
        joined = self._remembering(x, memory, 1, in_channels)
        previous = sliced(joined, 0, size(x, 1), 1)
        y = op.matmul(op.concat([previous, x], -1), self.weights.matrix(f"decoder.{name}"), False, True)
        y = op.reshape(y, op.concat([size(x, 0), integers(-1, out_channels)], 0), False)
        bias = f"decoder.{name}.bias"
        return op.add(y, self.weights.constant(bias)) if bias in self.weights else y

    def _remembering(self, x: Node, memory: str, past: int, width: int) -> Node:
        """x with its past inputs in front, of which the last are remembered."""
        before = parameter(memory, (-1, past, width))
        joined = op.concat([before, x], 1)
        self.inputs.append(before)
        self.outputs.append(named(sliced(joined, -past, END, 1), f"{memory}.next"))
        return joined
