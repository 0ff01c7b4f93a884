"""Finished speech: a waveform with what is known about it; and how it is gathered while it is made."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from loquor.audio.provenance import Provenance
from loquor.engine.request import Chunk


@dataclass(frozen=True)
class Speech:
    """What `speak` gives."""

    waveform: Tensor  # [T] float32, in [-1, 1]
    sample_rate_hz: int
    latents: Tensor  # [N, D], normalised; N = 0 from a model that speaks in codes
    text: str
    voice: str
    finish: str  # end: the model ended it; limit: the context was full; runaway: it would not end
    compute_s: float
    first_audio_ms: float
    features: Tensor | None = None  # [N, S], semantic; only long-form models hear themselves
    codes: tuple[int, ...] = ()  # of an audio tokenizer, from a model that speaks in them
    model: str = ""

    @property
    def seconds(self) -> float:
        return len(self.waveform) / self.sample_rate_hz

    @property
    def rtf(self) -> float:
        """Compute seconds per second of audio; below 1 is faster than real time."""
        return self.compute_s / self.seconds if self.seconds else float("nan")

    def save(self, path: Path | str) -> Path:
        """Write wav, flac, mp3, ogg or opus by the suffix, whole or not at all; AudioError if that fails.

        The file says that it is generated, by what, with which voice and when.
        """
        from loquor.audio.io import write

        target = Path(path)
        comment = Provenance(self.model, self.voice).comment
        write(target, self.waveform.numpy(), self.sample_rate_hz, comment)
        return target

    def _repr_html_(self) -> str:
        """A player, in notebooks."""
        import base64
        import io

        import soundfile

        buffer = io.BytesIO()
        soundfile.write(buffer, self.waveform.clamp(-1, 1).numpy(), self.sample_rate_hz, format="WAV", subtype="PCM_16")
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        return f'<audio controls src="data:audio/wav;base64,{data}"></audio>'


@dataclass(frozen=True)
class Progress:
    """How far a long synthesis is."""

    frames: int
    seconds: float
    rtf: float


class Recording:
    """Gathers the chunks of a synthesis that begins now."""

    def __init__(self, progress: Callable[[Progress], None] | None = None) -> None:
        self.progress = progress
        self.started = time.perf_counter()
        self.chunks: list[Chunk] = []
        self.first_audio_ms = float("nan")

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self.started

    def add(self, chunk: Chunk) -> None:
        elapsed = self.elapsed_s
        if not self.chunks:
            self.first_audio_ms = 1000 * elapsed
        self.chunks.append(chunk)
        if self.progress:
            self.progress(Progress(len(self.chunks), chunk.end_s, elapsed / chunk.end_s))

    def speech(self, sample_rate_hz: int, text: str, voice: str, finish: str, model: str) -> Speech:
        """All chunks, at least one, as speech."""
        features = [c.features for c in self.chunks if c.features is not None]
        return Speech(
            waveform=torch.cat([c.waveform for c in self.chunks]),
            sample_rate_hz=sample_rate_hz,
            latents=torch.cat([c.latents for c in self.chunks]),
            text=text,
            voice=voice,
            finish=finish,
            compute_s=self.elapsed_s,
            first_audio_ms=self.first_audio_ms,
            features=torch.cat(features) if features else None,
            model=model,
        )
