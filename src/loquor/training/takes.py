"""What a model says by itself, as latents: material for trainings that need no recordings.

A take is a file of its own, so a run that was killed says only what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from loquor.checkpoints import write_atomically
from loquor.engine.speaker import Speaker
from loquor.errors import VoiceError
from loquor.voices.card import read_card
from loquor.voices.catalogue import catalogue


def missing_takes(folder: Path, count: int) -> list[int]:
    """The numbers of the takes that `folder` lacks."""
    return [number for number in range(count) if not _file(folder, number).exists()]


def say_takes(speaker: Speaker, texts: Sequence[str], folder: Path, progress: Callable[[int], None]) -> None:
    """Say the texts that `folder` lacks, in all voices that fit the model, one after the other, each with its own seed.

    `progress` is told how many takes there are. VoiceError if no voice fits.
    """
    voices = [
        str(path) for path in catalogue(speaker.folder).values() if not read_card(path).misfits(speaker.fingerprint)
    ]
    if not voices:
        raise VoiceError("no voice is installed for this model", hint="loquor voices import FILE.pt")
    wanted = missing_takes(folder, len(texts))
    for done, number in enumerate(wanted, len(texts) - len(wanted) + 1):
        speech = speaker.speak(texts[number], voices[number % len(voices)], seed=number)
        tensors, facts = {"latents": speech.latents.float().cpu()}, {"text": texts[number], "voice": speech.voice}
        write_atomically(_file(folder, number), partial(save_file, tensors, metadata=facts))
        progress(done)


def read_takes(folder: Path, count: int) -> list[Tensor]:
    """The latents [N, D] of each take, normalised."""
    return [load_file(_file(folder, number))["latents"] for number in range(count)]


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:05}.safetensors"
