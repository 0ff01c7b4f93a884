"""What an encoder is distilled from, in excerpts of two seconds: latents of takes, and recordings if there are any."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from loquor.audio.io import read
from loquor.audio.level import normalize_level
from loquor.errors import InputError
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.training.dataset.sounds import SUFFIXES

FRAMES = 16  # of an excerpt: 2.1 s
HELD_OUT = 0.1  # share of the takes, and of the recordings, that only measure
MOST_S = 3600.0  # of recordings, which are held in memory: 350 MB
AS_THEY_ARE = 0.5  # share of the excerpts of takes
STRETCH, GAIN, NOISE = 1.4, 1.3, 0.3  # at most, of the other ones; noise in normalised units, where speech has about 1


class Takes:
    """Latents [N, D] to draw from, normalised, one behind the other as if said in one go."""

    def __init__(self, takes: Sequence[Tensor]) -> None:
        self.latents, least = torch.cat(list(takes)), math.ceil(FRAMES * STRETCH)
        if len(self.latents) < least:
            raise InputError(
                f"the takes have {len(self.latents)} frames, training needs at least {least}",
                hint="give more or longer texts",
            )

    def draw(self, rows: int, generator: torch.Generator) -> Tensor:
        """A batch [rows, FRAMES, D]: excerpts as they are, and others made of them that nobody said.

        Those are two excerpts stretched in time and mixed, scaled, with noise on them. The decoder makes a sound of
        them too.
        """
        return torch.stack([self._row(generator) for _ in range(rows)])

    def _row(self, generator: torch.Generator) -> Tensor:
        is_changed, first, second, share, gain, loudness = torch.rand(6, generator=generator).tolist()
        if is_changed < AS_THEY_ARE:
            return _excerpt(self.latents, FRAMES, generator)
        mixed = torch.lerp(self._stretched(first, generator), self._stretched(second, generator), 0.5 * share)
        noise = torch.randn(mixed.shape, generator=generator)
        row: Tensor = mixed * GAIN ** (2 * gain - 1) + noise * NOISE * loudness
        return row

    def _stretched(self, chance: float, generator: torch.Generator) -> Tensor:
        """An excerpt [FRAMES, D] that is said slower (`chance` near 0) or faster (near 1)."""
        latents = _excerpt(self.latents, round(FRAMES * STRETCH ** (2 * chance - 1)), generator)
        return F.interpolate(latents.T[None], FRAMES, mode="linear", align_corners=True)[0].T


class Recordings:
    """Waveforms [T] at 24 kHz to draw from, one behind the other."""

    def __init__(self, waveforms: Sequence[Tensor], hop_samples: int) -> None:
        self.waveform, self.samples = torch.cat(list(waveforms)), FRAMES * hop_samples
        if len(self.waveform) < self.samples:
            seconds, least = len(self.waveform) / SAMPLE_RATE_HZ, self.samples / SAMPLE_RATE_HZ
            raise InputError(f"the recordings have {seconds:.1f} s, training needs at least {least:.1f}")

    def draw(self, rows: int, generator: torch.Generator) -> Tensor:
        """A batch [rows, T]."""
        return torch.stack([_excerpt(self.waveform, self.samples, generator) for _ in range(rows)])


def _excerpt(whole: Tensor, length: int, generator: torch.Generator) -> Tensor:
    start = int(torch.randint(len(whole) - length + 1, (), generator=generator))
    return whole[start : start + length]


def parted(items: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Those to learn from, and the last ones, at least one, that only measure."""
    count = max(1, round(HELD_OUT * len(items)))
    return items[:-count], items[-count:]


def read_recordings(place: Path) -> list[Tensor]:
    """The first hour of what the audio files of a folder hold, by their names; or one file. At 24 kHz and -25 dBFS.

    InputError if there is none.
    """
    files = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES) if place.is_dir() else [place]
    found: list[Tensor] = []
    left_s = MOST_S
    for file in files:
        waveform = read(file, SAMPLE_RATE_HZ, longest_s=MOST_S)
        left_s -= len(waveform) / SAMPLE_RATE_HZ
        if left_s < 0 and found:
            break
        found.append(torch.from_numpy(normalize_level(waveform)))
    if not found:
        raise InputError(f"{place} holds no recording", hint="give a folder with audio files, or one file")
    return found
