"""A shard: what became of the next so many items of a source, in one safetensors file that says all about itself.

Tensors hold all items one after the other: `latents` [F, D] and `features` [F, S] of what is said, `voices` [V, D] of
voice prompts, and, if the sound is kept, `waveform` [T] in 16 bits. The header has the records and what was dropped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from loquor.audio.level import normalize_level, sound_span
from loquor.audio.resample import Waveform
from loquor.errors import CheckpointError
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.training.dataset.encoding import STORED, SpeechCodec
from loquor.training.dataset.preparation import Piece, TranscriptCheck, prepare, recorded
from loquor.training.dataset.records import Dropped, Record, Sound, Unfit, as_json
from loquor.training.dataset.settings import Settings
from loquor.training.dataset.sources import Listed
from loquor.training.sequences import crop_voice
from loquor.voices.cleaning import LONGEST_S

FORMAT = 1
HEADER = "loquor"
VOICES_KEPT = 64  # encoded voice prompts: one is often that of many items


@dataclass(frozen=True)
class Job:
    """What a worker needs to know; it is sent to other processes and machines."""

    model: Path
    settings: Settings
    device: str = "cpu"
    check: Callable[[], TranscriptCheck] | None = None  # makes the recogniser where it is needed


@dataclass(frozen=True)
class Task:
    """The items of one shard."""

    number: int
    items: tuple[Listed, ...]


class ShardMaker:
    """Makes shards, one item at a time, each by itself: its neighbours, and who makes it, change nothing."""

    def __init__(self, job: Job, codec: SpeechCodec | None = None) -> None:
        self.settings = job.settings
        self.codec = codec or SpeechCodec.open(job.model, job.device)
        self.check = job.check() if job.check and job.settings.check_transcript else None
        self._voice = lru_cache(VOICES_KEPT)(self._encode_voice)

    def __call__(self, task: Task) -> bytes:
        """The shard as it is written."""
        shard = _Shard(task.number, self.codec)
        for item in task.items:
            if isinstance(item, Dropped):
                shard.dropped.append(item)
                continue
            outcome = prepare(item, self.settings, self.check)
            shard.dropped += outcome.dropped
            for piece in outcome.pieces:
                try:
                    self._add(shard, piece, item.voices)
                except Unfit as unfit:
                    shard.dropped.append(unfit.dropping(piece.record.id))
        return shard.packed(len(task.items))

    def _add(self, shard: _Shard, piece: Piece, prompts: Sequence[Sound]) -> None:
        wanted = 1 + max(voice for voice, _ in piece.record.lines)
        if prompts and len(prompts) < wanted:
            raise Unfit("voice", f"{wanted} voices speak, and {len(prompts)} have a prompt")
        encoded = self.codec.speech(piece.waveform)
        voices = [(sound.name, self._voice(sound)) for sound in prompts]
        is_own = not voices and wanted == 1 and self.codec.semantic is not None
        if is_own:
            voices = [(f"own voice of {piece.record.id}", self._own_voice(piece))]
        shard.add(replace(piece.record, own_voice=is_own), encoded, voices)
        if self.settings.keep_audio:
            shard.keep(piece.waveform)

    def _encode_voice(self, sound: Sound) -> Tensor:
        """Trimmed and levelled as any recording that a model is to speak like; short ones are worth learning from."""
        try:
            waveform = recorded(sound)
        except Unfit as unfit:
            raise Unfit("voice", unfit.detail) from None
        start, end = sound_span(waveform, SAMPLE_RATE_HZ)
        seconds = (end - start) / SAMPLE_RATE_HZ
        if not self.settings.shortest_s <= seconds <= LONGEST_S:
            raise Unfit("voice", f"{sound.name} has {seconds:.1f} s of sound", seconds=seconds)
        return self.codec.voice(normalize_level(waveform[start:end]))

    def _own_voice(self, piece: Piece) -> Tensor:
        """A long-form model reads in a voice: where nobody recorded one, a part of the item is."""
        seed = int(piece.record.sound, 16) % 2**63
        crop = crop_voice(torch.from_numpy(piece.waveform), torch.Generator().manual_seed(seed))
        return self.codec.voice(normalize_level(crop.numpy()))


class _Shard:
    """A shard that is being filled."""

    def __init__(self, number: int, codec: SpeechCodec) -> None:
        self.number = number
        self.records: list[Record] = []
        self.dropped: list[Dropped] = []
        empty = {name: torch.zeros(0, size, dtype=STORED) for name, size in codec.sizes.items()}
        self.parts = {name: [tensor] for name, tensor in empty.items()} | {"voices": [empty["latents"]]}
        self.waveforms: list[Tensor] = []
        self.voices: dict[str, tuple[int, int]] = {}

    def add(self, record: Record, encoded: dict[str, Tensor], voices: Sequence[tuple[str, Tensor]]) -> None:
        for name, latents in voices:
            if name not in self.voices:
                self.voices[name] = self._append("voices", latents), len(latents)
        starts = [self._append(name, tensor) for name, tensor in encoded.items()]
        self.records.append(
            replace(
                record,
                shard=self.number,
                frames=len(encoded["latents"]),
                start=starts[0],
                voices=tuple(self.voices[name] for name, _ in voices),
            )
        )

    def keep(self, waveform: Waveform) -> None:
        """The sound of the record added last."""
        first = sum(map(len, self.waveforms))
        samples = np.clip(np.round(waveform * 32767), -32768, 32767).astype(np.int16)
        self.waveforms.append(torch.from_numpy(samples))
        self.records[-1] = replace(self.records[-1], first_sample=first)

    def _append(self, name: str, tensor: Tensor) -> int:
        """The row a tensor begins at."""
        start = sum(map(len, self.parts[name]))
        self.parts[name].append(tensor)
        return start

    def packed(self, items: int) -> bytes:
        tensors = {name: torch.cat(parts) for name, parts in self.parts.items()}
        if self.waveforms:
            tensors["waveform"] = torch.cat(self.waveforms)
        header = {
            "format": FORMAT,
            "items": items,
            "records": [asdict(record) for record in self.records],
            "dropped": [asdict(one) for one in self.dropped],
        }
        return save(tensors, {HEADER: as_json(header)})


@dataclass(frozen=True)
class Summary:
    """What a shard says of itself."""

    items: int  # of the source
    records: tuple[Record, ...]
    dropped: tuple[Dropped, ...]


def shard_name(number: int) -> str:
    return f"shard-{number:06}.safetensors"


def shard_number(path: Path) -> int:
    return int(path.stem.removeprefix("shard-"))


def read_summary(path: Path) -> Summary:
    """The header of a shard; CheckpointError if the file is damaged, or of another format."""
    try:
        with safe_open(path, framework="pt") as file:
            values = json.loads((file.metadata() or {})[HEADER])
        if values["format"] != FORMAT:
            raise ValueError(f"it is in format {values['format']}")
        records = tuple(Record.read(row) for row in values["records"])
        return Summary(values["items"], records, tuple(Dropped(**row) for row in values["dropped"]))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is no sound shard: {error}", hint="prepare the data again") from None
