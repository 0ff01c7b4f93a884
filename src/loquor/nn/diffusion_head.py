"""The diffusion head: from a noisy latent, its timestep and a condition to the velocity that removes the noise.

A small stack of feed-forward layers, each shifted, scaled and gated by the condition (adaptive layer norm: Peebles and
Xie 2022, arXiv:2212.09748, section 3.2), over one latent at a time (VibeVoice, arXiv:2508.19205, section 2.2). There is
no attention: all context is in the condition. That stays the same while a latent is denoised, so `modulations` computes
every step's shifts, scales and gates at once and leaves the layers to `predict`; `forward` is both, a timestep a row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loquor.configs import MOST, require_int
from loquor.errors import ConfigError
from loquor.nn.linear import Linear
from loquor.nn.norm import RMSNorm
from loquor.nn.qwen2 import GatedFeedForward

FREQUENCIES = 256  # sinusoids of a timestep, half of them cosines
LONGEST_PERIOD = 10_000.0
TIME_INIT_STD = 0.02

Modulation = tuple[tuple[Tensor, ...], ...]  # a layer's shift, factor and gate [R, H]; last, the output's first two


@dataclass(frozen=True)
class DiffusionHeadConfig:
    """Shape of the head and how it was trained; names and defaults are those of the published files."""

    hidden_size: int  # H, as wide as the condition
    latent_size: int  # D
    head_layers: int = 4
    head_ffn_ratio: float = 3.0
    rms_norm_eps: float = 1e-5
    speech_vae_dim: int | None = None  # D once more
    prediction_type: str = "v_prediction"
    diffusion_type: str = "ddpm"
    ddpm_num_steps: int = 1000  # training timesteps
    ddpm_num_inference_steps: int = 20
    ddpm_beta_schedule: str = "cosine"
    ddpm_batch_mul: int = 4  # noise draws per latent in a training step

    def __post_init__(self) -> None:
        require_int(
            "diffusion_head",
            hidden_size=self.hidden_size,
            latent_size=self.latent_size,
            ddpm_num_steps=self.ddpm_num_steps,
            ddpm_num_inference_steps=self.ddpm_num_inference_steps,
            ddpm_batch_mul=self.ddpm_batch_mul,
        )
        require_int("diffusion_head", 1, MOST, head_layers=self.head_layers)
        if self.diffusion_type != "ddpm":
            raise ConfigError(
                f"diffusion_head.diffusion_type {self.diffusion_type!r} is unknown; published heads have 'ddpm'"
            )
        if self.speech_vae_dim not in (None, self.latent_size):
            raise ConfigError(
                f"diffusion_head.speech_vae_dim {self.speech_vae_dim} is not latent_size {self.latent_size}"
            )
        require_int("diffusion_head", **{"hidden_size times head_ffn_ratio": self.ffn_size})
        if not self.rms_norm_eps > 0:
            raise ConfigError(f"diffusion_head.rms_norm_eps must be positive, got {self.rms_norm_eps!r}")

    @property
    def ffn_size(self) -> int:
        """Channels inside a feed-forward block."""
        return int(self.hidden_size * self.head_ffn_ratio)


def timestep_frequencies(timesteps: Tensor) -> Tensor:
    """cos(t w_j) then sin(t w_j) for w_j = 10000^(-j / 128): [N] to [N, 256], in the dtype of `timesteps`.

    Computed in fp32 whatever that dtype, in the published order of operations: at t = 999 one unit in the last place of
    a frequency is already 6e-5 of an angle.
    """
    half = FREQUENCIES // 2
    exponents = torch.arange(half, dtype=torch.float32, device=timesteps.device)
    angles = timesteps.float()[:, None] * torch.exp(-math.log(LONGEST_PERIOD) * exponents / half)
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1).to(timesteps.dtype)


class TimeEmbedding(nn.Module):
    """Sinusoids of a timestep through two layers."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = Linear(FREQUENCIES, dim, bias=False)
        self.fc2 = Linear(dim, dim, bias=False)

    def forward(self, timesteps: Tensor) -> Tensor:
        """timesteps [N], floating, in the model's dtype, to [N, H]."""
        y: Tensor = self.fc2(F.silu(self.fc1(timestep_frequencies(timesteps))))
        return y


class HeadLayer(nn.Module):
    """x + gate * ffn(norm(x) * (1 + scale) + shift); the norm's weight and 1 + scale are one factor."""

    def __init__(self, config: DiffusionHeadConfig) -> None:
        super().__init__()
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.ffn = GatedFeedForward(config.hidden_size, config.ffn_size)
        self.modulation = Linear(config.hidden_size, 3 * config.hidden_size, bias=False)

    def modulate(self, activated: Tensor) -> tuple[Tensor, ...]:
        """The condition with time, activated, [..., H], to shift, factor and gate [..., H]."""
        shift, scale, gate = self.modulation(activated).chunk(3, dim=-1)
        return shift, (1 + scale) * self.norm.weight, gate

    def forward(self, x: Tensor, modulation: tuple[Tensor, ...]) -> Tensor:
        """x [R, H]."""
        shift, factor, gate = modulation
        return torch.addcmul(x, gate, self.ffn(torch.addcmul(shift, self.norm.normalised(x), factor)))


class HeadOutput(nn.Module):
    """latent_out(norm(x) * (1 + scale) + shift); this norm has no weight."""

    def __init__(self, config: DiffusionHeadConfig) -> None:
        super().__init__()
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps, affine=False)
        self.modulation = Linear(config.hidden_size, 2 * config.hidden_size, bias=False)
        self.latent_out = Linear(config.hidden_size, config.latent_size, bias=False)

    def modulate(self, activated: Tensor) -> tuple[Tensor, ...]:
        """As a layer does, without a gate."""
        shift, scale = self.modulation(activated).chunk(2, dim=-1)
        return shift, 1 + scale

    def forward(self, x: Tensor, modulation: tuple[Tensor, ...]) -> Tensor:
        """x [R, H] to [R, D]."""
        shift, factor = modulation
        y: Tensor = self.latent_out(torch.addcmul(shift, self.norm(x), factor))
        return y


class DiffusionHead(nn.Module):
    """Predicts the velocity; freshly initialised it predicts 0."""

    def __init__(self, config: DiffusionHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.latent_in = Linear(config.latent_size, config.hidden_size, bias=False)
        self.condition_in = Linear(config.hidden_size, config.hidden_size, bias=False)
        self.time_embedding = TimeEmbedding(config.hidden_size)
        self.layers = nn.ModuleList(HeadLayer(config) for _ in range(config.head_layers))
        self.output = HeadOutput(config)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Modulations and output start at zero (DiT's adaLN-Zero), so no layer acts before it has learned to."""
        for zeroed in (*self._modulators(), self.output.latent_out):
            nn.init.zeros_(zeroed.weight)
        for linear in (self.time_embedding.fc1, self.time_embedding.fc2):
            nn.init.normal_(linear.weight, std=TIME_INIT_STD)

    def forward(self, noisy: Tensor, timesteps: Tensor, condition: Tensor) -> Tensor:
        """noisy [N, D], timesteps [N] of 0 to 999, condition [N, H], to the velocity [N, D]; no sequence axis."""
        time = self.time_embedding(timesteps.to(noisy.dtype))
        return self.predict(noisy, self._modulation(self.condition_in(condition) + time))

    def embed_timesteps(self, timesteps: Tensor) -> Tensor:
        """timesteps [N] of any dtype to [N, H]. Depends on the weights alone: keep it as long as they do not change.

        The timesteps are rounded to the model's dtype first, as in training: in bf16 999 becomes 1000.
        """
        working = next(self._layers()[0].norm.parameters())  # quantising the linears leaves it alone
        embeddings: Tensor = self.time_embedding(timesteps.to(working))
        return embeddings

    def modulations(self, time_embeddings: Tensor, condition: Tensor) -> list[Modulation]:
        """[N, H] and condition [R, H] to one modulation for each of N steps, each layer's in a single product."""
        every_step = self._modulation(self.condition_in(condition) + time_embeddings[:, None])
        layers = [zip(*(t.unbind() for t in of_layer), strict=True) for of_layer in every_step]
        return list(zip(*layers, strict=True))

    def predict(self, noisy: Tensor, modulation: Modulation) -> Tensor:
        """noisy [R, D] to the velocity [R, D]."""
        x = self.latent_in(noisy)
        *for_layers, for_output = modulation
        for layer, for_layer in zip(self.layers, for_layers, strict=True):
            x = layer(x, for_layer)
        y: Tensor = self.output(x, for_output)
        return y

    def _modulation(self, condition: Tensor) -> Modulation:
        """condition with time [..., H] to tensors [..., H]."""
        activated = F.silu(condition)
        return (*(layer.modulate(activated) for layer in self._layers()), self.output.modulate(activated))

    def _modulators(self) -> list[nn.Linear]:
        return [*(layer.modulation for layer in self._layers()), self.output.modulation]

    def _layers(self) -> list[HeadLayer]:
        return cast(list[HeadLayer], list(self.layers))
