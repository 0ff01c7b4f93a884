"""ElevenLabs' routes: speech over HTTP and over WebSockets, and the voices there are."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, WebSocket
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from loquor.engine.request import MAX_SEED
from loquor.server.documentation import ASKING, SPEAKING, told
from loquor.server.elevenlabs.contexts import PROTOCOL, talk
from loquor.server.elevenlabs.formats import DEFAULT, output_format
from loquor.server.elevenlabs.settings import VoiceSettings, require_model, speed_of
from loquor.server.refusals import NotFoundError
from loquor.server.replies import Sound, SpeechResponse
from loquor.server.synthesis import Wish
from loquor.server.voice_store import ListedVoice
from loquor.server.wiring import Server

SPOKEN = {"description": "Audio in the format asked for.", "content": {"audio/*": {}}}
Format = Annotated[str, Query(description="Codec, sample rate and bit rate; the last is not followed.")]
Seed = Annotated[int, Field(strict=True, ge=0, le=MAX_SEED)] | None


class TextBody(BaseModel):
    """What is to be said; fields that mean nothing here are let pass."""

    model_config = ConfigDict(extra="ignore")

    text: str = Field(min_length=1)
    model_id: str | None = None
    voice_settings: VoiceSettings | None = None
    seed: Seed = None


def router(server: Server) -> APIRouter:
    service = server.service
    routes = APIRouter(tags=["elevenlabs"])

    def reply(voice: str, body: TextBody, request: Request, name: str, is_whole: bool) -> Response:
        client = server.client(request)
        require_model(server, body.model_id)
        output = output_format(name)
        form = Sound(output.media_type, output.open(service.sample_rate_hz, is_whole), is_whole)
        wish = Wish(voice, seed=body.seed or 0, speed=speed_of(body.voice_settings))
        return SpeechResponse(service, client, body.text, wish, form, PROTOCOL)

    @routes.post("/v1/text-to-speech/{voice_id}", response_class=Response, responses={200: SPOKEN, **told(*SPEAKING)})
    async def convert(voice_id: str, body: TextBody, request: Request, output_format: Format = DEFAULT) -> Response:
        """A text as a whole file."""
        return reply(voice_id, body, request, output_format, is_whole=True)

    @routes.post(
        "/v1/text-to-speech/{voice_id}/stream", response_class=Response, responses={200: SPOKEN, **told(*SPEAKING)}
    )
    async def stream(voice_id: str, body: TextBody, request: Request, output_format: Format = DEFAULT) -> Response:
        """A text as chunks of a file, as they are made."""
        return reply(voice_id, body, request, output_format, is_whole=False)

    @routes.get("/v1/voices", responses=told(*ASKING))
    async def voices(request: Request) -> dict[str, Any]:
        """The voices this client can speak with."""
        found = await asyncio.to_thread(service.voices.listed, server.client(request))
        return {"voices": [_as_json(voice) for voice in found]}

    @routes.get("/v1/voices/{voice_id}", responses=told(*ASKING, 404))
    async def voice(voice_id: str, request: Request) -> dict[str, Any]:
        """One of them."""
        found = await asyncio.to_thread(service.voices.listed, server.client(request))
        for each in found:
            if voice_id in (each.id, each.name):
                return _as_json(each)
        raise NotFoundError(f"there is no voice {voice_id!r}", "GET /v1/voices lists them", "voice_not_found")

    @routes.get("/v2/voices", responses=told(*ASKING, 400))
    async def search(
        request: Request,
        search: Annotated[str, Query(description="Part of a name.")] = "",
        page_size: Annotated[int, Query(ge=1, le=100)] = 10,
        next_page_token: Annotated[int, Query(ge=0, description="What the page before told.")] = 0,
    ) -> dict[str, Any]:
        """The voices whose names hold a word, page by page."""
        listed = await asyncio.to_thread(service.voices.listed, server.client(request))
        found = [voice for voice in listed if search.lower() in voice.name.lower()]
        end = next_page_token + page_size
        return {
            "voices": [_as_json(voice) for voice in found[next_page_token:end]],
            "has_more": len(found) > end,
            "total_count": len(found),
            "next_page_token": str(end) if len(found) > end else None,
        }

    @routes.websocket("/v1/text-to-speech/{voice_id}/stream-input")
    async def stream_input(socket: WebSocket, voice_id: str) -> None:
        await talk(server, socket, voice_id, is_multi=False)

    @routes.websocket("/v1/text-to-speech/{voice_id}/multi-stream-input")
    async def multi_stream_input(socket: WebSocket, voice_id: str) -> None:
        await talk(server, socket, voice_id, is_multi=True)

    return routes


def _as_json(voice: ListedVoice) -> dict[str, Any]:
    return {
        "voice_id": voice.id,
        "name": voice.name,
        "category": "cloned" if voice.is_uploaded else "premade",
        "labels": {"language": voice.language} if voice.language else {},
        "created_at_unix": voice.created_at,
        "is_owner": voice.is_uploaded,
    }
