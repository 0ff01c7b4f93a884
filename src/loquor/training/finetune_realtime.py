"""Fine-tunes a Realtime model on the very windows generation uses, in the voice generation will use.

Every example follows a voice's prompt, as it lies in the voice's file: memory that does not train, so what is learned
is what will be spoken with that voice. A share of the examples has no text and follows the prompt's negative twin, as
the negative branch of guidance does. Losses: the velocity of the diffusion head (arXiv:2202.00512, appendix D) and the
end of speech. Latents are the means that the codec's encoder gives. Every draw belongs to one example, so that how a
batch is spread over machines changes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loquor.diffusion.schedule import ScheduleConfig, noise_schedule
from loquor.errors import CapacityError, ConfigError
from loquor.models.realtime.model import RealtimeConfig, RealtimeModel, RealtimeState
from loquor.models.realtime.prompt import interleave
from loquor.nn.attention import KVCache
from loquor.state import State
from loquor.training.recipes.options import RealtimeOptions


@dataclass(frozen=True, eq=False)
class Example:
    """What is said after a prompt."""

    ids: Tensor  # [M] text tokens; none: it trains the negative branch
    latents: Tensor  # [N, D], normalised


@dataclass(frozen=True)
class Counts:
    """What the losses are means over. Sum them over everything that makes one step."""

    frames: float
    ends: float  # frames after which speech might end: all that have text

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.frames + other.frames, self.ends + other.ends)


@dataclass(frozen=True, eq=False)
class RealtimeBatch:
    """Examples laid out behind their prompts; what is padding points at the spare last position."""

    has_text: Tensor  # [B] bool
    readers: Tensor  # [B'] the rows that have text; if none has, row 0 reads an idle token where nobody looks
    ids: Tensor  # [B', M] of those rows
    lengths: Tensor  # [B'] real tokens
    text_at: Tensor  # [B', M] positions
    latents: Tensor  # [B, N, D]
    speech_at: Tensor  # [B, N] positions
    is_frame: Tensor  # [B, N] False where padded
    is_last: Tensor  # [B, N] True at the last frame of an utterance
    positions: int  # in a row, the spare one included

    @property
    def counts(self) -> Counts:
        return Counts(float(self.is_frame.sum()), float(self.is_frame[self.has_text].sum()))

    def to(self, device: torch.device) -> Self:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        moved: dict[str, Any] = {k: v.to(device) for k, v in fields.items() if isinstance(v, Tensor)}
        return dataclasses.replace(self, **moved)


def collate(examples: Sequence[Example], config: RealtimeConfig) -> RealtimeBatch:
    """One batch of all examples."""
    layouts = [interleave(0, len(e.ids), len(e.latents), config.text_window, config.speech_window) for e in examples]
    spare = max(len(a.text) + len(a.speech) for a in layouts)

    def padded(rows: Sequence[Tensor], value: float = 0) -> Tensor:
        return nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)

    idle = torch.zeros(1, dtype=torch.long)  # of a model that is cut up every process must run every layer
    reading = [(i, e.ids, torch.tensor(layouts[i].text)) for i, e in enumerate(examples) if len(e.ids)]
    reading = reading or [(0, idle, idle + spare)]
    frames = [len(e.latents) for e in examples]
    return RealtimeBatch(
        has_text=torch.tensor([bool(len(e.ids)) for e in examples]),
        readers=torch.tensor([i for i, _, _ in reading]),
        ids=padded([ids for _, ids, _ in reading]),
        lengths=torch.tensor([len(ids) for _, ids, _ in reading]),
        text_at=padded([places for _, _, places in reading], spare),
        latents=padded([e.latents for e in examples]),
        speech_at=padded([torch.tensor(a.speech) for a in layouts], spare),
        is_frame=padded([torch.ones(n, dtype=torch.bool) for n in frames]),
        is_last=padded([F.one_hot(torch.tensor(n - 1), n).bool() for n in frames]),
        positions=spare + 1,
    )


@dataclass
class Draws(State):
    """The randomness of a step; that of a batch is that of its examples joined."""

    spread: Tensor  # [B] uniform, how far the latents that are fed back lie from those that are said
    input: Tensor  # [frames, D] normal
    noise: Tensor  # [frames * draws, D] normal, the draws of a frame side by side
    timestep: Tensor  # [frames * draws] int64


class RealtimeTuning(nn.Module):
    """The model, the prompt of its voice, and its losses."""

    def __init__(self, model: RealtimeModel, voice: RealtimeState, options: RealtimeOptions) -> None:
        super().__init__()
        self.model, self.voice, self.options = model, voice, options
        head = model.config.head
        if head.prediction_type != "v_prediction":
            raise ConfigError(f"Realtime heads predict v_prediction, this one {head.prediction_type!r}")
        self.schedule = noise_schedule(
            ScheduleConfig(beta_schedule=head.ddpm_beta_schedule, num_train_timesteps=head.ddpm_num_steps)
        )

    def draw(self, example: Example, generator: torch.Generator) -> Draws:
        """The randomness of one example."""
        frames, size = example.latents.shape
        rows = frames * self.options.draws
        return Draws(
            spread=torch.rand(1, generator=generator),
            input=torch.randn(frames, size, generator=generator),
            noise=torch.randn(rows, size, generator=generator),
            timestep=torch.randint(self.model.config.head.ddpm_num_steps, (rows,), generator=generator),
        )

    def require_room(self, example: Example) -> None:
        """CapacityError if prompt and example are longer than the model's context."""
        context = self.model.config.speech.max_position_embeddings
        needed = int(self.voice.speech.length[0]) + len(example.ids) + len(example.latents)
        if needed > context:
            raise CapacityError(f"an example takes {needed} positions, the model has {context}")

    def forward(self, batch: RealtimeBatch, draws: Draws, over: Counts | None = None) -> dict[str, Tensor]:
        """The losses of a batch; "loss" is their weighted sum. They are means over `over`, None: the batch's counts."""
        over, device = over or batch.counts, self.model.types.weight.device
        batch, draws = batch.to(device), draws.to(device)
        said = batch.latents[batch.is_frame]
        std = (self.options.input_noise * draws.spread)[:, None].expand(batch.is_frame.shape)[batch.is_frame]
        heard = batch.latents.masked_scatter(batch.is_frame[..., None], said + std[:, None] * draws.input)
        conditions, states = self.states(batch, heard)
        diffusion = self.diffusion_loss(conditions[batch.is_frame], said, draws) / over.frames
        end = self.end_loss(states[batch.has_text], batch) / (over.ends or 1)
        return {"loss": self.options.diffusion * diffusion + self.options.end * end, "diffusion": diffusion, "end": end}

    def states(self, batch: RealtimeBatch, latents: Tensor) -> tuple[Tensor, Tensor]:
        """The upper layers' states before and after each frame [B, N, H], when `latents` [B, N, D] are fed back."""
        speech = self.model.embed_speech(latents)
        rows = torch.arange(len(latents), device=latents.device)[:, None]
        inputs = speech.new_zeros(len(latents), batch.positions, speech.shape[-1])
        inputs = inputs.index_put((rows, batch.speech_at), speech)
        voice = self.voice.to(latents.device)
        text = self.model.embed_text(batch.ids, _repeated(voice.text, len(batch.ids)), batch.lengths)
        inputs = inputs.index_put((batch.readers[:, None], batch.text_at), text.to(inputs.dtype))
        branches = [voice.speech if reads else voice.negative for reads in batch.has_text.tolist()]
        hidden = self.model.speech_model(inputs, KVCache.join(branches))
        condition = torch.where(batch.has_text[:, None], voice.condition, voice.negative_condition)
        before = torch.cat([condition[:, None].to(hidden.dtype), hidden], 1)
        return before[rows, batch.speech_at], hidden[rows, batch.speech_at]

    def diffusion_loss(self, condition: Tensor, latents: Tensor, draws: Draws) -> Tensor:
        """Squared error of the velocity, mean over dimensions and draws, summed over frames; [F, H] and [F, D]."""
        count = self.options.draws
        x0, condition = latents.repeat_interleave(count, 0), condition.repeat_interleave(count, 0)
        noisy = self.schedule.add_noise(x0, draws.noise, draws.timestep)
        predicted = self.model.head(noisy.to(condition.dtype), draws.timestep, condition)
        target = self.schedule.velocity(x0, draws.noise, draws.timestep)
        return F.mse_loss(predicted.float(), target, reduction="sum") / (count * latents.shape[1])

    def end_loss(self, states: Tensor, batch: RealtimeBatch) -> Tensor:
        """Summed cross entropy of the end after each frame [B', N, H] of the rows that have text."""
        is_frame, is_last = batch.is_frame[batch.has_text], batch.is_last[batch.has_text]
        logits = self.model.end_classifier(states)[is_frame].float()
        weight = torch.tensor(self.options.end_positive, device=logits.device)
        return F.binary_cross_entropy_with_logits(logits, is_last[is_frame].float(), pos_weight=weight, reduction="sum")


def _repeated(cache: KVCache, rows: int) -> KVCache:
    """A copy of a one-row cache for each row."""
    return KVCache.join([cache] * rows)
