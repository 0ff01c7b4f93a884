"""An encoder for a codec that came without: trained to tell the latents from the sound that the decoder made of them.

Released Realtime checkpoints hold a decoder only. Their own takes are latents, and the decoder gives the sound of each:
pairs without end, and without a recording, as a generator is inverted by a network trained on its samples (Zhu et al.
2016, arXiv:1609.03552). But sounds that the model cannot make are in no pair, and of them such an encoder knows little.
So where there are recordings, half of a batch are excerpts of them, and what the decoder makes of their latents shall
sound like them, as in the codec's own training. The decoder stays as it is. Experimental.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from loquor.models.codec import CodecConfig, Encoder
from loquor.models.realtime.model import RealtimeModel
from loquor.training.codec import CodecLoss, CodecLossWeights, unit_variance
from loquor.training.excerpts import FRAMES, Recordings, Takes, parted
from loquor.training.sequences import encode_frames, whole_frames
from loquor.training.trainer import Optimisation, Trainer, step_generator

ROWS = 8  # of a batch; with recordings half of them are theirs
CHUNK_BYTES = 2**30  # that the rows which are computed at once may keep for their gradients
PRIOR = 0.003  # weight of the mean square of a recording's latents: the model has seen none far from zero


@dataclass(frozen=True, eq=False)
class Material:
    """What an encoder learns from; the last of each only measure."""

    takes: Sequence[Tensor]  # [N, D] each, normalised
    recordings: Sequence[Tensor] = ()  # [T] each, at 24 kHz


@dataclass(frozen=True)
class Figures:
    """How good an encoder is."""

    latent_error: float  # mean square error over the variance of the latents; 0 is perfect, 1 a constant
    correlation: float  # with the latents, mean over their dimensions
    mel_distance: float  # between a take and what the decoder makes of its latents: log-mel, in nepers
    mel_distance_of_recordings: float | None  # the same; None if there are none


def rows_at_once(config: CodecConfig) -> int:
    """How many rows of a batch may be computed together without keeping more than `CHUNK_BYTES`."""
    kept_per_channel = 9 + 2 * config.ffn_expansion  # numbers a block keeps at each position
    positions, row = FRAMES * config.hop_samples // config.patch_samples, 0
    for width, depth, ratio in zip(
        config.down_widths, config.down_depths, (*config.encoder_ratios[::-1], 1), strict=True
    ):
        row += positions * width * (depth * kept_per_channel + 2)
        positions //= ratio
    return max(1, min(ROWS, CHUNK_BYTES // (4 * row)))


class Distillation(Trainer):
    """Trains a new encoder for the codec of `model`, which becomes float32 and goes to `device`."""

    def __init__(
        self, model: RealtimeModel, material: Material, folder: Path, options: Optimisation, device: torch.device
    ) -> None:
        assert model.codec.decoder is not None, "every Realtime model has one"
        self.device, self.config = device, model.codec.config
        self.scale, self.decoder = model.latent_scale.to(device), model.codec.decoder.float().to(device)
        takes, self.held_out = parted(material.takes)
        recordings, self.held_out_recordings = parted(material.recordings)
        self.takes = Takes(takes)
        self.recordings = Recordings(recordings, self.config.hop_samples) if recordings else None
        self.rows_at_once = rows_at_once(self.config)
        self.weights = CodecLossWeights()
        self.distance = CodecLoss(self.weights).to(device)
        self.encoder = self._beginning(options.seed)
        super().__init__(self.encoder, folder, options)

    def train(self, progress: Callable[[int, float], None]) -> None:
        """Run to the last step; `progress` is told each step and its loss."""
        self.run(self._all_gradients, self._validate, lambda step, values: progress(step, values["loss"]))

    def _validate(self) -> dict[str, float]:
        return {name: value for name, value in asdict(self.figures()).items() if value is not None}

    @torch.no_grad()
    def figures(self) -> Figures:
        """How good the encoder is on the takes that are held out."""
        self.encoder.eval()
        sounds = [self.sound(take[None].to(self.device))[0] for take in self.held_out]
        recorded = [whole_frames(waveform, self.config.hop_samples) for waveform in self.held_out_recordings]
        heard, said = torch.cat([self.hear(sound) for sound in sounds]), torch.cat(list(self.held_out))
        off, spread, heard_spread = heard - said, said - said.mean(0), heard - heard.mean(0)
        together = (spread * heard_spread).sum(0) / (spread.norm(dim=0) * heard_spread.norm(dim=0))
        return Figures(
            latent_error=float(off.square().sum() / spread.square().sum()),
            correlation=float(together.mean()),
            mel_distance=self._copy_distance(sounds),
            mel_distance_of_recordings=self._copy_distance(recorded) if recorded else None,
        )

    def _copy_distance(self, sounds: Sequence[Tensor]) -> float:
        """How far what the decoder makes of the latents of sounds [N * hop] is from them: log-mel, in nepers."""
        copies = [self.sound(self.hear(sound)[None].to(self.device)) for sound in sounds]
        pairs = zip(copies, sounds, strict=True)
        return sum(float(self.distance.distances(a, b.to(a)[None])[0]) for a, b in pairs) / len(sounds)

    def trained(self, dtype: torch.dtype) -> Encoder:
        """A copy of the encoder with its averaged weights, on the CPU."""
        with self.averaged():
            encoder = copy.deepcopy(self.encoder).cpu().to(dtype)
        return encoder.eval().requires_grad_(False)

    def _beginning(self, seed: int) -> Encoder:
        """An encoder whose layers pass on what they get at the strength of speech."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = Encoder(self.config).to(self.device)
        batch = self.takes.draw(self.rows_at_once, step_generator(seed, 0)).to(self.device)
        unit_variance(encoder, self.sound(batch)[:, None], 1 / float(self.scale.scale))
        if encoder.head.bias is not None:
            encoder.head.bias.data.fill_(-float(self.scale.bias))
        return encoder

    def _all_gradients(self) -> dict[str, float]:
        """Fill the gradients of a batch; gives its losses."""
        generator = step_generator(self.options.seed, self.step)
        said = self.takes.draw(ROWS // 2 if self.recordings else ROWS, generator)
        losses = {"latents": self._learn(said, self.rows_at_once, self._latents_missed)}
        if self.recordings:
            recorded = self.recordings.draw(ROWS // 2, generator)
            rows_at_once = max(1, self.rows_at_once // 2)  # the decoder keeps as much as the encoder
            losses["copies"] = self._learn(recorded, rows_at_once, self._copies_missed)
        return {"loss": sum(losses.values())} | losses

    def _learn(self, batch: Tensor, rows_at_once: int, loss_of: Callable[[Tensor], Tensor]) -> float:
        """Add the gradient of a loss that is summed over rows, some rows at a time; gives its mean."""
        mean = 0.0
        for rows in torch.split(batch.to(self.device), rows_at_once):
            loss = loss_of(rows) / len(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            mean += float(loss.detach())
        return mean

    def _latents_missed(self, latents: Tensor) -> Tensor:
        """Mean square errors of what is heard of latents [B, N, D], summed over B."""
        heard = self.scale.normalised(self.encoder(self.sound(latents)[:, None]))
        return (heard - latents).square().mean((1, 2)).sum()

    def _copies_missed(self, sounds: Tensor) -> Tensor:
        """Distances of sounds [B, T] and what the decoder makes of their latents, summed over B."""
        means, w = self.encoder(sounds[:, None]), self.weights
        loss = PRIOR * self.scale.normalised(means).square().mean((1, 2)).sum()
        for again, sound in zip(self.decoder(means), sounds[:, None], strict=True):
            mel, magnitude, convergence = self.distance.distances(again, sound)
            loss = loss + w.mel * mel + w.magnitude * magnitude + w.convergence * convergence
        return loss

    @torch.no_grad()
    def sound(self, latents: Tensor) -> Tensor:
        """What the decoder makes of latents [B, N, D], [B, N * hop]."""
        sound: Tensor = self.decoder(self.scale.latent(latents))
        return sound[:, 0]

    def hear(self, sound: Tensor) -> Tensor:
        """The latents [N, D] of sound [N * hop], on the CPU."""
        means = encode_frames(self.encoder, sound, self.config.hop_samples)
        return self.scale.normalised(means.to(self.device)).cpu()
