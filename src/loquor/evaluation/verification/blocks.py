"""The parts that models are made of, each run alone on inputs made up for it: so what is wrong with one stays its own.

Every part is held against the arithmetic of its paper in float64 (`plain`), against itself in pieces or alone instead
of whole or in a batch, and against itself in bfloat16.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from loquor.evaluation.verification import plain
from loquor.evaluation.verification.checks import NARROW, NARROW_BOUND, Check, Pair, compare
from loquor.models.connector import Connector, LatentScale
from loquor.models.realtime.model import EndClassifier
from loquor.nn.diffusion_head import DiffusionHead
from loquor.nn.qwen2 import Decoder, DecoderLayer

M = TypeVar("M", bound=nn.Module)

FORMULA = "its formula in float64"
ALONE, WHOLE = "each row alone", "all at once"
IN_BFLOAT16 = "bfloat16"
ROWS, POSITIONS = 2, 12  # of what decoders are fed
CUTS = (5, 1, 1, 5)  # pieces of it that a cache is fed
TIMESTEPS = (992, 640, 120, 0)  # which bfloat16 can tell apart


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers, always the same."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def drawn_ids(vocabulary: int, *shape: int, seed: int = 0) -> Tensor:
    """Token ids, always the same."""
    return torch.randint(vocabulary, shape, generator=torch.Generator().manual_seed(seed))


def narrow(module: M) -> M:
    """A copy in bfloat16."""
    return copy.deepcopy(module).to(NARROW)


def decoder(name: str, module: Decoder, x: Tensor, tolerance: float) -> Iterator[Check]:
    """A stack of decoder layers on x [B, T, H]: block by block, then whole."""
    layers = cast(Sequence[DecoderLayer], list(module.layers))
    yield from decoder_layers(name, layers, module, x, tolerance)
    whole = module(x)
    state = module.init_state(len(x))
    pieces = torch.cat([module(piece, state) for piece in torch.split(x, list(CUTS), 1)], 1)
    yield compare(name, "with a cache", WHOLE, [("", pieces, whole)], tolerance)
    alone = torch.cat([module(row[None]) for row in x])
    yield compare(name, "in a batch", ALONE, [("", whole, alone)], tolerance)
    final = [("norm", module.norm(whole), plain.norm(module.norm, whole))]
    yield compare(name, "final norm", FORMULA, final, tolerance)


def decoder_layers(
    name: str, layers: Sequence[DecoderLayer], stack: Decoder, x: Tensor, tolerance: float, first: int = 0
) -> Iterator[Check]:
    """Norm, attention and feed-forward of each layer, on what reaches it; positions are counted from `first`."""
    norms, attentions, feeds, narrowed = (list[Pair]() for _ in range(4))
    positions = torch.arange(first, first + x.shape[1])
    turn = plain.rotary(positions, stack.config.width, stack.config.rope_theta)
    rotation = stack.rotary(positions[None], x.dtype)
    for i, layer in enumerate(layers):
        where = f"layers.{i}" if len(layers) > 1 else "layer"
        normed = layer.attention_norm(x)
        attended = layer.attention(normed, rotation)
        between = x + attended
        fed = layer.ffn_norm(between)
        norms.append((f"{where}.attention_norm", normed, plain.norm(layer.attention_norm, x)))
        norms.append((f"{where}.ffn_norm", fed, plain.norm(layer.ffn_norm, between)))
        attentions.append((f"{where}.attention", attended, plain.attention(layer.attention, normed, turn)))
        feeds.append((f"{where}.ffn", layer.ffn(fed), plain.gated(layer.ffn, fed)))
        y = layer(x, rotation)
        low = narrow(layer)(x.to(NARROW), (rotation[0].to(NARROW), rotation[1].to(NARROW)))
        narrowed.append((where, low, y))
        x = y
    yield compare(name, "attention", FORMULA, attentions, tolerance)
    yield compare(name, "norms", FORMULA, norms, tolerance)
    yield compare(name, "feed-forward", FORMULA, feeds, tolerance)
    yield compare(name, IN_BFLOAT16, "float32", narrowed, NARROW_BOUND)


def diffusion_head(name: str, module: DiffusionHead, tolerance: float) -> Iterator[Check]:
    """One timestep a row, then all steps at once as a sampler asks for them."""
    config, dtype = module.config, module.latent_in.weight.dtype
    noisy = drawn(len(TIMESTEPS), config.latent_size).to(dtype)
    condition = drawn(len(TIMESTEPS), config.hidden_size, seed=1).to(dtype)
    times = torch.tensor(TIMESTEPS)
    whole = module(noisy, times, condition)
    yield compare(name, "velocity", FORMULA, [("", whole, plain.head(module, noisy, times, condition))], tolerance)
    rows = zip(*(torch.split(t, 1) for t in (noisy, times, condition)), strict=True)
    yield compare(name, "in a batch", ALONE, [("", whole, torch.cat([module(*row) for row in rows]))], tolerance)
    steps = module.modulations(module.embed_timesteps(times), condition)
    ahead = [module.predict(noisy, step) for step in steps]
    each = [module(noisy, times[i].expand(len(noisy)), condition) for i in range(len(times))]
    pairs = [(f"timestep {t}", a, b) for t, a, b in zip(TIMESTEPS, ahead, each, strict=True)]
    yield compare(name, "all steps ahead", "step by step", pairs, tolerance)
    low = narrow(module)(noisy.to(NARROW), times, condition.to(NARROW))
    yield compare(name, IN_BFLOAT16, "float32", [("", low, whole)], NARROW_BOUND)


def connector(name: str, module: Connector, tolerance: float) -> Iterator[Check]:
    yield from _small(name, module, lambda x: plain.connector(module, x), module.inward, tolerance)


def end_classifier(name: str, module: EndClassifier, tolerance: float) -> Iterator[Check]:
    yield from _small(name, module, lambda x: plain.end_classifier(module, x), module.fc1, tolerance)


def _small(
    name: str, module: nn.Module, formula: Callable[[Tensor], Tensor], first: nn.Linear, tolerance: float
) -> Iterator[Check]:
    """What treats every row alike."""
    x = drawn(ROWS * POSITIONS, first.in_features).to(first.weight.dtype)
    y = module(x)
    yield compare(name, "output", FORMULA, [("", y, formula(x))], tolerance)
    yield compare(
        name, "in a batch", ALONE, [("", y, torch.cat([module(row) for row in torch.split(x, 1)]))], tolerance
    )
    yield compare(name, IN_BFLOAT16, "float32", [("", narrow(module)(x.to(NARROW)), y)], NARROW_BOUND)


def latent_scale(name: str, module: LatentScale, tolerance: float) -> Iterator[Check]:
    latents = drawn(POSITIONS, 8).to(module.scale.dtype)
    there = module.latent(module.normalised(latents))
    yield compare(name, "there and back", "the same latents", [("", there, latents)], tolerance)
