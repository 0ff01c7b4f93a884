"""What Whisper hears: log-mel spectra of 10 ms hops (Radford et al. 2022, arXiv:2212.04356, section 2.2).

The mel scale is Slaney's, linear below 1 kHz and logarithmic above, with filters of equal area.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES, HOP_SAMPLES = 400, 160
LINEAR_HZ = 200 / 3  # width of a mel below 1 kHz
KNEE_HZ, KNEE_MEL = 1000.0, 15.0
LOG_STEP = math.log(6.4) / 27  # of a mel above it
RANGE = 8.0  # decades below the loudest that are kept


def log_mel(waveforms: Tensor, bins: int) -> Tensor:
    """waveforms [B, T] at 16 kHz, T a multiple of 160, to [B, bins, T / 160], each row scaled to its own loudest."""
    window = torch.hann_window(WINDOW_SAMPLES, device=waveforms.device)
    spectrum = torch.stft(waveforms, WINDOW_SAMPLES, HOP_SAMPLES, window=window, return_complex=True)
    power = spectrum[..., :-1].abs() ** 2
    mel = mel_filters(bins).to(power.device) @ power
    decades = mel.clamp(min=1e-10).log10()
    loudest = decades.amax(dim=(1, 2), keepdim=True)
    return (torch.maximum(decades, loudest - RANGE) + 4) / 4


@lru_cache(maxsize=4)
def mel_filters(bins: int) -> Tensor:
    """[bins, 201] triangles between 0 and 8 kHz on the scale of Slaney's Auditory Toolbox (1998), of area 1 over Hz."""
    frequencies = torch.linspace(0, SAMPLE_RATE_HZ / 2, WINDOW_SAMPLES // 2 + 1, dtype=torch.float64)
    top = KNEE_MEL + math.log(SAMPLE_RATE_HZ / 2 / KNEE_HZ) / LOG_STEP
    edges = _hz(torch.linspace(0, top, bins + 2, dtype=torch.float64))
    low, peak, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = torch.minimum((frequencies - low) / (peak - low), (high - frequencies) / (high - peak)).clamp(min=0)
    return (triangles * 2 / (high - low)).float()


def _hz(mel: Tensor) -> Tensor:
    return torch.where(mel < KNEE_MEL, mel * LINEAR_HZ, KNEE_HZ * torch.exp((mel - KNEE_MEL) * LOG_STEP))
