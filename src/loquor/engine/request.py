"""What goes into generation and what comes out."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from loquor.errors import InputError

MAX_STEPS = 200
MAX_GUIDANCE = 20
MAX_TEMPERATURE = 2
MAX_SEED = 2**63 - 1
MAX_NEW_TOKENS = 2**31 - 1


@dataclass(frozen=True)
class Sampling:
    """How latents are drawn."""

    guidance: float = 1.5  # scale of classifier-free guidance, 1.0 = off
    steps: int = 5  # solver steps per frame
    seed: int = 0
    stochastic: bool = False  # SDE solver: fresh noise at every step
    max_new_tokens: int | None = None  # text tokens and frames of an utterance; None: what the context allows
    temperature: float = 1.0  # deviation of the start noise: below 1 likelier frames, and less variety

    def __post_init__(self) -> None:
        _require_between("guidance", self.guidance, MAX_GUIDANCE, hint="1.0 is off, 1.5 to 3 is usual")
        _require_between("temperature", self.temperature, MAX_TEMPERATURE, hint="1.0 is as trained, 0.6 to 1 is usual")
        _require_whole("steps", self.steps, 1, MAX_STEPS, hint="5 to 20 is usual")
        _require_whole("seed", self.seed, 0, MAX_SEED)
        if self.max_new_tokens is not None:
            _require_whole("max_new_tokens", self.max_new_tokens, 1, MAX_NEW_TOKENS)


def _require_between(name: str, value: object, high: float, hint: str) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= high:  # type: ignore[operator]  # and a NaN is not either
        raise InputError(f"{name} must lie in 0 to {high}, got {value!r}", hint)


def _require_whole(name: str, value: object, low: int, high: int, hint: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{name} must be a whole number from {low} to {high}, got {value!r}", hint)


class Piece:
    """What a step gives of one stream."""

    waveform: Tensor  # [T] float32, perhaps empty


@dataclass(frozen=True)
class Frame(Piece):
    """One frame of one stream, as the model sees it."""

    waveform: Tensor  # [hop] float32
    latent: Tensor  # [D], normalised
    condition: Tensor  # [H], what the latent was sampled from
    negative_condition: Tensor  # [H]


@dataclass
class Outcome:
    """How a stream goes on after a frame; empty until the model has heard the frame."""

    end_logit: float | None = None  # None as well: the frame was not fed back, the limit was reached
    finish: str | None = None  # why the stream ends with it: end, limit, runaway; None: it goes on


@dataclass(frozen=True)
class RealtimeFrame(Frame):
    """A frame of an utterance whose text may still arrive. The first is there before the model has heard it."""

    outcome: Outcome
    text_start: int  # characters before the utterance
    text_end: int  # characters read so far

    @property
    def end_logit(self) -> float | None:
        return self.outcome.end_logit

    @property
    def finish(self) -> str | None:
        return self.outcome.finish


@dataclass(frozen=True)
class LongformFrame(Frame):
    """A frame of a script."""

    finish: str | None  # why the stream ends with this frame: end, limit; None: it goes on
    features: Tensor  # [S], semantic: what the model hears of it


@dataclass(frozen=True)
class Chunk:
    """A piece of speech, as a listener gets it."""

    waveform: Tensor  # [T] float32, in [-1, 1]
    latents: Tensor  # [N, D], normalised
    start_s: float
    end_s: float
    text_end: int  # characters of the text read before this was spoken
    features: Tensor | None = None  # [N, S], semantic; only long-form models hear themselves
    text_start: int = 0  # characters before the utterance it is of
    finish: str | None = None  # how that utterance ends with it: end, limit, runaway; None: it goes on, or nobody knows
