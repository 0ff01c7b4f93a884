"""What `loquor doctor` looks at in the voices at hand: does each fit the model, and can it be used?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from loquor.cli.checks import Check, attempt
from loquor.engine.speaker import fingerprint_of
from loquor.models import REALTIME, family_of
from loquor.models.realtime.checkpoint import read_config
from loquor.models.realtime.model import RealtimeConfig
from loquor.voices.card import RecordingCard, read_card
from loquor.voices.catalogue import catalogue, user_voices
from loquor.voices.recording import RecordedVoice
from loquor.voices.voice import Voice


def voice_checks(folder: Path) -> Iterator[Check]:
    """A check for each voice; one that came with the model must fit, one of the user's may be another's."""
    config = read_config(folder) if family_of(folder) is REALTIME else None
    voices = catalogue(folder)
    if not voices and config:
        yield Check("voices", "warn", "none: this model cannot speak yet", "loquor voices import FILE.pt")
    elif not voices:
        advice = 'if you want some: loquor voices create NAME --audio FILE --consent "..."'
        yield Check("voices", "ok", "none saved; recordings are voices too", advice)
    for path in voices.values():
        yield attempt(f"voice {path.stem}", partial(_voice, path, config))


def _voice(path: Path, config: RealtimeConfig | None) -> Check:
    """`config` is None for a long-form model."""
    name, card, is_own = f"voice {path.stem}", read_card(path), path.parent == user_voices()
    different = card.misfits(fingerprint_of(config) if config else None)
    if different:
        advice = "it is for other models" if is_own else "download or export the model again"
        return Check(name, "warn" if is_own else "fail", f"does not fit: {'; '.join(different)}", advice)
    if isinstance(card, RecordingCard):
        return Check(name, "ok", f"{RecordedVoice.open(path).seconds:.1f} s of speech")
    assert config is not None, "a prompt fits no long-form model"
    return _prompt(name, Voice.open(path), config)


def _prompt(name: str, voice: Voice, config: RealtimeConfig) -> Check:
    """The prefilled prompt of a Realtime model."""
    if not all(torch.isfinite(tensor).all() for tensor in voice.tensors.values()):
        return Check(name, "fail", "NaN or infinite numbers", "import it again")
    positions, context = voice.length("tts_lm"), config.speech.max_position_embeddings
    detail = f"{positions} of the context's {context} positions"
    if positions + config.text_window + 1 > context:
        return Check(name, "fail", detail, "there is no room left to speak: use a shorter voice")
    return Check(name, "ok", detail)
