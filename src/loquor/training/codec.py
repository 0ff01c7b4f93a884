"""Trains a codec from nothing on audio alone (the embedded voice's first stage).

Loss: multi-resolution STFT (L1 of log-mel, L1 of log-magnitude, spectral convergence; Yamamoto et al. 2020,
arXiv:1910.11480) plus a small prior on the latents. The latent noise of the sigma-VAE is ramped up, so that the
decoder first learns to listen, then to be robust (arXiv:2508.19205, section 2.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loquor.models.codec import SAMPLE_RATE_HZ, Codec, Decoder, Encoder
from loquor.nn.conv import CausalConv1d, CausalConvTranspose1d


@dataclass(frozen=True)
class CodecLossWeights:
    """Weights of the parts of the loss, and the ramp of the latent noise."""

    mel: float = 1.0
    magnitude: float = 0.3
    convergence: float = 0.3
    prior: float = 0.01
    noise_start: float = 0.05
    noise_end: float = 0.3
    noise_steps: int = 2000


class STFTLoss(nn.Module):
    """Spectral distance at one resolution."""

    window: Tensor
    mel: Tensor

    def __init__(self, size: int, mels: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        self.register_buffer("mel", mel_filters(size, mels, SAMPLE_RATE_HZ), persistent=False)

    def magnitude(self, waveform: Tensor) -> Tensor:
        """Waveform [B, T] to [B, frames, size / 2 + 1]."""
        spectrum = torch.stft(waveform, self.size, self.size // 4, window=self.window, return_complex=True)
        return torch.view_as_real(spectrum).square().sum(-1).add(1e-9).sqrt().transpose(1, 2)

    def forward(self, predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Waveforms [B, T] to (log-mel L1, log-magnitude L1, spectral convergence)."""
        p, t = self.magnitude(predicted), self.magnitude(target)
        mel = F.l1_loss((p @ self.mel + 1e-2).log(), (t @ self.mel + 1e-2).log())
        magnitude = F.l1_loss((p + 1e-2).log(), (t + 1e-2).log())
        convergence = (t - p).norm() / t.norm().clamp_min(1e-3)
        return mel, magnitude, convergence


class CodecLoss(nn.Module):
    """What the codec is trained to lower; see the module's docstring."""

    def __init__(self, weights: CodecLossWeights) -> None:
        super().__init__()
        self.weights = weights
        self.resolutions = nn.ModuleList(STFTLoss(n, m) for n, m in ((256, 32), (512, 64), (1024, 80), (2048, 128)))

    def noise_std(self, step: int) -> float:
        w = self.weights
        return w.noise_start + (w.noise_end - w.noise_start) * min(1.0, step / w.noise_steps)

    def distances(self, predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How far waveforms [B, T] are apart: log-mel L1, log-magnitude L1, spectral convergence; all resolutions."""
        parts = [resolution(predicted, target) for resolution in self.resolutions]
        mel, magnitude, convergence = (torch.stack(part).mean() for part in zip(*parts, strict=True))
        return mel, magnitude, convergence

    def forward(self, codec: Codec, waveform: Tensor, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Waveform [B, 1, T], T a multiple of the hop."""
        assert codec.encoder is not None and codec.decoder is not None
        mean = codec.encoder(waveform).float()
        noise = torch.randn(mean.shape, generator=generator)
        predicted = codec.decoder(mean + self.noise_std(step) * noise)
        with torch.autocast("cpu", enabled=False):
            mel, magnitude, convergence = self.distances(predicted.float()[:, 0], waveform[:, 0])
            prior = mean.square().mean()
        w = self.weights
        loss = w.mel * mel + w.magnitude * magnitude + w.convergence * convergence + w.prior * prior
        return {"loss": loss, "mel": mel, "magnitude": magnitude, "convergence": convergence, "prior": prior}


def mel_filters(size: int, mels: int, rate_hz: int) -> Tensor:
    """Triangular filters [size / 2 + 1, mels], each of unit sum, on the mel scale of HTK."""

    def to_mel(hz: float) -> float:
        return 2595 * math.log10(1 + hz / 700)

    edges_mel = torch.linspace(0, to_mel(rate_hz / 2), mels + 2, dtype=torch.float64)
    edges = 700 * (10 ** (edges_mel / 2595) - 1)
    hz = torch.linspace(0, rate_hz / 2, size // 2 + 1, dtype=torch.float64)[:, None]
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rising, falling).clamp_min(0)
    narrow = filters.sum(0) == 0  # a band narrower than a bin takes the nearest bin
    filters[(hz - edges[1:-1]).abs().argmin(0)[narrow], narrow.nonzero()[:, 0]] = 1.0
    return (filters / filters.sum(0)).float()


@torch.no_grad()
def start_as_filterbank(codec: Codec) -> None:
    """First and last layer as windowed cosines and sines, so that training starts from a rough spectrogram.

    Only for codecs whose stem and head see patches of waveform.
    """
    assert codec.encoder is not None and codec.decoder is not None
    stem, head = codec.encoder.stem, codec.decoder.head
    assert isinstance(stem, CausalConv1d) and isinstance(head, CausalConvTranspose1d)
    taps, width = stem.weight.shape[1], stem.weight.shape[0]
    time = torch.arange(taps) + 0.5
    window = torch.sin(math.pi * time / taps)
    frequency = (torch.arange(width) // 2 + 0.5) * math.pi / (width // 2)
    phase = (torch.arange(width) % 2) * (math.pi / 2)
    basis = window * torch.cos(frequency[:, None] * time + phase[:, None])  # [C, taps]
    stem.weight.copy_(basis * (2.0 / taps) * 4)
    synthesis = basis.view(width, 2, taps // 2)  # first half is heard in the current block, second in the next
    head.weight.copy_(torch.cat([synthesis[:, 1].T, synthesis[:, 0].T], 1) * 0.05)


@torch.no_grad()
def balance(codec: Codec, waveform: Tensor) -> None:
    """Both halves at unit variance on `waveform` [B, 1, T]; what comes out is half as loud as speech."""
    assert codec.encoder is not None and codec.decoder is not None
    latents = unit_variance(codec.encoder, waveform)
    unit_variance(codec.decoder, latents, 0.5 * float(waveform.std()))


@torch.no_grad()
def unit_variance(half: Encoder | Decoder, x: Tensor, last: float = 1.0) -> Tensor:
    """Scale every (de)convolution so that its output has unit variance on `x`, the head's a deviation of `last`.

    Layer-sequential unit variance (Mishkin & Matas 2016, arXiv:1511.06422). Without it most latent dimensions start far
    below the noise and never carry anything; with it 160 steps reached the loss that took 340. Gives what comes out.
    """

    def rescale(layer: nn.Module, _: object, output: Tensor) -> Tensor:
        factor = (last if layer is half.head else 1.0) / output.std()
        layer.weight.mul_(factor)  # type: ignore[operator]
        return output * factor

    hooks = [layer.register_forward_hook(rescale) for layer in (half.stem, *half.resamplers, half.head)]
    y: Tensor = half(x)
    for hook in hooks:
        hook.remove()
    return y
