"""What a client of ElevenLabs may wish of a voice and a model, and what of it can be followed here."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from loquor.audio.tempo import FASTEST, SLOWEST
from loquor.server.refusals import NotFoundError
from loquor.server.wiring import Server

THEIR_MODELS = "eleven_"  # all of them mean the served model


class VoiceSettings(BaseModel):
    """Only `speed` has a meaning here; the others are let pass."""

    model_config = ConfigDict(extra="ignore")

    speed: Annotated[float, Field(strict=True, ge=SLOWEST, le=FASTEST)] | None = None


def speed_of(settings: VoiceSettings | None) -> float:
    return settings.speed if settings and settings.speed is not None else 1.0


def require_model(server: Server, name: str | None) -> None:
    """NotFoundError unless the served model, or one of theirs, is meant."""
    if name and not name.startswith(THEIR_MODELS) and not server.knows_model(name):
        raise NotFoundError(f"there is no model {name!r}", "GET /v1/models lists them", "model_not_found")
