"""Voices over HTTP: list, make one of a recording with its speaker's consent, delete; fields as OpenAI has them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Query, Request, UploadFile

from loquor.server.documentation import ASKING, SPEAKING, told
from loquor.server.service import Service
from loquor.server.voice_store import ListedVoice, Upload
from loquor.server.wiring import Server


def router(server: Server) -> APIRouter:
    service = server.service
    routes = APIRouter(tags=["voices"])

    @routes.get("/v1/audio/voices", responses=told(*ASKING))
    async def list_voices(request: Request, form: Annotated[str, Query(alias="format")] = "") -> dict[str, Any]:
        """The voices this client can speak with; `?format=ids` gives names alone."""
        voices = await asyncio.to_thread(service.voices.listed, server.client(request))
        if form == "ids":
            return {"voices": [voice.id for voice in voices]}
        aliases = [{"id": name, "name": name, "alias_of": voice} for name, voice in service.voices.aliases.items()]
        return {"voices": [_as_json(service, voice) for voice in voices], "aliases": aliases}

    @routes.post("/v1/audio/voices", responses=told(*SPEAKING))
    async def create_voice(
        request: Request,
        name: Annotated[str, Form(description="What to call it.", min_length=1)],
        audio_sample: Annotated[UploadFile, File(description="3 to 60 s of one person speaking.")],
        consent: Annotated[
            str, Form(description="Who agreed to what use, and when, in words. It is kept.", min_length=1)
        ],
        ref_text: Annotated[str, Form(description="What is said in the recording, if the model must know.")] = "",
        language: Annotated[str, Form(description="Such as en.")] = "",
    ) -> dict[str, Any]:
        """A voice of a recording. Only the key that sent it can use it."""
        client = server.client(request)
        upload = Upload(name, await audio_sample.read(), consent.strip(), ref_text.strip(), language.strip())
        async with service.admission.slot(client):  # the model reads the recording
            return _as_json(service, await asyncio.to_thread(service.voices.add, client, upload))

    @routes.delete("/v1/audio/voices/{name}", responses=told(*ASKING, 404))
    async def delete_voice(name: str, request: Request) -> dict[str, Any]:
        """Delete an uploaded voice, by its id or name."""
        voice = await asyncio.to_thread(service.voices.remove, server.client(request), name)
        return {"id": voice.id, "deleted": True, "object": "audio.voice.deleted"}

    return routes


def _as_json(service: Service, voice: ListedVoice) -> dict[str, Any]:
    return {
        "id": voice.id,
        "object": "audio.voice",
        "type": "audio_sample",
        "name": voice.name,
        "language": voice.language,
        "model": service.name,
        "sample_rate": service.sample_rate_hz,
        "created_at": voice.created_at,
        "uploaded": voice.is_uploaded,
    }
