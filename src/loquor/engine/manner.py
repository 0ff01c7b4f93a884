"""How an answer of an interleaved model is made: by which schedule, checked or not, and how tokens are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypedDict

from loquor.engine.alternation import Alternation, AudioIds
from loquor.engine.generation_file import GenerationDefaults
from loquor.engine.sampling import TokenSampling
from loquor.errors import InputError
from loquor.models.vita.schedule import Schedule

DECODINGS = {
    "trusting": "what modules say is said, as published",
    "verified": "the backbone checks what modules propose: the same as without modules",
    "constrained": "trusting, and text and audio must alternate, every span ended",
}


class Manner(TypedDict, total=False):
    """What a request may say of it; where it says nothing, or None, the model's own files do."""

    mode: str | Sequence[int] | None  # vanilla, balance, boost, turbo, or a schedule's numbers
    decoding: str | None  # one of DECODINGS; without it, trusting
    temperature: float | None  # 0: always the likeliest
    top_k: int | None
    top_p: float | None
    repetition_penalty: float | None
    min_new_tokens: int | None
    max_new_tokens: int | None
    seed: int | None


@dataclass(frozen=True)
class Choices:
    """A manner, complete."""

    schedule: Schedule
    sampling: TokenSampling
    grammar: Alternation | None
    is_verified: bool


def choices(manner: Mapping[str, Any], defaults: GenerationDefaults, audio: AudioIds) -> Choices:
    """What a request asked for, on top of what the model's files say.

    ConfigError for a mode, InputError for another option or value, that there is not.
    """
    given = {name: value for name, value in manner.items() if value is not None}
    mode, decoding = given.pop("mode", defaults.schedule), given.pop("decoding", "trusting")
    if decoding not in DECODINGS:
        raise InputError(f"there is no decoding {decoding!r}", hint=f"one of {', '.join(DECODINGS)}")
    known = {field.name for field in fields(TokenSampling)}
    for name in given:
        if name not in known:
            raise InputError(f"there is no option {name!r}", hint=f"mode, decoding, {', '.join(sorted(known))}")
    sampling = replace(defaults.sampling, **given)
    grammar = Alternation(audio) if decoding == "constrained" else None
    return Choices(Schedule.of(mode), sampling, grammar, decoding == "verified")
