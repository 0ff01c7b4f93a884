"""How the next token is chosen from logits: greedily, or drawn after temperature, top-k and top-p.

The order is that of the published generation code: repetition penalty (Keskar et al. 2019, arXiv:1909.05858) over
prompt and output, then temperature, top-k and nucleus (Holtzman et al. 2019, arXiv:1904.09751). A draw follows from a
seed and the token's number alone, so a request says the same alone or in a batch, verified or trusted, new or resumed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from loquor.engine.request import MAX_NEW_TOKENS, MAX_SEED
from loquor.errors import InputError

MAX_TEMPERATURE, MAX_PENALTY, MAX_TOP_K = 100.0, 100.0, 2**24


@dataclass(frozen=True)
class TokenSampling:
    """How the tokens of a request are chosen, and how many there may be."""

    temperature: float = 0.0  # 0: always the likeliest
    top_k: int = 0  # 0: all
    top_p: float = 1.0
    repetition_penalty: float = 1.0  # logits of tokens seen are divided by it, or multiplied where negative
    min_new_tokens: int = 0  # none before is the last
    max_new_tokens: int | None = None  # None: what the context allows
    seed: int = 0

    def __post_init__(self) -> None:
        _require_number("temperature", self.temperature, 0.0, MAX_TEMPERATURE)
        _require_number("top_p", self.top_p, 0.0, 1.0)
        _require_number("repetition_penalty", self.repetition_penalty, 1 / MAX_PENALTY, MAX_PENALTY)
        _require_whole("top_k", self.top_k, 0, MAX_TOP_K)
        _require_whole("min_new_tokens", self.min_new_tokens, 0, MAX_NEW_TOKENS)
        _require_whole("seed", self.seed, 0, MAX_SEED)
        if self.max_new_tokens is not None:
            _require_whole("max_new_tokens", self.max_new_tokens, 1, MAX_NEW_TOKENS)

    def draw(self, token: int) -> float:
        """The number in [0, 1) that decides about the generated token of that number."""
        key = np.array([self.seed, token], dtype=np.uint64)
        return float(np.random.Generator(np.random.Philox(key=key)).random())


def _require_number(name: str, value: object, low: float, high: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not low <= float(value) <= high:  # type: ignore[arg-type]
        raise InputError(f"{name} must be a number from {low:g} to {high:g}, got {value!r}")


def _require_whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{name} must be a whole number from {low} to {high}, got {value!r}")


def penalise(logits: Tensor, seen: Tensor, penalty: Tensor) -> Tensor:
    """Logits [R, C] less likely where `seen` [R, C], by the penalty [R] of each row."""
    by = penalty[:, None]
    return torch.where(seen, torch.where(logits < 0, logits * by, logits / by), logits)


def choose(logits: Tensor, samplings: Sequence[TokenSampling], numbers: Sequence[int]) -> Tensor:
    """The column chosen in each row of logits [R, C], float32; `numbers` are those of the tokens, for the draws."""
    picks = logits.argmax(-1)
    drawn = [i for i, sampling in enumerate(samplings) if sampling.temperature > 0]
    if drawn:
        rows = torch.tensor(drawn, device=logits.device)
        chosen = [samplings[i] for i in drawn]
        draws = [samplings[i].draw(numbers[i]) for i in drawn]
        picks[rows] = _drawn(logits[rows], chosen, draws)
    return picks


def _drawn(logits: Tensor, samplings: Sequence[TokenSampling], draws: Sequence[float]) -> Tensor:
    """Columns drawn by walking down the likeliest tokens until their probability exceeds the draw."""
    width = logits.shape[1]
    kept = [min(s.top_k or width, width) for s in samplings]

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, device=logits.device, dtype=torch.float64)[:, None]

    values, columns = logits.topk(max(kept))  # falling
    rank = torch.arange(max(kept), device=logits.device)
    scaled = values.double() / column([s.temperature for s in samplings])
    scaled = scaled.masked_fill(rank >= column(kept), -math.inf)
    share = scaled.softmax(-1)
    before = share.cumsum(-1) - share
    share = share.masked_fill((before >= column([s.top_p for s in samplings])) & (rank > 0), 0.0)
    below = share.cumsum(-1)
    place = torch.searchsorted(below, below[:, -1:] * column(draws), right=True)
    last = (share > 0).sum(-1, keepdim=True) - 1  # where rounding would go past the end
    return columns.gather(1, torch.minimum(place, last))[:, 0]
