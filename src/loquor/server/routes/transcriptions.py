"""OpenAI's transcription endpoint (`POST /v1/audio/transcriptions`), where the operator configured a transcriber."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, File, Form, Request, UploadFile
from starlette.responses import JSONResponse, PlainTextResponse, Response

from loquor.audio.io import decode
from loquor.errors import MissingExtra
from loquor.server.documentation import SPEAKING, told
from loquor.server.wiring import Server

SAMPLE_RATE_HZ = 16_000  # what recognisers hear
LONGEST_S = 1800.0


def router(server: Server) -> APIRouter:
    service = server.service
    routes = APIRouter(tags=["transcriptions"])

    @routes.post(
        "/v1/audio/transcriptions",
        response_class=Response,
        responses=told(*SPEAKING),
        include_in_schema=service.transcriber is not None,
    )
    async def create_transcription(
        request: Request,
        file: Annotated[UploadFile, File(description="A recording of at most half an hour.")],
        model: Annotated[str, Form(description="Any name: there is one transcriber.")] = "",
        response_format: Annotated[Literal["json", "text", "verbose_json"], Form()] = "json",
        language: Annotated[str, Form(description="Taken note of: the transcriber knows what it knows.")] = "",
    ) -> Response:
        """What is said in a recording. Takes a slot, as speaking does."""
        client = server.client(request)
        if service.transcriber is None:
            raise MissingExtra("this server has no transcriber", hint="its operator chooses one: --transcriber")
        data = await file.read()
        async with service.admission.slot(client):
            sound = await asyncio.to_thread(decode, io.BytesIO(data), Path("the recording"), SAMPLE_RATE_HZ, LONGEST_S)
            text = await asyncio.to_thread(service.transcriber.transcribe, sound, SAMPLE_RATE_HZ)
        seconds = len(sound) / SAMPLE_RATE_HZ
        if response_format == "text":
            return PlainTextResponse(f"{text}\n")
        if response_format == "json":
            return JSONResponse({"text": text, "usage": {"type": "duration", "seconds": seconds}})
        return JSONResponse({"task": "transcribe", "language": language, "duration": seconds, "text": text})

    return routes
