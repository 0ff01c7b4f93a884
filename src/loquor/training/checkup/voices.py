"""The voices of a training: the prompt that a Realtime model learns to speak after, those of a long-form set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch

from loquor.engine.speaker import Speaker
from loquor.models.longform.model import LongformModel
from loquor.text.tokenizer import TextTokenizer
from loquor.training.checkup.findings import Case, Figure, Finding, counted, some
from loquor.voices.voice import Voice


def open_voice(case: Case, tokenizer: TextTokenizer) -> Voice:
    """The prompt of a Realtime recipe. VoiceError if there is none, or it is another model's."""
    speaker = Speaker(case.model, tokenizer, case.folder)
    voice = Voice.open(speaker.voice_path(case.recipe.voice or "default"))
    voice.require_model(speaker.fingerprint)
    return voice


def prompt(case: Case, voice: Voice) -> Iterator[Finding]:
    positions = voice.length("tts_lm")
    figures: dict[str, Figure] = {"positions": positions}
    if not all(torch.isfinite(tensor).all() for tensor in voice.tensors.values()):
        advice = "import or make it again, or choose another by voice="
        yield Finding("voice", "fail", f"{voice.name} holds NaN or infinite numbers", advice, figures)
        return
    speakers = Counter(record.speaker or "nobody named" for record in case.train.records)
    detail = f"{voice.name}, {counted(positions, 'position')}, fits the model"
    if len(speakers) > 1:
        named = some([f"{name} ({count})" for name, count in speakers.most_common()])
        detail += f"; {len(speakers)} speakers are taught to it: {named}"
        advice = "it would become a mixture of them: train on one speaker, unless a language is what is taught"
        yield Finding("voice", "warn", detail, advice, {**figures, "speakers": len(speakers)})
    else:
        yield Finding("voice", "ok", detail, figures={**figures, "speakers": len(speakers)})


def prompts(case: Case) -> Iterator[Finding]:
    """Of a long-form set."""
    assert isinstance(case.model, LongformModel)
    records = case.data.records
    without = [record.id for record in records if not record.voices]
    own = sum(record.own_voice for record in records)
    figures: dict[str, Figure] = {"own": own, "without": len(without)}
    if without:
        detail = f"{counted(len(without), 'item')} of {len(records)} without: {some(without)}"
        advice = "the model does not learn whose voice to take: give voice_prompts"
        yield Finding("voices", "warn", detail, advice, figures, tuple(without))
    else:
        detail = f"{len(records) - own} items have recorded prompts, {own} a part of themselves"
        yield Finding("voices", "ok", detail, figures=figures)
