"""An adversary for the codec's decoder: distances of spectra alone leave speech dull, for they are lowest at the mean.

Critics look at complex spectrograms of several resolutions and learn to tell the codec's sound from what it heard
(the multi-scale STFT discriminator of EnCodec, arXiv:2210.13438, section 3.4); the decoder learns to pass for it, by
least squares (Mao et al. 2017, arXiv:1611.04076), and to leave the same traces inside them (feature matching, Kumar et
al. 2019, arXiv:1910.06711, section 2.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loquor.models.codec import Codec
from loquor.training.codec import CodecLoss

RESOLUTIONS = (512, 1024, 2048)  # samples of a window
COMPRESSION = 0.3  # of magnitudes, which span five decades
SLOPE = 0.2
CROP_SAMPLES = 19_200  # 0.8 s: what the critics hear of an excerpt


@dataclass(frozen=True)
class AdversarialWeights:
    """Beside the spectral distances, which count once."""

    adversarial: float = 0.05
    features: float = 0.1


class Critic(nn.Module):
    """One resolution: how recorded every patch of time and frequency looks."""

    window: Tensor

    def __init__(self, size: int, channels: int = 16) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        widths = [2, *[channels] * 4]
        layers = [nn.Conv2d(i, o, (3, 9), (1, 2), (1, 4)) for i, o in pairwise(widths)]
        self.layers = nn.ModuleList([*layers, nn.Conv2d(channels, channels, 3, padding=1)])
        self.head = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, waveform: Tensor, learns: bool = True) -> list[Tensor]:
        """Waveform [B, T] to the features of every layer [B, C, frames, bins] and, last, the verdict: 1 is recorded.

        A critic that does not learn passes its gradient on, and keeps none.
        """
        spectrum = torch.stft(waveform, self.size, self.size // 4, window=self.window, return_complex=True)
        x = torch.view_as_real(spectrum).permute(0, 3, 2, 1)  # [B, 2, frames, bins]
        x = x * x.square().sum(1, keepdim=True).add(1e-6).pow((COMPRESSION - 1) / 2)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(_convolve(layer, x, learns), SLOPE)
            features.append(x)
        return [*features, _convolve(self.head, x, learns)]


def _convolve(layer: nn.Module, x: Tensor, learns: bool) -> Tensor:
    assert isinstance(layer, nn.Conv2d) and layer.bias is not None
    weight, bias = (p if learns else p.detach() for p in (layer.weight, layer.bias))
    return F.conv2d(x, weight, bias, layer.stride, layer.padding)


class AdversarialTraining(nn.Module):
    """A codec, of which the decoder learns, and its critics, which learn beside it in the same steps."""

    def __init__(self, codec: Codec, loss: CodecLoss, weights: AdversarialWeights) -> None:
        super().__init__()
        self.codec, self.weights = codec, weights
        self.critics = nn.ModuleList(Critic(size) for size in RESOLUTIONS)
        self._loss = (loss,)  # in a tuple: it is no part of what is trained

    def forward(self, waveform: Tensor, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Waveform [B, 1, T], T a multiple of the hop: one loss for both sides, each of which it moves alone."""
        codec, (loss,) = self.codec, self._loss
        assert codec.encoder is not None and codec.decoder is not None
        with torch.no_grad():
            mean = codec.encoder(waveform).float()
        noise = torch.randn(mean.shape, generator=generator)
        said = codec.decoder(mean + loss.noise_std(step) * noise).float()[:, 0]
        start = int(torch.randint(0, waveform.shape[-1] - CROP_SAMPLES + 1, (), generator=generator))
        part = slice(start, start + CROP_SAMPLES)
        with torch.autocast("cpu", enabled=False):
            mel, magnitude, convergence = loss.distances(said, waveform[:, 0])
        passing, features, telling = self._verdicts(said[:, part], waveform[:, 0, part])
        spectral = loss.weights.mel * mel + loss.weights.magnitude * magnitude + loss.weights.convergence * convergence
        total = spectral + self.weights.adversarial * passing + self.weights.features * features + telling
        parts = {"mel": mel, "magnitude": magnitude, "convergence": convergence}
        return {"loss": total, **parts, "passing": passing, "features": features, "telling": telling}

    def _verdicts(self, said: Tensor, heard: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How far the decoder is from passing, its features from those of what it heard, and how badly critics tell."""
        passing, features, telling = [], [], []
        for critic in self.critics:
            of_said, of_heard = critic(said, learns=False), critic(heard)
            passing.append((of_said[-1] - 1).square().mean())
            scales = [traces.detach().abs().mean() + 1e-3 for traces in of_heard]
            apart = [F.l1_loss(a, b.detach()) / s for a, b, s in zip(of_said, of_heard, scales, strict=True)]
            features.append(torch.stack(apart[:-1]).mean())
            telling.append((of_heard[-1] - 1).square().mean() + critic(said.detach())[-1].square().mean())
        return torch.stack(passing).mean(), torch.stack(features).mean(), torch.stack(telling).mean()
