"""Latents of a recording without an encoder: searched for until the frozen decoder reproduces the sound.

Released Realtime checkpoints come without the codec's encoder. Their decoder is differentiable, so latents can be
optimised directly, as in GAN inversion (Zhu et al. 2016, arXiv:1609.03552), here against the spectral loss the codec is
trained with. Experimental: such latents need not look like those of an encoder, only sound alike.

The recording is worked through in windows that overlap. The decoder is causal, so what is settled is decoded once, its
streaming state is where the next window starts, and memory does not grow with the recording.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from loquor.models.codec import StackState
from loquor.models.realtime.model import RealtimeModel
from loquor.training.codec import CodecLoss, CodecLossWeights


@dataclass(frozen=True)
class InversionSettings:
    """How the search goes."""

    steps: int = 150  # of Adam, per window
    learning_rate: float = 0.1  # of normalised latents, whose spread is about 1
    window_frames: int = 24
    overlap_frames: int = 6  # taken over from the window before as a start, and improved with what follows them
    prior: float = 0.003  # weight of the mean square of the latents: the model has seen none far from zero


@dataclass(frozen=True)
class InversionProgress:
    """How far a search is."""

    step: int
    steps: int
    loss: float


@dataclass(frozen=True, eq=False)
class Inversion:
    """What a search found."""

    latents: Tensor  # [N, D], normalised
    error: float  # mean distance of log-mel spectra, in nepers
    error_at_start: float  # the same of latents that are zero


def invert(
    model: RealtimeModel,
    waveform: Tensor,
    settings: InversionSettings = InversionSettings(),
    progress: Callable[[InversionProgress], None] | None = None,
) -> Inversion:
    """Latents [ceil(T / hop), D] with which `model` sounds like waveform [T] at 24 kHz.

    Nothing is drawn, the search starts from zero: the same recording gives the same latents.
    """
    search = _Search(model, settings)
    hop = model.config.codec.hop_samples
    target = F.pad(waveform, (0, -len(waveform) % hop)).to(search.device)
    frames = len(target) // hop
    starts = range(0, max(1, frames - settings.overlap_frames), settings.window_frames - settings.overlap_frames)
    found = torch.zeros(frames, model.config.latent_size, device=search.device)
    error_at_start = search.error(found, target)
    state, settled = search.decoder.init_state(1), 0
    for i, start in enumerate(starts):
        end = min(start + settings.window_frames, frames)
        state, settled = search.advance(state, found[settled:start]), start

        def tell(step: int, loss: float, before: int = i * settings.steps) -> None:
            if progress:
                progress(InversionProgress(before + step, len(starts) * settings.steps, loss))

        found[start:end] = search.window(found[start:end], target[start * hop : end * hop], state, tell)
    return Inversion(found, search.error(found, target), error_at_start)


class _Search:
    """The frozen decoder, and the loss it is held to."""

    def __init__(self, model: RealtimeModel, settings: InversionSettings) -> None:
        assert model.codec.decoder is not None, "every Realtime model has one"
        self.decoder, self.scale, self.settings = model.codec.decoder, model.latent_scale, settings
        self.dtype, self.device = model.types.weight.dtype, model.types.weight.device
        self.weights = CodecLossWeights()
        self.loss = CodecLoss(self.weights).to(self.device)

    def decode(self, latents: Tensor, state: StackState) -> Tensor:
        """Normalised latents [n, D] to waveform [n * hop], continuing `state`."""
        sound: Tensor = self.decoder(self.scale.latent(latents.to(self.dtype))[None], state)
        return sound[0, 0].float()

    @torch.no_grad()
    def advance(self, state: StackState, latents: Tensor) -> StackState:
        """The state after `latents` [n, D] as well."""
        if len(latents):
            self.decode(latents, state)
        return state

    def window(self, latents: Tensor, target: Tensor, state: StackState, tell: Callable[[int, float], None]) -> Tensor:
        """Better latents [n, D] for target [n * hop], behind what `state` remembers."""
        w, steps = self.weights, self.settings.steps
        with torch.enable_grad():
            better = latents.clone().requires_grad_()
            optimizer = torch.optim.Adam([better], lr=self.settings.learning_rate)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
            for step in range(1, steps + 1):
                mel, magnitude, convergence = self.loss.distances(
                    self.decode(better, state.clone())[None], target[None]
                )
                loss = w.mel * mel + w.magnitude * magnitude + w.convergence * convergence
                loss = loss + self.settings.prior * better.square().mean()
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                tell(step, float(loss.detach()))
        return better.detach()

    @torch.no_grad()
    def error(self, latents: Tensor, target: Tensor) -> float:
        """The distance of log-mel spectra between what latents [N, D] sound like and target [N * hop]."""
        state = self.decoder.init_state(1)
        pieces = torch.split(latents, self.settings.window_frames)
        sound = torch.cat([self.decode(piece, state) for piece in pieces])
        mel, _, _ = self.loss.distances(sound[None], target[None])
        return float(mel)
