"""The sections of a recipe: what each family may be told, with its defaults.

Defaults of VibeVoice are the figures of the fine-tuning guide for Realtime-0.5B and, for long-form, of the community's
fine-tuner; those of VITA-Audio are what its four published stages have in common.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from loquor.errors import ConfigError

PRECISIONS = ("float32", "bfloat16")
PACKINGS = ("source", "shared", "none")


@dataclass(frozen=True)
class LowRankOptions:
    """Shape of the LoRAs; only the strategy `lora` has any."""

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.05

    def __post_init__(self) -> None:
        _require("lora.rank", self.rank, 1, 4096)
        _require("lora.alpha", self.alpha, 1e-6, 1e6)
        _require("lora.dropout", self.dropout, 0, 0.99)


@dataclass(frozen=True)
class OptimiserOptions:
    """AdamW with warm-up and cosine."""

    steps: int = 5000
    learning_rate: float = 1e-4
    warmup_steps: int = 500
    final_fraction: float = 0.0  # of the learning rate, at the last step
    betas: tuple[float, ...] = (0.9, 0.999)
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.999  # of the averaged weights; 0 keeps none
    precision: str = "bfloat16"  # of products; weights and sums are float32

    def __post_init__(self) -> None:
        _require("optimiser.steps", self.steps, 1, 10**9)
        _require("optimiser.learning_rate", self.learning_rate, 0, 1)
        _require("optimiser.warmup_steps", self.warmup_steps, 0, 10**9)
        _require("optimiser.final_fraction", self.final_fraction, 0, 1)
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"optimiser.betas must be two numbers from 0 to below 1, got {list(self.betas)}")
        _require("optimiser.weight_decay", self.weight_decay, 0, 1)
        _require("optimiser.clip_norm", self.clip_norm, 1e-6, 1e6)
        _require("optimiser.ema_decay", self.ema_decay, 0, 1)
        require_one("optimiser.precision", self.precision, PRECISIONS)


@dataclass(frozen=True)
class VitaOptimiserOptions(OptimiserOptions):
    """AdamW, in which the prediction modules may learn faster than the rest."""

    modules_rate: float = 1.0  # times the learning rate

    def __post_init__(self) -> None:
        super().__post_init__()
        _require("optimiser.modules_rate", self.modules_rate, 0, 1e6)


@dataclass(frozen=True)
class BatchOptions:
    """What one step sees: `accumulation` batches, however many processes share them."""

    accumulation: int = 4
    checkpointing: bool = False  # compute layers twice and remember less

    def __post_init__(self) -> None:
        _require("batch.accumulation", self.accumulation, 1, 10**4)


@dataclass(frozen=True)
class FrameBatchOptions(BatchOptions):
    """Batches of recordings of similar length."""

    frames: int = 300  # of a batch with its padding: four examples of 10 s

    def __post_init__(self) -> None:
        super().__post_init__()
        _require("batch.frames", self.frames, 1, 10**6)


@dataclass(frozen=True)
class RowBatchOptions(BatchOptions):
    """Batches of one row, into which conversations are packed."""

    length: int = 8192  # positions of a row

    def __post_init__(self) -> None:
        super().__post_init__()
        _require("batch.length", self.length, 2, 10**6)


@dataclass(frozen=True)
class RealtimeOptions:
    """Losses of a Realtime model."""

    diffusion: float = 1.0
    end: float = 0.1
    end_positive: float = 5.0  # weight of the one last frame against the many others
    draws: int = 4  # noise draws per frame
    text_drop: float = 0.1  # share of the examples that train the negative branch: they have no text
    input_noise: float = 0.0  # largest std of noise on the latents that are fed back

    def __post_init__(self) -> None:
        _require_losses(
            self.diffusion, self.draws, end=self.end, end_positive=self.end_positive, input_noise=self.input_noise
        )
        _require("loss.text_drop", self.text_drop, 0, 1)


@dataclass(frozen=True)
class LongformOptions:
    """Losses of a long-form model."""

    diffusion: float = 1.4
    tokens: float = 0.04
    draws: int = 4  # noise draws per frame
    voice_drop: float = 0.2  # share of the examples that go without their voices
    zero_semantics: bool = False  # as the community's trainer has it by mistake, for adapters made with it

    def __post_init__(self) -> None:
        _require_losses(self.diffusion, self.draws, tokens=self.tokens)
        _require("loss.voice_drop", self.voice_drop, 0, 1)


@dataclass(frozen=True)
class VitaLossOptions:
    """Losses of VITA-Audio."""

    modules: float = 1.0  # weight of the modules' mean loss beside the backbone's
    crosses_samples: bool = False  # learn the step from one conversation of a row into the next, as published

    def __post_init__(self) -> None:
        _require("loss.modules", self.modules, 0, 1000)


@dataclass(frozen=True)
class FeedingOptions:
    """How conversations become rows."""

    ratio: tuple[int, ...] = (1, 10, 4, 10)  # ids of text and of audio in turn, the marks of audio included
    packing: str = "source"  # a row holds conversations of one file; or shared, none
    tolerated: float = 0.05  # share of the conversations that may be unusable

    def __post_init__(self) -> None:
        from loquor.models.vita.interleaving import check_ratio  # torch loads only where it is needed

        check_ratio(self.ratio)
        require_one("feed.packing", self.packing, PACKINGS)
        _require("feed.tolerated", self.tolerated, 0, 1)


@dataclass(frozen=True)
class AudioOptions:
    """The audio tokenizer of a VITA model."""

    tokenizer: str = ""  # such as glm4voice; nothing: what the model's files say
    folder: str = ""  # where it lies, for recordings whose codes are not stored yet
    codes: str = ""  # folder for new codes; nothing: beside each recording


@dataclass(frozen=True)
class WatchOptions:
    """What is looked at on the way, and how often; 0 is never. None of it changes what is learned."""

    save_every: int = 250
    validate_every: int = 250
    validation_items: int = 64  # recordings, or rows

    def __post_init__(self) -> None:
        _require("watch.validate_every", self.validate_every, 0, 10**9)
        _require("watch.save_every", self.save_every, 1, 10**9)
        _require("watch.validation_items", self.validation_items, 1, 10**9)


@dataclass(frozen=True)
class SpokenWatchOptions(WatchOptions):
    """The same, and what the model sounds like."""

    sample_every: int = 500
    samples: tuple[str, ...] = ("The old boat came back to the harbour before the rain.",)
    judge: bool = True  # samples, by the instruments at hand: word error rate, similarity, predicted opinion

    def __post_init__(self) -> None:
        super().__post_init__()
        _require("watch.sample_every", self.sample_every, 0, 10**9)


def _require(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ConfigError(f"{name} is {value:g}", hint=f"it lies between {least:g} and {most:g}")


def require_one(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        near = difflib.get_close_matches(value, allowed, 1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(allowed)}"
        raise ConfigError(f"{name} is {value!r}", hint=hint)


def _require_losses(diffusion: float, draws: int, **others: float) -> None:
    for name, value in {"diffusion": diffusion, **others}.items():
        _require(f"loss.{name}", value, 0, 1000)
    _require("loss.draws", draws, 1, 1000)
