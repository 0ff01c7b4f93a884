"""Trains a Realtime model on the very windows generation uses.

Every utterance is laid out as it would be spoken (text window, speech window, ...). The condition of a frame is the
upper layers' state one position before it. Losses: velocity of the diffusion head (arXiv:2202.00512, appendix D), the
end of speech, and two aids that exist only in training: the next latent and the phones sounding in it, each regressed
from the condition, so that the model finds the place in the text long before the diffusion loss would show it.
A share of the rows has no text: it trains the negative branch of guidance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loquor.diffusion.schedule import ScheduleConfig, noise_schedule
from loquor.models.realtime.model import RealtimeConfig, RealtimeModel
from loquor.models.realtime.prompt import interleave

PHONE_SLOTS = 4  # phones told apart within a frame, 33 ms each


@dataclass(frozen=True)
class Example:
    """One utterance, ready to be laid out."""

    ids: Tensor  # [M] text tokens, the voice's prompt first
    prompt: int  # how many of them are the prompt
    latents: Tensor  # [N, D], normalised
    phones: Tensor  # [N, PHONE_SLOTS] int64
    reference: Tensor  # [R, D] other speech in the same voice, which the prompt ends in; R may be 0


@dataclass(frozen=True)
class RealtimeBatch:
    """Examples laid out in the upper layers' sequence; what is padding points at the spare last position."""

    ids: Tensor  # [B, M]
    text_at: Tensor  # [B, M] positions
    reference: Tensor  # [B, R, D]
    reference_at: Tensor  # [B, R] positions
    latents: Tensor  # [B, N, D]
    speech_at: Tensor  # [B, N] positions
    is_frame: Tensor  # [B, N] False where padded
    is_last: Tensor  # [B, N] True at the last frame of an utterance
    phones: Tensor  # [B, N, PHONE_SLOTS]
    length: int  # of the upper sequence, the spare position included


def collate(
    examples: Sequence[Example], config: RealtimeConfig, negative: Sequence[bool], negative_id: int
) -> RealtimeBatch:
    """Rows of `negative` lose text and reference and keep one `negative_id`, as the negative branch does."""
    layouts, texts, references, prompts = [], [], [], []
    for example, is_negative in zip(examples, negative, strict=True):
        ids = torch.tensor([negative_id]) if is_negative else example.ids
        reference = example.reference[:0] if is_negative else example.reference
        prompt = 1 if is_negative else example.prompt
        frames, before = len(example.latents), prompt + len(reference)
        texts.append(ids)
        references.append(reference)
        prompts.append(prompt)
        layouts.append(interleave(before, len(ids) - prompt, frames, config.text_window, config.speech_window))
    spare = max(len(a.text) + len(a.speech) for a in layouts)
    heard_at = [a.text[p : p + len(r)] for a, p, r in zip(layouts, prompts, references, strict=True)]
    text_at = [[*a.text[:p], *a.text[p + len(r) :]] for a, p, r in zip(layouts, prompts, references, strict=True)]

    def padded(rows: Sequence[Tensor], value: float) -> Tensor:
        return nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)

    latents = [e.latents for e in examples]
    return RealtimeBatch(
        ids=padded(texts, 0),
        text_at=padded([torch.tensor(at) for at in text_at], spare),
        reference=padded(references, 0),
        reference_at=padded([torch.tensor(at, dtype=torch.long) for at in heard_at], spare),
        latents=padded(latents, 0),
        speech_at=padded([torch.tensor(a.speech) for a in layouts], spare),
        is_frame=padded([torch.ones(len(z), dtype=torch.bool) for z in latents], False),
        is_last=padded([F.one_hot(torch.tensor(len(z) - 1), len(z)).bool() for z in latents], False),
        phones=padded([e.phones for e in examples], 0),
        length=spare + 1,
    )


@dataclass(frozen=True)
class RealtimeLossWeights:
    """Weights of the losses, and how the inputs are disturbed."""

    diffusion: float = 1.0
    end: float = 0.1
    end_positive: float = 5.0  # weight of the one last frame against the many others
    latent: float = 0.5
    phone: float = 0.3
    draws: int = 4  # noise draws per frame
    input_noise: float = 0.3  # largest std of the noise on the latents fed back


class RealtimeTraining(nn.Module):
    """The model with the aids it is trained with."""

    def __init__(self, model: RealtimeModel, phones: int, weights: RealtimeLossWeights) -> None:
        super().__init__()
        self.model, self.weights, self.phones = model, weights, phones
        hidden, config = model.config.hidden_size, model.config
        self.next_latent = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, config.latent_size))
        self.next_phones = nn.Linear(hidden, PHONE_SLOTS * phones)
        steps = config.head.ddpm_num_steps
        self.schedule = noise_schedule(
            ScheduleConfig(beta_schedule=config.head.ddpm_beta_schedule, num_train_timesteps=steps)
        )

    def hidden(self, batch: RealtimeBatch, latents: Tensor) -> Tensor:
        """States of the upper layers [B, length, H] when `latents` [B, N, D] are fed back."""
        text = self.model.embed_text(batch.ids)
        speech = self.model.embed_speech(latents)
        rows = torch.arange(len(batch.ids))[:, None]
        inputs = text.new_zeros(len(batch.ids), batch.length, text.shape[-1])
        inputs = inputs.index_put((rows, batch.text_at), text)
        inputs = inputs.index_put((rows, batch.speech_at), speech.to(text.dtype))
        reference = self.model.embed_speech(batch.reference)
        inputs = inputs.index_put((rows, batch.reference_at), reference.to(text.dtype))
        states: Tensor = self.model.speech_model(inputs)
        return states

    def forward(self, batch: RealtimeBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """The losses of a batch; "loss" is their weighted sum."""
        w = self.weights
        std = torch.rand(len(batch.ids), 1, 1, generator=generator) * w.input_noise
        disturbed = batch.latents + std * torch.randn(batch.latents.shape, generator=generator)
        hidden = self.hidden(batch, disturbed)
        rows = torch.arange(len(batch.ids))[:, None]
        condition = hidden[rows, batch.speech_at - 1][batch.is_frame]  # [F, H]
        target, phones = batch.latents[batch.is_frame], batch.phones[batch.is_frame]
        diffusion = self.diffusion_loss(condition, target, generator)
        logits = self.model.end_classifier(hidden[rows, batch.speech_at])[batch.is_frame]
        end = F.binary_cross_entropy_with_logits(
            logits.float(), batch.is_last[batch.is_frame].float(), pos_weight=torch.tensor(w.end_positive)
        )
        latent = F.mse_loss(self.next_latent(condition).float(), target)
        phone = F.cross_entropy(self.next_phones(condition).float().view(-1, self.phones), phones.flatten())
        loss = w.diffusion * diffusion + w.end * end + w.latent * latent + w.phone * phone
        return {"loss": loss, "diffusion": diffusion, "end": end, "latent": latent, "phone": phone}

    def diffusion_loss(self, condition: Tensor, latents: Tensor, generator: torch.Generator) -> Tensor:
        """Mean squared error of the velocity; condition [F, H], latents [F, D], `draws` noise draws for each."""
        draws = self.weights.draws
        x0, condition = latents.repeat_interleave(draws, 0), condition.repeat_interleave(draws, 0)
        noise = torch.randn(x0.shape, generator=generator)
        timesteps = torch.randint(len(self.schedule.betas), (len(x0),), generator=generator)
        noisy = self.schedule.add_noise(x0, noise, timesteps)
        predicted = self.model.head(noisy, timesteps.to(noisy.dtype), condition)
        return F.mse_loss(predicted.float(), self.schedule.velocity(x0, noise, timesteps))


def phone_slots(segments: Sequence[tuple[str, float]], frames: int, frame_s: float, index: dict[str, int]) -> Tensor:
    """The phone sounding at the middle of each slot of each frame, [frames, PHONE_SLOTS]; silence after the end."""
    out, at = [], 0
    for slot in range(frames * PHONE_SLOTS):
        moment = (slot + 0.5) * frame_s / PHONE_SLOTS
        while at < len(segments) - 1 and segments[at][1] <= moment:
            at += 1
        out.append(index[segments[at][0]])
    return torch.tensor(out).view(frames, PHONE_SLOTS)
