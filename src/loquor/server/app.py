"""The web application: all protocols of one server, and what they have in common: errors, limits, who may ask."""

from __future__ import annotations

import logging
from collections.abc import Callable

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Match

from loquor.errors import LoquorError
from loquor.server.documentation import Application
from loquor.server.failures import Problem, problem
from loquor.server.hosts import HostCheck
from loquor.server.limits import BodyLimit
from loquor.server.origins import OriginCheck
from loquor.server.routes import (
    elevenlabs,
    microsoft,
    operations,
    page,
    realtime,
    speech,
    speech_stream,
    transcriptions,
    voices,
)
from loquor.server.wiring import Server

logger = logging.getLogger(__name__)

ROUTERS: tuple[Callable[[Server], APIRouter], ...] = (  # a protocol each
    speech.router,
    speech_stream.router,
    elevenlabs.router,
    microsoft.router,
    voices.router,
    transcriptions.router,
    operations.router,
    realtime.router,
    page.router,
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
UPLOADS = ("/v1/audio/voices", "/v1/audio/transcriptions")  # take recordings


def create_app(server: Server) -> FastAPI:
    """The application, for uvicorn or a test."""
    app = Application(title="Loquor", description="Speech, as it is made.", docs_url=None, redoc_url=None)
    app.asks_for_keys = server.guard.asks_for_keys
    for router in ROUTERS:
        app.include_router(router(server))
    app.add_exception_handler(LoquorError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    limits = server.service.limits
    app.add_middleware(BodyLimit, allowed=lambda path: limits.upload_bytes if path in UPLOADS else limits.body_bytes)
    app.add_middleware(OriginCheck, allowed=server.origins)
    if server.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(server.origins),
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["x-request-id", "x-queue-wait-ms", "x-ignored-fields", "retry-after"],
        )
    if server.hosts:
        app.add_middleware(HostCheck, allowed=server.hosts)
    return app


def _told(told: Problem) -> JSONResponse:
    return JSONResponse(told.body, told.status, told.headers)


async def _on_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, LoquorError)
    told = problem(error)
    if told.status == 500:
        logger.error("%s %s: %s", request.method, request.url.path, error)
    return _told(told)


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    """What does not fit a request's fields; OpenAI says 400, and which."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return _told(Problem(400, f"{where or 'body'}: {first['msg']}", "invalid_request_error", None, where or None))


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    told = Problem(error.status_code, str(error.detail), "invalid_request_error")
    headers = {"Allow": ", ".join(_methods(request))} if error.status_code == 405 else error.headers
    return JSONResponse(told.body, told.status, headers)


def _methods(request: Request) -> list[str]:
    """What may be asked of a path, by all its routes; Starlette tells those of the first."""
    scopes = {method: {**request.scope, "method": method} for method in METHODS}
    routes = request.app.router.routes
    return [
        method for method, scope in scopes.items() if any(route.matches(scope)[0] is Match.FULL for route in routes)
    ]
