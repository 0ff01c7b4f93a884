"""A voice made from a recording: what a long-form model listens to before it speaks (arXiv:2508.19205).

Such a voice belongs to no model. It is saved like a Realtime voice (see `card`), with its sound in place of a prompt.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import torch
from torch import Tensor

from loquor.audio.io import WHOLE, Section, read
from loquor.audio.level import level_dbfs
from loquor.errors import VoiceError
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.voices.card import RecordingCard, language_of, read_card, read_voice_file, save_voice_file
from loquor.voices.catalogue import PRESET, SAVED
from loquor.voices.cleaning import LONGEST_S, Cleaned, clean
from loquor.voices.voice import Voice, import_preset

logger = logging.getLogger(__name__)

WAVEFORM = "waveform"  # the name of its one tensor
READ_S = 2 * LONGEST_S  # of which half may be silence at the ends


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedVoice(RecordingCard):
    """A card and the sound of a person: [T] float32 at 24 kHz, as `clean` leaves it. Read-only."""

    waveform: Tensor = field(repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        sound = self.waveform
        if sound.dim() != 1 or sound.dtype != torch.float32 or not len(sound) or not torch.isfinite(sound).all():
            raise VoiceError(f"voice {self.name!r} holds no waveform [T] of finite float32 numbers")

    @property
    def seconds(self) -> float:
        return len(self.waveform) / SAMPLE_RATE_HZ

    @property
    def level_dbfs(self) -> float:
        return level_dbfs(self.waveform.numpy())

    def save(self, path: Path) -> None:
        """Write `path` whole or not at all; VoiceError if it cannot be written."""
        save_voice_file(path, self, {WAVEFORM: self.waveform})

    @classmethod
    def open(cls, path: Path) -> RecordedVoice:
        """The recording saved at `path`; VoiceError if there is none, it is damaged, or it is a Realtime prompt."""
        card, tensors = read_voice_file(path)
        if not isinstance(card, RecordingCard):
            raise VoiceError(
                f"{path} is a {card.kind}, and a long-form model needs a recording",
                hint="make one: loquor voices create NAME --audio FILE; see `loquor voices list`",
            )
        if set(tensors) != {WAVEFORM}:
            raise VoiceError(f"{path}: a recording has one tensor, {WAVEFORM}, this has {', '.join(sorted(tensors))}")
        fields = {f.name: getattr(card, f.name) for f in dataclasses.fields(card)}
        try:
            return cls(**fields, waveform=tensors[WAVEFORM])
        except VoiceError as error:
            raise VoiceError(f"{path}: {error}", hint=error.hint) from None

    @classmethod
    def from_audio(
        cls, path: Path, name: str | None = None, consent: str = "", language: str | None = None
    ) -> RecordedVoice:
        """The voice in an audio file, cleaned; raises like `record`, and logs what that warns of."""
        voice, cleaned = record(path, name, consent, language)
        for warning in cleaned.warnings:
            logger.warning("%s: %s", path, warning)
        return voice


def record(
    path: Path,
    name: str | None = None,
    consent: str = "",
    language: str | None = None,
    section: Section = WHOLE,
) -> tuple[RecordedVoice, Cleaned]:
    """The voice in an audio file, or in a section of it, and what was done to make it.

    Name and language are the file's, `en-Ada.wav` is an English voice. AudioError if the file cannot be read,
    VoiceError if it holds no voice: see `clean`.
    """
    cleaned = clean(read(path, SAMPLE_RATE_HZ, READ_S, section), str(path))
    start_s, end_s = section.start_s + cleaned.start_s, section.start_s + cleaned.end_s
    voice = RecordedVoice(
        name=path.stem if name is None else name,
        language=language_of(path.stem) if language is None else language,
        consent=consent,
        source=f"recorded in {path.name}, {start_s:.1f} to {end_s:.1f} s",
        created=date.today().isoformat(),
        waveform=torch.from_numpy(cleaned.waveform),
    )
    return voice, cleaned


def open_voice(path: Path) -> Voice | RecordedVoice:
    """The voice in any file: a saved one of either kind, a published preset (.pt), or the recording in an audio file.

    VoiceError or AudioError if it holds none.
    """
    if path.suffix == PRESET:
        return import_preset(path)
    if path.suffix != SAVED:
        return RecordedVoice.from_audio(path)
    return RecordedVoice.open(path) if isinstance(read_card(path), RecordingCard) else Voice.open(path)
