"""OpenAI's speech endpoint (`POST /v1/audio/speech`), with what others have added to it and clients send."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from loquor.audio.streaming import FORMATS, open_encoder
from loquor.audio.tempo import FASTEST, SLOWEST
from loquor.engine.request import MAX_GUIDANCE, MAX_SEED, MAX_STEPS
from loquor.errors import InputError
from loquor.server.documentation import SPEAKING, told
from loquor.server.refusals import NotFoundError
from loquor.server.replies import Body, Events, Sound, SpeechResponse
from loquor.server.synthesis import Wish
from loquor.server.wiring import Server

REFERENCES = ("ref_audio", "ref_text", "reference_audio")  # of peers; we open no address and no file
UNHEARD = ("instructions",)  # known, but nothing here follows them
SPOKEN = {
    "description": "Audio in the format asked for, or events.",
    "content": {"audio/*": {}, "text/event-stream": {}},
}


class VoiceId(BaseModel):
    """A voice by its id alone, as OpenAI has it."""

    id: str


class SpeechBody(BaseModel):
    """What is to be said, and how."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(description="The name of the served model, or of OpenAI's speech models.")
    input: str = Field(description="What to say.", min_length=1)
    voice: str | VoiceId = Field("default", description="An id or name from GET /v1/audio/voices.")
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float = Field(1.0, strict=True, ge=SLOWEST, le=FASTEST, description="Of the voice's own, at its own pitch.")
    stream_format: Literal["audio", "sse"] = "audio"
    instructions: str | None = Field(None, description="Accepted, and not followed: `x-ignored-fields` says so.")
    stream: bool = Field(True, description="False: the whole file at once, with all lengths in its header.")
    seed: Annotated[int, Field(strict=True, ge=0, le=MAX_SEED)] = 0
    cfg_scale: Annotated[float, Field(strict=True, ge=0, le=MAX_GUIDANCE)] | None = Field(
        None, description="Guidance; 1.0 is off."
    )
    steps: Annotated[int, Field(strict=True, ge=1, le=MAX_STEPS)] | None = Field(
        None, description="Solver steps per frame."
    )


def router(server: Server) -> APIRouter:
    routes = APIRouter(tags=["speech"])

    @routes.post("/v1/audio/speech", response_class=Response, responses={200: SPOKEN, **told(*SPEAKING)})
    async def create_speech(body: SpeechBody, request: Request) -> Response:
        """A text as speech: chunks of an audio file as they are made, or server-sent events."""
        client = server.client(request)
        if not server.knows_model(body.model):
            raise NotFoundError(f"there is no model {body.model!r}", "GET /v1/models lists them", "model_not_found")
        _require_nothing_else(body)
        encoder = open_encoder(body.response_format, server.service.sample_rate_hz, is_whole=not body.stream)
        form: Body = Events(encoder)
        if body.stream_format == "audio":
            form = Sound(FORMATS[body.response_format].media_type, encoder, not body.stream)
        voice = body.voice if isinstance(body.voice, str) else body.voice.id
        wish = Wish(voice, body.cfg_scale, body.steps, body.seed, speed=body.speed)
        return SpeechResponse(server.service, client, body.input, wish, form, "openai", _ignored(body))

    return routes


def _require_nothing_else(body: SpeechBody) -> None:
    """InputError for what would change the sound, and cannot here."""
    given = [name for name in REFERENCES if name in (body.model_extra or {})]
    if given:
        raise InputError(f"{given[0]} is not opened here", "make a voice of a recording: POST /v1/audio/voices")


def _ignored(body: SpeechBody) -> dict[str, str]:
    """Names of what was sent and is not followed, for whoever wonders."""
    sent = [name for name in UNHEARD if getattr(body, name)] + list(body.model_extra or {})
    names = [name for name in sent if name.isascii() and name.replace("_", "").isalnum()]
    return {"x-ignored-fields": ", ".join(names)[:200]} if names else {}
