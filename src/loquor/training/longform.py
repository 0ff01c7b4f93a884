"""Trains a long-form model on the sequences it generates: the next token, and the velocity of every frame to be said.

A sequence is a prompt, the frames of its speech, speech end and end of text, with both descriptions of every frame as
its input. The condition of a frame is the state one position before it, as in generation (arXiv:2508.19205, section
2.2); the published model's own training pass takes the state at the frame, which already knows the answer. Losses are
those of the community's fine-tuner: cross entropy over everything but frames, and the squared error of the velocity
(arXiv:2202.00512, appendix D). The codecs are frozen: speech comes encoded (`sequences`) and is only sampled here.
Every draw is passed in, and made example by example, so that how a batch is spread over machines changes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loquor.diffusion.schedule import ScheduleConfig, noise_schedule
from loquor.errors import ConfigError
from loquor.models.longform.model import LongformConfig, LongformModel
from loquor.state import State
from loquor.training.sequences import Example

IGNORED = -100  # a label nobody learns


@dataclass(frozen=True)
class Counts:
    """What the losses are means over. Sum them over everything that makes one step."""

    labels: float
    frames: float

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.labels + other.labels, self.frames + other.frames)

    def __truediv__(self, parts: int) -> Counts:
        return Counts(self.labels / parts, self.frames / parts)


@dataclass(frozen=True)
class LongformBatch:
    """Sequences padded on the right, which a causal model never sees, and their frames one after the other."""

    ids: Tensor  # [B, T]
    is_real: Tensor  # [B, T] False where padded
    is_frame: Tensor  # [B, T]
    is_target: Tensor  # [B, T]
    means: Tensor  # [F, D], in row-major order of `is_frame`
    segment: Tensor  # [F] number of a frame's segment in the batch
    has_features: Tensor  # [F] bool
    features: Tensor  # [F', S], of the frames that have some

    @property
    def labels(self) -> Tensor:
        """The token after each position [B, T - 1]; IGNORED where that is padding or a frame."""
        is_learned = self.is_real[:, 1:] & ~self.is_frame[:, 1:]
        return self.ids[:, 1:].masked_fill(~is_learned, IGNORED)

    @property
    def counts(self) -> Counts:
        return Counts(float((self.labels != IGNORED).sum()), float(self.is_target.sum()))

    def to(self, device: torch.device) -> Self:
        return dataclasses.replace(self, **{f.name: getattr(self, f.name).to(device) for f in dataclasses.fields(self)})


def collate(examples: Sequence[Example], config: LongformConfig) -> LongformBatch:
    """One batch of all examples."""
    segments = [segment for example in examples for segment in example.segments]
    lengths = torch.tensor([len(s.means) for s in segments], dtype=torch.long)
    has_features = torch.tensor([s.features is not None for s in segments], dtype=torch.bool)
    features = [s.features for s in segments if s.features is not None]

    def padded(rows: Sequence[Tensor]) -> Tensor:
        return nn.utils.rnn.pad_sequence(list(rows), batch_first=True)

    return LongformBatch(
        ids=padded([e.ids for e in examples]),
        is_real=padded([torch.ones_like(e.is_frame) for e in examples]),
        is_frame=padded([e.is_frame for e in examples]),
        is_target=padded([e.is_target for e in examples]),
        means=torch.cat([torch.zeros(0, config.latent_size), *(s.means for s in segments)]),
        segment=torch.arange(len(segments)).repeat_interleave(lengths),
        has_features=has_features.repeat_interleave(lengths),
        features=torch.cat([torch.zeros(0, config.semantic.vae_dim), *features]),
    )


@dataclass
class Draws(State):
    """The randomness of a step, in the order it is drawn; those of a batch are those of its examples joined."""

    scale: Tensor  # [segments] normal, how far the latents of a segment lie from their means
    latent: Tensor  # [F, D] normal
    noise: Tensor  # [targets * draws, D] normal, the draws of a frame side by side
    timestep: Tensor  # [targets * draws] int64


@dataclass(frozen=True)
class LongformLossWeights:
    """Weights of the two losses, and how often each frame is noised."""

    tokens: float = 1.0
    diffusion: float = 1.0
    draws: int = 4  # published as ddpm_batch_mul


class LongformTraining(nn.Module):
    """The model and its losses."""

    def __init__(self, model: LongformModel, weights: LongformLossWeights) -> None:
        super().__init__()
        self.model, self.weights = model, weights
        head = model.config.head
        if head.prediction_type not in ("v_prediction", "epsilon"):
            raise ConfigError(f"no training is published for heads that predict {head.prediction_type!r}")
        self.schedule = noise_schedule(
            ScheduleConfig(beta_schedule=head.ddpm_beta_schedule, num_train_timesteps=head.ddpm_num_steps)
        )

    def draw(self, example: Example, generator: torch.Generator) -> Draws:
        """The randomness of one example; give each its own generator, seeded by its place in the whole step."""
        config, rows = self.model.config, int(example.is_target.sum()) * self.weights.draws
        return Draws(
            scale=torch.randn(len(example.segments), generator=generator),
            latent=torch.randn(int(example.is_frame.sum()), config.latent_size, generator=generator),
            noise=torch.randn(rows, config.latent_size, generator=generator),
            timestep=torch.randint(config.head.ddpm_num_steps, (rows,), generator=generator),
        )

    def forward(self, batch: LongformBatch, draws: Draws, over: Counts | None = None) -> dict[str, Tensor]:
        """The losses of a batch; "loss" is their weighted sum.

        They are means over the labels and frames `over`, the batch's own if None. A batch that is only a part of a step
        takes the step's counts, divided by the number of parts if their gradients are averaged, not summed. Without
        frames the diffusion loss is 0, and head and connectors have a gradient of 0 all the same.
        """
        over, device = over or batch.counts, self.model.embedding.weight.device
        batch, draws = batch.to(device), draws.to(device)
        latents = self.sample(batch, draws)
        if len(latents) and bool(torch.isnan(self.model.latent_scale.scale + self.model.latent_scale.bias)):
            self.set_latent_scale(*latent_statistics(latents))
        latents = self.model.latent_scale.normalised(latents)
        states = self.states(batch, latents)
        tokens = self.token_loss(states, batch.labels) / (over.labels or 1)
        condition, x0 = states[:, :-1][batch.is_target[:, 1:]], latents[batch.is_target[batch.is_frame]]
        diffusion = self.diffusion_loss(condition, x0, draws) / (over.frames or 1)
        loss = self.weights.tokens * tokens + self.weights.diffusion * diffusion
        return {"loss": loss, "tokens": tokens, "diffusion": diffusion}

    def sample(self, batch: LongformBatch, draws: Draws) -> Tensor:
        """The latents [F, D] that the codec draws around its means, not normalised."""
        scale = draws.scale[batch.segment]  # a frame a row: each is drawn with its segment's scale
        return self.model.codec.sample(batch.means[:, None].float(), draws.latent[:, None], scale)[:, 0]

    def set_latent_scale(self, scale: Tensor, bias: Tensor) -> None:
        """Fix the space that the language model and the head live in; before the first step of a new model."""
        self.model.latent_scale.scale.copy_(scale)
        self.model.latent_scale.bias.copy_(bias)

    def states(self, batch: LongformBatch, latents: Tensor) -> Tensor:
        """States of the language model [B, T, H] when `latents` [F, D], normalised, are its speech."""
        inputs = self.model.embedding(batch.ids)
        speech = self.model.connector(latents.to(inputs.dtype))
        meaning = self.model.semantic_connector(batch.features.to(inputs.dtype))
        speech = speech.index_put((batch.has_features,), meaning, accumulate=True)
        states: Tensor = self.model.language_model(inputs.index_put((batch.is_frame,), speech.to(inputs.dtype)))
        return states

    def token_loss(self, states: Tensor, labels: Tensor) -> Tensor:
        """Summed cross entropy of labels [B, T - 1]. Only where one is learned are there logits: V is large."""
        is_learned = labels != IGNORED
        logits = F.linear(states[:, :-1][is_learned], self.model.token_weights)
        return F.cross_entropy(logits.float(), labels[is_learned], reduction="sum")

    def diffusion_loss(self, condition: Tensor, latents: Tensor, draws: Draws) -> Tensor:
        """Squared error, mean over dimensions and draws, summed over frames; condition [N, H], latents [N, D]."""
        count = self.weights.draws
        x0, condition = latents.repeat_interleave(count, 0), condition.repeat_interleave(count, 0)
        noisy = self.schedule.add_noise(x0, draws.noise, draws.timestep).to(condition.dtype)
        predicted = self.model.head(noisy, draws.timestep, condition)
        is_velocity = self.model.config.head.prediction_type == "v_prediction"
        target = self.schedule.velocity(x0, draws.noise, draws.timestep) if is_velocity else draws.noise
        return F.mse_loss(predicted.float(), target, reduction="sum") / (count * latents.shape[1])


def latent_statistics(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and bias that would give latents [F, D] unit variance and no mean; several ranks average theirs."""
    return 1 / latents.std(), -latents.mean()
