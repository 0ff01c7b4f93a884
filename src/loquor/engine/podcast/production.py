"""What is to be produced: a plan, the voices of its speakers, and how they are to speak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from loquor.engine.podcast.health import Limits
from loquor.engine.podcast.plan import CARRIED_S, Plan
from loquor.engine.request import Sampling
from loquor.errors import VoiceError
from loquor.voices.recording import RecordedVoice

RETAKES = 2


@dataclass(frozen=True)
class Settings:
    """How an episode is spoken."""

    sampling: Sampling  # its seed is the episode's: each take has one of its own that follows from it
    retakes: int = RETAKES  # of a take with a fault, at most
    carry_s: float = CARRIED_S  # of speech that a take carries on from, at most
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Production:
    """What is to be produced; VoiceError if a speaker has no voice."""

    plan: Plan
    cast: Mapping[str, RecordedVoice]  # by speaker
    settings: Settings

    def __post_init__(self) -> None:
        for name in self.speakers:
            if name not in self.cast:
                raise VoiceError(f"there is no voice for {name}", hint="name one for each speaker in the cast")

    @property
    def speakers(self) -> tuple[str, ...]:
        """Names in order of first appearance."""
        return tuple(dict.fromkeys(name for scene in self.plan.scenes for name in scene.speakers))

    @property
    def voices(self) -> dict[str, RecordedVoice]:
        """The voices that speak."""
        return {name: self.cast[name] for name in self.speakers}
