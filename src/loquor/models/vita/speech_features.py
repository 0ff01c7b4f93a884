"""What SenseVoice reads of a recording: rows of log mel energies, seven frames in each, every 60 ms.

Frames are Kaldi's (`compute-fbank-feats`: 25 ms every 10 ms, only whole ones, without its dither, which the original
toolkit leaves on and which makes features random). Every sixth frame is joined with three on either side, as the
low-frame-rate features of FunASR; a shift and a scale for each channel come with the encoder, in `am.mvn`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from loquor.errors import AudioError, CheckpointError

SAMPLE_RATE_HZ = 16_000
WINDOW, HOP, FFT = 400, 160, 512  # samples
MELS, LOWEST_HZ = 80, 20.0
JOINED, STEP = 7, 6  # frames
FULL_SCALE = 32768  # Kaldi counts in units of 16 bits
PREEMPHASIS = 0.97
STATISTICS = "am.mvn"


@dataclass(frozen=True, eq=False)
class FrontEnd:
    """The front end with the statistics of its encoder."""

    shift: Tensor  # [F]
    scale: Tensor  # [F]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The statistics in a folder; CheckpointError if there are none, or not for such rows."""
        path = folder / STATISTICS
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(
                f"cannot read {path}: {error}", hint=f"copy {STATISTICS} there from FunAudioLLM/SenseVoiceSmall"
            ) from None
        shift, scale = (_vector(text, name, path) for name in ("AddShift", "Rescale"))
        return cls(shift, scale)

    def __call__(self, waveform: Tensor) -> Tensor:
        """Waveform [T] at 16 kHz to features [N, 560], N = ceil(frames / 6); AudioError if it is shorter than 25 ms."""
        return (joined(log_mel(waveform)) + self.shift) * self.scale


def _vector(text: str, name: str, path: Path) -> Tensor:
    """The numbers in brackets behind a component of Kaldi's text form of networks."""
    found = re.search(rf"<{name}>[^\[]*\[([^\]]*)\]", text)
    try:
        numbers = torch.tensor([float(word) for word in found[1].split()]) if found else torch.zeros(0)
    except ValueError:
        numbers = torch.zeros(0)
    if len(numbers) != MELS * JOINED or not torch.isfinite(numbers).all():
        raise CheckpointError(
            f"{path} has no <{name}> of {MELS * JOINED} numbers", hint="take it from FunAudioLLM/SenseVoiceSmall"
        )
    return numbers


def log_mel(waveform: Tensor) -> Tensor:
    """Waveform [T] at 16 kHz to log energies [1 + (T - 400) // 160, 80]; AudioError if it is shorter than a frame."""
    if waveform.ndim != 1 or len(waveform) < WINDOW:
        raise AudioError(
            f"an audio of {waveform.numel() / SAMPLE_RATE_HZ * 1000:.0f} ms is too short to be heard",
            hint="give at least 25 ms, on one channel",
        )
    frames = waveform.float().unfold(0, WINDOW, HOP) * FULL_SCALE
    frames = frames - frames.mean(1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], 1)
    windowed = (frames - PREEMPHASIS * before) * torch.hamming_window(WINDOW, periodic=False)
    power = torch.fft.rfft(windowed, FFT).abs().square()
    energies: Tensor = power @ _filters()
    return energies.clamp(min=torch.finfo(torch.float32).eps).log()


@cache
def _filters() -> Tensor:
    """Triangles that are straight on the mel scale, not in Hz [257, 80]."""
    edges = torch.linspace(_mel(LOWEST_HZ), _mel(SAMPLE_RATE_HZ / 2), MELS + 2, dtype=torch.float64)
    bins = 1127 * (1 + torch.arange(FFT // 2 + 1, dtype=torch.float64) * SAMPLE_RATE_HZ / FFT / 700).log()
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins[:, None] - low) / (middle - low), (high - bins[:, None]) / (high - middle)
    return torch.minimum(rising, falling).clamp(min=0).float()


def _mel(hertz: float) -> float:
    return 1127 * math.log(1 + hertz / 700)


def joined(frames: Tensor) -> Tensor:
    """Frames [M, C] to rows of seven [ceil(M / 6), 7 C]; the first frame stands for those before, the last for those
    behind."""
    rows = -(-len(frames) // STEP)
    before, behind = JOINED // 2, rows * STEP + JOINED  # at least as many as any row asks for
    padded = torch.cat([frames[:1].expand(before, -1), frames, frames[-1:].expand(behind, -1)])
    return padded.unfold(0, JOINED, STEP)[:rows].transpose(1, 2).flatten(1)
