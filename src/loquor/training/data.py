"""A corpus on disk as the trainers see it: utterances with text, waveform and phone times."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from loquor.errors import InputError
from loquor.training.corpus import Utterance


class Corpus:
    """Utterances of a corpus folder: `manifest.jsonl` and shards of int16 samples at 24 kHz, memory mapped."""

    def __init__(self, folder: Path, split: str = "train") -> None:
        manifest = folder / "manifest.jsonl"
        if not manifest.exists():
            raise InputError(f"{folder} holds no manifest.jsonl", hint="make it with python -m loquor.training.corpus")
        self.folder = folder
        rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
        self.utterances = [
            Utterance(**{**row, "segments": tuple((p, e) for p, e in row["segments"])})
            for row in rows
            if row["split"] == split
        ]
        if not self.utterances:
            raise InputError(f"{manifest} has no utterance of split {split}")
        self.shards = {u.shard: np.load(folder / u.shard, mmap_mode="r") for u in self.utterances}

    def __len__(self) -> int:
        return len(self.utterances)

    @property
    def hours(self) -> float:
        return sum(u.samples for u in self.utterances) / 24_000 / 3600

    def waveform(self, index: int) -> Tensor:
        """The whole utterance, float32 [T] in [-1, 1]."""
        u = self.utterances[index]
        piece = self.shards[u.shard][u.start_samples : u.start_samples + u.samples]
        return torch.from_numpy(piece.astype(np.float32) / 32768)

    def crop(self, generator: torch.Generator, samples: int, batch: int) -> Tensor:
        """Random excerpts [batch, 1, samples]; an utterance shorter than that is followed by silence."""
        out = torch.zeros(batch, 1, samples)
        chosen = torch.randint(len(self), (batch,), generator=generator).tolist()
        for row, index in enumerate(chosen):
            u = self.utterances[index]
            room = max(0, u.samples - samples)
            start = int(torch.randint(room + 1, (1,), generator=generator)) + u.start_samples
            length = min(samples, u.samples)
            piece = self.shards[u.shard][start : start + length].astype(np.float32)
            out[row, 0, :length] = torch.from_numpy(piece / 32768)
        return out
