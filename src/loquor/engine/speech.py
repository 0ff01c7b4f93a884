"""Finished speech: a waveform with what is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor


@dataclass(frozen=True)
class Speech:
    """What `Speaker.speak` gives."""

    waveform: Tensor  # [T] float32, in [-1, 1]
    sample_rate_hz: int
    latents: Tensor  # [N, D], normalised
    text: str
    voice: str
    finish: str  # end: the model ended it; limit: the context was full; runaway: it would not end
    compute_s: float
    first_audio_ms: float

    @property
    def seconds(self) -> float:
        return len(self.waveform) / self.sample_rate_hz

    @property
    def rtf(self) -> float:
        """Compute seconds per second of audio; below 1 is faster than real time."""
        return self.compute_s / self.seconds if self.seconds else float("nan")

    def save(self, path: Path | str) -> Path:
        """Write wav, flac, mp3 or ogg by the suffix, whole or not at all; AudioError if that fails."""
        from loquor.audio.io import write

        target = Path(path)
        write(target, self.waveform.numpy(), self.sample_rate_hz)
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
