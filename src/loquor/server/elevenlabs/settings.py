"""What a client of ElevenLabs may wish of a voice and a model, and what of it can be followed here."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from loquor.errors import InputError
from loquor.server.refusals import NotFoundError
from loquor.server.wiring import Server

THEIR_MODELS = "eleven_"  # all of them mean the served model


class VoiceSettings(BaseModel):
    """Only `speed` has a meaning here, and only one value; the others are let pass."""

    model_config = ConfigDict(extra="ignore")

    speed: float | None = None


def require_own_pace(settings: VoiceSettings | None) -> None:
    """InputError if speech is wanted faster or slower than it is made."""
    if settings and settings.speed not in (None, 1.0):
        raise InputError(f"speech is made at its own speed, not at {settings.speed:g} times it", "leave out `speed`")


def require_model(server: Server, name: str | None) -> None:
    """NotFoundError unless the served model, or one of theirs, is meant."""
    if name and not name.startswith(THEIR_MODELS) and not server.knows_model(name):
        raise NotFoundError(f"there is no model {name!r}", "GET /v1/models lists them", "model_not_found")
