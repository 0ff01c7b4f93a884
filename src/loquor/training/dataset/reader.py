"""A prepared data set as recipes see it: records in memory, latents in mapped files, batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from loquor.errors import InputError
from loquor.tensor_file import TensorFile
from loquor.training.dataset.indexing import SHARDS, read_records, require_finished
from loquor.training.dataset.records import Record
from loquor.training.dataset.settings import SPLITS
from loquor.training.sequences import Segment


@dataclass(frozen=True)
class DatasetFacts:
    """What a set was encoded with; a recipe's model must have the same codec."""

    codec: str  # fingerprint of the encoders' weights, as `SpeechCodec` has it
    sample_rate_hz: int
    hop_samples: int
    channels: Mapping[str, int]  # of latents, and of features if there are any


@dataclass(frozen=True, eq=False)
class Item:
    """One recording; segments hold the codec's means in float32."""

    record: Record
    speech: Segment
    voices: tuple[Segment, ...]


class Dataset:
    """The items of one split, or of both. InputError if there is none, CheckpointError if a file is damaged."""

    def __init__(self, folder: Path, split: str | None = "train") -> None:
        if split is not None and split not in SPLITS:
            raise InputError(f"there is no split {split!r}", hint=f"it is one of {', '.join(SPLITS)}")
        self.folder = folder
        values = require_finished(folder)
        self.facts = DatasetFacts(**{name: values[name] for name in DatasetFacts.__dataclass_fields__})
        self._shards: list[str] = values["shards"]
        self._files: dict[int, TensorFile] = {}
        self.records = [record for record in read_records(folder) if split in (None, record.split)]
        if not self.records:
            raise InputError(f"{folder} has no items{f' for {split}' if split else ''}", hint="loquor data show FOLDER")

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Item:
        record = self.records[index]
        rows = slice(record.start, record.start + record.frames)
        features = self._rows(record, "features", rows) if "features" in self.facts.channels else None
        return Item(
            record,
            Segment(self._rows(record, "latents", rows), features),
            tuple(Segment(self._rows(record, "voices", slice(a, a + n)), None) for a, n in record.voices),
        )

    def __iter__(self) -> Iterator[Item]:
        return (self[i] for i in range(len(self)))

    @property
    def frames(self) -> list[int]:
        """How many each item has."""
        return [record.frames for record in self.records]

    @property
    def hours(self) -> float:
        return sum(record.seconds for record in self.records) / 3600

    def waveform(self, index: int) -> Tensor:
        """The sound of an item, float32 [T]; InputError if the set was prepared without."""
        record = self.records[index]
        if record.first_sample is None:
            raise InputError(f"{self.folder} has no sound", hint="prepare it with --keep-audio")
        rows = slice(record.first_sample, record.first_sample + record.samples)
        return self._rows(record, "waveform", rows) / 32767

    def _rows(self, record: Record, name: str, rows: slice) -> Tensor:
        """A copy: the file's own pages stay as they are."""
        if record.shard not in self._files:
            self._files[record.shard] = TensorFile(self.folder / SHARDS / self._shards[record.shard])
        return self._files[record.shard].tensor(name)[rows].float()


def length_buckets(frames: Sequence[int], most_frames: int, epoch_seed: int) -> Iterator[list[int]]:
    """Every item once, in batches of similar length whose padded size stays within `most_frames`, in random order.

    An item longer than that is a batch of its own.
    """
    generator = torch.Generator().manual_seed(epoch_seed)
    jitter = torch.rand(len(frames), generator=generator).tolist()
    batches, longest = list[list[int]](), 0
    for i in sorted(range(len(frames)), key=lambda i: frames[i] * (0.9 + 0.2 * jitter[i])):
        if not batches or max(longest, frames[i]) * (len(batches[-1]) + 1) > most_frames:
            batches.append([])
            longest = 0
        batches[-1].append(i)
        longest = max(longest, frames[i])
    for i in torch.randperm(len(batches), generator=generator).tolist():
        yield batches[i]
