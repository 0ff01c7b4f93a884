"""What stands for recordings of speech: noise in syllables, with pauses where a test wants them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from toy import toy_config, write_toy

RATE_HZ = 24_000
SAID = "the old boat came back to the harbour before the rain and nobody asked where it had been all summer"
WORDS = SAID.split()


def speech(seconds: float, seed: int = 0, rate_hz: int = RATE_HZ, level_dbfs: float = -20.0) -> np.ndarray:
    """[T] noise, four syllables a second, at a level; it starts and ends with sound."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    noise = np.convolve(rng.normal(size=len(time_s)), np.ones(8) / 8, mode="same")  # darker, as voices are
    sound = noise * (0.15 + np.abs(np.cos(np.pi * 4 * time_s)))
    return (sound * 10 ** (level_dbfs / 20) / np.sqrt(np.mean(sound**2))).astype(np.float32)


def silence(seconds: float, rate_hz: int = RATE_HZ) -> np.ndarray:
    return np.zeros(round(seconds * rate_hz), dtype=np.float32)


def text(seconds: float, seed: int = 0) -> str:
    """A sentence that takes about so long to say."""
    rng = np.random.default_rng(seed)
    words = [str(rng.choice(WORDS))]
    while len(" ".join(words)) < 14 * seconds - 4:
        words.append(str(rng.choice(WORDS)))
    return " ".join(words).capitalize() + "."


def write(path: Path, waveform: np.ndarray, rate_hz: int = RATE_HZ) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, rate_hz, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


def write_pairs(folder: Path, count: int, seconds: float = 0.6) -> Path:
    """`count` recordings with their texts, all different."""
    for i in range(count):
        write(folder / f"{i:03}.wav", speech(seconds, seed=i))
        (folder / f"{i:03}.txt").write_text(text(seconds, seed=i), encoding="utf-8")
    return folder


def write_model(folder: Path) -> Path:
    """A Realtime model in miniature whose frames have 3200 samples."""
    return write_toy(folder, config=toy_config(context=64, patch_samples=200))
