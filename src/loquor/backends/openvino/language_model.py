"""A Qwen2 stack as a graph that continues streams: caches come in as they lie in memory, only what is new goes out.

All rows of a pass share its products, those of both branches of guidance too; attention is each branch's own, over its
past and its new positions in two parts, so that nothing of the past is copied or moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import openvino as ov
import torch
from openvino import opset13 as op

from loquor.backends.openvino.graph import (
    END,
    HIDDEN,
    Node,
    Weights,
    integers,
    named,
    parameter,
    rms_normalised,
    scalar,
    size,
    sliced,
    split,
)
from loquor.nn.attention import RotaryTable
from loquor.nn.qwen2 import Qwen2Config

CONNECTOR_EPS = 1e-6  # as published


@dataclass(frozen=True)
class Branch:
    """Streams of one branch: inputs x [B, T, H] from position `length` [B] on, over caches [B, H_kv, L, D]."""

    name: str
    x: Node
    length: Node
    keys: Sequence[Node]
    values: Sequence[Node]

    @classmethod
    def of(cls, name: str, config: Qwen2Config) -> Branch:
        cache = (-1, config.num_key_value_heads, -1, config.width)
        keys, values = (
            [parameter(f"{name}.{i}.{part}", cache) for i in range(config.num_hidden_layers)]
            for part in ("keys", "values")
        )
        x = parameter(f"{name}.x", (-1, -1, config.hidden_size))
        return cls(name, x, parameter(f"{name}.length", (-1,), np.int64), keys, values)

    @property
    def parameters(self) -> list[Node]:
        return [self.x, self.length, *self.keys, *self.values]


@dataclass(frozen=True)
class View:
    """What the queries of a branch see, the same in all layers."""

    past: Node  # what is added to scores [B, 1, 1, L] of the past
    new: Node  # and [1, 1, G T, T] of the new


def stack(
    weights: Weights, name: str, config: Qwen2Config, branches: Sequence[Branch]
) -> tuple[list[Node], list[Node]]:
    """Hidden states [B, T, H] of each branch, and its new keys and values, [2 * layers, B, H_kv, T, D], keys first."""
    hidden, layers = config.hidden_size, config.num_hidden_layers
    rows = [op.reshape(branch.x, integers(-1, hidden), False) for branch in branches]
    counts = [op.shape_of(row) for row in rows]
    views = [_view(config, branch) for branch in branches]
    rotation = _rotation(config, branches)
    x = _together(rows)
    new: list[list[Node]] = [[] for _ in branches]
    for i in range(layers):
        prefix = f"{name}.{i}"
        qkv = weights.linear(rms_normalised(x, config.rms_norm_eps), f"{prefix}.qkv")
        qkv = _rotated(config, qkv, rotation)
        attended = []
        for branch, view, fresh, mine in zip(branches, views, new, _apart(qkv, counts), strict=True):
            y, keys, values = _attend(config, branch, i, view, mine)
            fresh += [keys, values]
            attended.append(y)
        x = op.add(x, weights.linear(_together(attended), f"{prefix}.out"))
        x = op.add(x, weights.gated(rms_normalised(x, config.rms_norm_eps), prefix))
    if f"{name}.norm" in weights:
        x = op.multiply(rms_normalised(x, config.rms_norm_eps), weights.constant(f"{name}.norm"))
    shapes = [op.shape_of(branch.x) for branch in branches]
    outputs = [op.reshape(mine, shape, False) for mine, shape in zip(_apart(x, counts), shapes, strict=True)]
    caches = [op.concat([op.unsqueeze(t, integers(0)) for t in (*fresh[::2], *fresh[1::2])], 0) for fresh in new]
    return outputs, caches


def _together(rows: list[Node]) -> Node:
    return op.concat(rows, 0) if len(rows) > 1 else rows[0]


def _apart(x: Node, counts: Sequence[Node]) -> list[Node]:
    """The rows of each of one or two branches."""
    if len(counts) == 1:
        return [x]
    border = sliced(counts[0], 0, 1, 0)
    return [sliced(x, 0, border, 0), sliced(x, border, END, 0)]


def _steps(branch: Branch) -> Node:
    """0 to T - 1, [T]"""
    count = op.squeeze(size(branch.x, 1), integers(0))
    return op.range(op.constant(np.int64(0)), count, op.constant(np.int64(1)), "i64")


def _rotation(config: Qwen2Config, branches: Sequence[Branch]) -> list[Node]:
    """Cosines and sines of every row's position, [rows, 1, D]."""
    positions = torch.arange(config.max_position_embeddings)[None]
    tables = RotaryTable(config.width, config.rope_theta)(positions, torch.float32)
    places = [op.add(op.unsqueeze(branch.length, integers(1)), _steps(branch)) for branch in branches]
    index = _together([op.reshape(place, integers(-1), False) for place in places])
    return [
        op.unsqueeze(op.gather(op.constant(table[0, 0].numpy()), index, op.constant(0)), integers(1))
        for table in tables
    ]


def _rotated(config: Qwen2Config, qkv: Node, rotation: Sequence[Node]) -> Node:
    """Rows [rows, (heads + 2 H_kv) D] to [rows, heads + 2 H_kv, D], queries and keys turned by their positions, as
    `loquor.nn.attention.rotate` does: once for all branches."""
    heads, kv_heads, width = config.num_attention_heads, config.num_key_value_heads, config.width
    turning, values = split(
        op.reshape(qkv, integers(-1, heads + 2 * kv_heads, width), False), 1, (heads + kv_heads, kv_heads)
    )
    first, second = split(turning, 2, (width // 2, width // 2))
    cos, sin = rotation
    turned = op.add(op.multiply(turning, cos), op.multiply(op.concat([second, first], 2), sin))
    return op.concat([turned, values], 1)


def _view(config: Qwen2Config, branch: Branch) -> View:
    steps = _steps(branch)
    places = op.range(
        op.constant(np.int64(0)), op.squeeze(size(branch.keys[0], 2), integers(0)), op.constant(np.int64(1)), "i64"
    )
    is_there = op.less(places, op.unsqueeze(branch.length, integers(1, 2, 3)))
    is_past = op.less_equal(steps, op.unsqueeze(steps, integers(1)))
    group = config.num_attention_heads // config.num_key_value_heads
    nothing, hidden = scalar(0.0), scalar(HIDDEN)
    new = op.tile(op.select(is_past, nothing, hidden), integers(group, 1))
    return View(op.select(is_there, nothing, hidden), op.unsqueeze(new, integers(0, 1)))


def _attend(config: Qwen2Config, branch: Branch, i: int, view: View, qkv: Node) -> tuple[Node, Node, Node]:
    """Rows [B T, heads + 2 H_kv, D] to rows [B T, heads D], and the new keys and values [B, H_kv, T, D]. Queries that
    share a key head stand beside each other in time."""
    heads, kv_heads, width = config.num_attention_heads, config.num_key_value_heads, config.width
    batch, steps = size(branch.x, 0), size(branch.x, 1)
    shape = op.concat([batch, steps, integers(heads + 2 * kv_heads, width)], 0)
    q, k, v = split(op.reshape(qkv, shape, False), 2, (heads, kv_heads, kv_heads))
    shape = op.concat([batch, steps, integers(kv_heads, heads // kv_heads, width)], 0)
    q = op.transpose(op.reshape(q, shape, False), integers(0, 2, 3, 1, 4))
    q = op.reshape(q, op.concat([batch, integers(kv_heads, -1, width)], 0), False)
    k, v = (op.transpose(t, integers(0, 2, 1, 3)) for t in (k, v))
    past = op.add(op.matmul(q, branch.keys[i], False, True), view.past)
    new = op.add(op.matmul(q, k, False, True), view.new)
    shares = op.softmax(op.concat([past, new], -1), -1)
    border = size(branch.keys[i], 2)
    of_past, of_new = sliced(shares, 0, border, -1), sliced(shares, border, END, -1)
    y = op.add(op.matmul(of_past, branch.values[i], False, False), op.matmul(of_new, v, False, False))
    shape = op.concat([batch, integers(kv_heads, heads // kv_heads), steps, integers(width)], 0)
    y = op.transpose(op.reshape(y, shape, False), integers(0, 3, 1, 2, 4))
    return op.reshape(y, integers(-1, heads * width), False), k, v


def text_model(weights: Weights, config: Qwen2Config, text_type: int) -> ov.Model:
    """The lower layers: embeddings of tokens to inputs of the upper layers."""
    branch = Branch.of("text", config)
    (hidden,), (cache,) = stack(weights, "text", config, [branch])
    types = op.gather(weights.constant("types"), op.constant(text_type), op.constant(0))
    return ov.Model([named(op.add(hidden, types), "hidden"), named(cache, "text.new")], branch.parameters, "text model")


def speech_model(weights: Weights, config: Qwen2Config) -> ov.Model:
    """The upper layers, both branches in one pass, with the end classifier on the positive one."""
    branches = [Branch.of("speech", config), Branch.of("negative", config)]
    hidden, caches = stack(weights, "speech", config, branches)
    end = weights.linear(op.relu(weights.linear(hidden[0], "end.fc1")), "end.fc2")
    outputs = [named(node, f"{branch.name}.hidden") for node, branch in zip(hidden, branches, strict=True)]
    outputs += [named(node, f"{branch.name}.new") for node, branch in zip(caches, branches, strict=True)]
    return ov.Model([*outputs, named(end, "end")], [p for b in branches for p in b.parameters], "speech model")


def connector(weights: Weights, latent_size: int) -> ov.Model:
    """Latents [B, D] to inputs of the upper layers [B, H], marked as speech."""
    latents = parameter("latents", (-1, latent_size))
    inward = rms_normalised(weights.linear(latents, "connector.inward"), CONNECTOR_EPS)
    return ov.Model([named(weights.linear(inward, "connector.outward"), "embedded")], [latents], "connector")
