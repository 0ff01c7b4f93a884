"""What goes into generation and what comes out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from loquor.errors import InputError

MAX_STEPS = 200


@dataclass(frozen=True)
class Sampling:
    """How latents are drawn."""

    guidance: float = 1.5  # scale of classifier-free guidance, 1.0 = off
    steps: int = 5  # solver steps per frame
    seed: int = 0
    stochastic: bool = False  # SDE solver: fresh noise at every step
    max_new_tokens: int | None = None  # text tokens and frames of an utterance; None: what the context allows

    def __post_init__(self) -> None:
        if not math.isfinite(self.guidance) or not 0 <= self.guidance <= 20:
            raise InputError(f"guidance must lie in 0 to 20, got {self.guidance}", hint="1.0 is off, 1.5 to 3 is usual")
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or not 1 <= self.steps <= MAX_STEPS:
            raise InputError(f"steps must be a whole number from 1 to {MAX_STEPS}, got {self.steps!r}", hint="5 to 20 is usual")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**63:
            raise InputError(f"seed must be a whole number from 0 to 2^63 - 1, got {self.seed!r}")
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise InputError(f"max_new_tokens must be positive, got {self.max_new_tokens}")


@dataclass(frozen=True)
class Frame:
    """One step of one stream, as the model sees it."""

    waveform: Tensor  # [hop] float32
    latent: Tensor  # [D], normalised
    condition: Tensor  # [H], what the latent was sampled from
    negative_condition: Tensor  # [H]
    end_logit: float | None  # None: the frame was not fed back, the limit was reached
    text_end: int  # characters read so far
    finish: str | None  # why the utterance ends with this frame: end, limit, runaway; None: it goes on


@dataclass(frozen=True)
class Chunk:
    """A piece of speech, as a listener gets it."""

    waveform: Tensor  # [T] float32, in [-1, 1]
    latents: Tensor  # [N, D], normalised
    start_s: float
    end_s: float
    text_end: int  # characters of the text read before this was spoken
