"""The whole sampling of a latent as one graph: every step of a solver's plan, guided, one after the other.

Shifts, scales and gates of all layers and all steps come from one product, as the condition stays the same while a
latent is denoised; a step is then the head's layers and one linear combination, whose numbers the plan holds.
"""

from __future__ import annotations

import openvino as ov
from openvino import opset13 as op
from torch import Tensor

from loquor.backends.openvino.graph import (
    Node,
    Weights,
    integers,
    named,
    parameter,
    rms_normalised,
    scalar,
    sliced,
    split,
)
from loquor.diffusion.prediction import Conversion
from loquor.diffusion.solver import SolverPlan
from loquor.diffusion.update import Update
from loquor.nn.diffusion_head import DiffusionHeadConfig


def sampler(
    weights: Weights, config: DiffusionHeadConfig, plan: SolverPlan, times: Tensor, is_guided: bool
) -> ov.Model:
    """Latents [B, D] from conditions [B, H], or [2 B, H] with those of the negative branch behind them.

    `times` [N, H] are the embeddings of the plan's timesteps.
    """
    conditions = parameter("conditions", (-1, config.hidden_size))
    noise = parameter("noise", (-1, config.latent_size))
    inputs, scale, fresh = [conditions, noise], None, None
    if is_guided:
        scale = parameter("scale", (-1, 1))
        inputs.append(scale)
    if plan.config.is_stochastic:
        fresh = parameter("fresh", (len(plan), -1, config.latent_size))
        inputs.append(fresh)
    modulations = _modulations(weights, config, conditions, times)
    x, history = noise, list[Node]()
    for i in range(len(plan)):
        output = _output(weights, config, x, modulations[i], scale)
        history = [_estimate(plan.conversions[i], x, output), *history[: plan.config.solver_order - 1]]
        x = _step(plan.updates[i], x, history, fresh and _row(fresh, i))
    return ov.Model([named(x, "latents")], inputs, "sampler")


def _modulations(weights: Weights, config: DiffusionHeadConfig, conditions: Node, times: Tensor) -> list[list[Node]]:
    """Of each step, the shift, scale and gate of each layer and the output's shift and scale, each [R, H]."""
    hidden, steps = config.hidden_size, len(times)
    given = op.unsqueeze(weights.linear(conditions, "head.condition_in"), integers(0))
    with_time = op.add(given, op.constant(times[:, None].numpy()))  # [N, R, H]
    rows = op.reshape(op.swish(with_time), integers(-1, hidden), False)
    every = weights.linear(rows, "head.modulation")
    width = (3 * config.head_layers + 2) * hidden
    every = op.reshape(every, integers(steps, -1, width), False)
    each = op.split(every, op.constant(0), steps).outputs() if steps > 1 else [every]
    return [split(op.squeeze(one, integers(0)), 1, [hidden] * (3 * config.head_layers + 2)) for one in each]


def _output(
    weights: Weights, config: DiffusionHeadConfig, noisy: Node, modulation: list[Node], scale: Node | None
) -> Node:
    """The head's output [B, D] for noisy [B, D], guided where there is a scale [B, 1]."""
    x = weights.linear(noisy, "head.latent_in")
    x = x if scale is None else op.concat([x, x], 0)
    for i in range(config.head_layers):
        shift, gain, gate = modulation[3 * i : 3 * i + 3]
        inward = op.add(op.multiply(rms_normalised(x, config.rms_norm_eps), gain), shift)
        x = op.add(x, op.multiply(gate, weights.gated(inward, f"head.{i}")))
    shift, gain = modulation[-2:]
    y = weights.linear(op.add(op.multiply(rms_normalised(x, config.rms_norm_eps), gain), shift), "head.latent_out")
    if scale is None:
        return y
    positive, negative = op.split(y, op.constant(0), 2).outputs()
    return op.add(negative, op.multiply(scale, op.subtract(positive, negative)))


def _estimate(conversion: Conversion, x: Node, output: Node) -> Node:
    if conversion.sample == 0.0:
        return output
    wanted = op.add(op.multiply(x, scalar(conversion.sample)), op.multiply(output, scalar(conversion.output)))
    return wanted if conversion.divisor == 1.0 else op.divide(wanted, scalar(conversion.divisor))


def _step(update: Update, x: Node, history: list[Node], fresh: Node | None) -> Node:
    y = op.multiply(x, scalar(update.sample))
    for coefficient, estimate in zip(update.history, history, strict=False):
        y = op.add(y, op.multiply(estimate, scalar(coefficient)))
    return y if fresh is None else op.add(y, op.multiply(fresh, scalar(update.noise)))


def _row(x: Node, i: int) -> Node:
    return op.squeeze(sliced(x, i, i + 1, 0), integers(0))
