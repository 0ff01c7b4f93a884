"""A corpus on disk as the trainers see it: utterances with text, waveform and phone times."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from loquor.audio.resample import resample
from loquor.errors import InputError
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.training.corpus import Utterance


class Corpus:
    """Utterances of a corpus folder: `manifest.jsonl` and shards of int16 samples at 24 kHz, memory mapped."""

    def __init__(self, folder: Path, split: str = "train") -> None:
        manifest = folder / "manifest.jsonl"
        if not manifest.exists():
            raise InputError(f"{folder} holds no manifest.jsonl", hint="make it with python -m loquor.training.corpus")
        self.folder, self.speed = folder, 1.0
        rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
        self.utterances = [
            Utterance(**{**row, "segments": tuple((p, e) for p, e in row["segments"])})
            for row in rows
            if row["split"] == split
        ]
        if not self.utterances:
            raise InputError(f"{manifest} has no utterance of split {split}")
        names = {u.shard for u in self.utterances}
        self.shards = {name: np.load(folder / name, mmap_mode="r") for name in names}

    def __len__(self) -> int:
        return len(self.utterances)

    @property
    def hours(self) -> float:
        return sum(u.samples for u in self.utterances) / SAMPLE_RATE_HZ / 3600

    def bent(self, speed: float, indices: Sequence[int]) -> Corpus:
        """Some of the utterances, played at another speed: as of a speaker of another size."""
        other = copy.copy(self)
        other.utterances, other.speed = [_at_speed(self.utterances[i], speed) for i in indices], speed
        return other

    def waveform(self, index: int) -> Tensor:
        """The whole utterance, float32 [T] in [-1, 1]."""
        u = self.utterances[index]
        piece = self.shards[u.shard][u.start_samples : u.start_samples + round(u.samples * self.speed)]
        waveform = piece.astype(np.float32) / 32768
        return torch.from_numpy(resample(waveform, round(SAMPLE_RATE_HZ * self.speed), SAMPLE_RATE_HZ).clip(-1, 1))

    def excerpt(self, generator: torch.Generator, samples: int) -> Tensor:
        """A random piece [1, samples]; an utterance shorter than that is followed by silence."""
        u = self.utterances[int(torch.randint(len(self), (1,), generator=generator))]
        start = int(torch.randint(max(0, u.samples - samples) + 1, (1,), generator=generator)) + u.start_samples
        piece = self.shards[u.shard][start : start + min(samples, u.samples)].astype(np.float32)
        return F.pad(torch.from_numpy(piece / 32768), (0, samples - len(piece)))[None]

    def crop(self, generator: torch.Generator, samples: int, batch: int) -> Tensor:
        """Random excerpts [batch, 1, samples]."""
        return torch.stack([self.excerpt(generator, samples) for _ in range(batch)])


def _at_speed(utterance: Utterance, speed: float) -> Utterance:
    """The utterance's facts when it is played so many times as fast; where it lies on disk does not change."""
    segments = [(phone, end_s / speed) for phone, end_s in utterance.segments]
    return replace(utterance, samples=round(utterance.samples / speed), segments=segments)


class Voices:
    """Corpora of several speakers, each as likely as the square root of its hours, and speakers there are none of.

    Sound played faster or slower has another pitch and a vocal tract of another length: a codec that shall carry any
    voice hears half of its excerpts at another speed (vocal tract length perturbation; Jaitly & Hinton 2013).
    """

    SLOWEST, FASTEST = 0.75, 1.3
    BENT_SHARE = 0.5

    def __init__(self, corpora: Sequence[Corpus]) -> None:
        self.corpora = corpora
        self.weights = torch.tensor([corpus.hours for corpus in corpora]).sqrt()

    def crop(self, generator: torch.Generator, samples: int, batch: int) -> Tensor:
        """Random excerpts [batch, 1, samples]."""
        return torch.stack([self._excerpt(generator, samples) for _ in range(batch)])

    def _excerpt(self, generator: torch.Generator, samples: int) -> Tensor:
        corpus = self.corpora[int(torch.multinomial(self.weights, 1, generator=generator))]
        is_bent, place = torch.rand(2, generator=generator).tolist()
        if is_bent >= self.BENT_SHARE:
            return corpus.excerpt(generator, samples)
        speed = self.SLOWEST * (self.FASTEST / self.SLOWEST) ** place
        heard = corpus.excerpt(generator, round(samples * speed))
        bent = torch.from_numpy(resample(heard[0].numpy(), heard.shape[1], samples))
        return F.pad(bent, (0, samples - len(bent)))[None, :samples].clamp(-1, 1)
