"""Sound as speech language models hear it: codes of an audio tokenizer, or features that an encoder reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from loquor.audio.decode import open_decoder
from loquor.audio.io import read
from loquor.audio.resample import Waveform
from loquor.engine.hub import cached, download
from loquor.engine.speech import Speech
from loquor.errors import AudioError
from loquor.models.speech_tokens import SpeechTokens
from loquor.models.speech_tokens.interface import to_rate
from loquor.models.vita.prompt import Codes, Features
from loquor.models.vita.speech_features import SAMPLE_RATE_HZ, STATISTICS, FrontEnd

Audio = Path | tuple[Waveform | Tensor, int] | Speech  # a file, a waveform [T] with its rate, or what was spoken
ENCODER = "FunAudioLLM/SenseVoiceSmall"  # publishes the statistics of the features


def sound_of(audio: Audio) -> tuple[Waveform, int]:
    """waveform [T] and its rate in Hz; AudioError if it is no sound or cannot be read."""
    if isinstance(audio, Speech):
        return audio.waveform.numpy(), audio.sample_rate_hz
    if isinstance(audio, tuple) and len(audio) == 2:
        return np.asarray(audio[0], dtype=np.float32), audio[1]
    if not isinstance(audio, Path):
        raise AudioError(
            f"{type(audio).__name__} is no sound", hint="give a Path, or a waveform with its sample rate in Hz"
        )
    rate_hz = SAMPLE_RATE_HZ
    if audio.is_file():
        with audio.open("rb") as data:
            rate_hz = open_decoder(audio, data).sample_rate_hz
    return read(audio, rate_hz), rate_hz


def as_codes(audio: Audio, codec: SpeechTokens) -> Codes:
    """AudioError if it is empty or cannot be read."""
    return Codes(tuple(codec.encode(*sound_of(audio))))


def as_features(audio: Audio, front_end: FrontEnd) -> Features:
    """AudioError if it is too short or cannot be read."""
    return Features(front_end(to_rate(*sound_of(audio), SAMPLE_RATE_HZ)))


def open_front_end(model: Path, from_hub: bool = False) -> FrontEnd:
    """The front end of a model's encoder: its statistics lie in the model's folder, or on the hub.

    CheckpointError if they are in neither.
    """
    if not (model / STATISTICS).is_file():
        wanted = (STATISTICS,)
        folder = cached(ENCODER, wanted) or (download(ENCODER, None, wanted) if from_hub else None)
        if folder and (folder / STATISTICS).is_file():
            return FrontEnd.load(folder)
    return FrontEnd.load(model)


def embedded(listener: torch.nn.Module | None, features: tuple[Tensor, ...]) -> Tensor | None:
    """What stands at the places of features in a prompt [N, H]; None if it has none."""
    if listener is None or not features:
        return None
    device = next(listener.parameters()).device
    with torch.no_grad():
        rows: Tensor = listener([f.to(device) for f in features])
    return rows
