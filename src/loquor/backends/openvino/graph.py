"""The vocabulary of our graphs: what torch's layers are in OpenVINO's operations, over weights by name.

An eight-bit matrix is a constant that is widened and scaled before its product; OpenVINO recognises that, keeps the
eight bits in memory, and rounds what they are multiplied with to eight bits as well, in groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op
from torch import Tensor

Node = Any  # openvino's nodes and their outputs, which its operations take alike

END = 2**31 - 1  # of an axis, whatever its size
HIDDEN = -1e9  # what a key that must not be seen is given


def parameter(name: str, shape: Sequence[int], kind: Any = np.float32) -> Node:
    """An input of the graph; -1 is a size known only when it runs."""
    node = op.parameter(ov.PartialShape(list(shape)), kind, name=name)
    node.output(0).get_tensor().set_names({name})
    return node


def named(node: Node, name: str) -> Node:
    """An output of the graph."""
    result = op.result(node)
    result.output(0).get_tensor().set_names({name})
    return result


def integers(*values: int) -> Node:
    return op.constant(np.array(values, np.int64))


def scalar(value: float) -> Node:
    return op.constant(np.float32(value))


def sliced(x: Node, start: int | Node, stop: int | Node, axis: int) -> Node:
    """x[start:stop] along `axis`; a bound may be a node [1]."""
    first, last = (bound if not isinstance(bound, int) else integers(bound) for bound in (start, stop))
    return op.slice(x, first, last, integers(1), integers(axis))


def split(x: Node, axis: int, sizes: Sequence[int]) -> list[Node]:
    return list(op.variadic_split(x, op.constant(axis), integers(*sizes)).outputs())


def size(x: Node, axis: int) -> Node:
    """[1]"""
    return op.gather(op.shape_of(x), integers(axis), op.constant(0))


def rms_normalised(x: Node, eps: float) -> Node:
    """x over its root mean square along the last axis."""
    mean = op.reduce_mean(op.multiply(x, x), integers(-1), True)
    return op.divide(x, op.sqrt(op.add(mean, scalar(eps))))


class Weights:
    """Constants of a graph, by name."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def constant(self, name: str) -> Node:
        return op.constant(self.tensors[name].numpy(), shared_memory=True)

    def matrix(self, name: str) -> Node:
        """A matrix [O, I] in float32, as far as the graph can see."""
        weight = self.constant(f"{name}.weight")
        if f"{name}.scale" not in self:
            return weight
        return op.multiply(op.convert(weight, np.float32), self.constant(f"{name}.scale"))

    def linear(self, x: Node, name: str) -> Node:
        """x [..., I] to [..., O]."""
        y = op.matmul(x, self.matrix(name), False, True)
        return op.add(y, self.constant(f"{name}.bias")) if f"{name}.bias" in self else y

    def gated(self, x: Node, prefix: str) -> Node:
        """The gated feed-forward (SwiGLU) of `prefix`."""
        gate, up = op.split(self.linear(x, f"{prefix}.gate_up"), op.constant(-1), 2).outputs()
        return self.linear(op.multiply(op.swish(gate), up), f"{prefix}.down")

    def scaled(self, x: Node, name: str) -> Node:
        """x times a norm's weight, plus its bias, where it has them."""
        x = op.multiply(x, self.constant(f"{name}.weight")) if f"{name}.weight" in self else x
        return op.add(x, self.constant(f"{name}.bias")) if f"{name}.bias" in self else x
