"""What an operator asks: is it alive, does it take requests, how is it doing, which model is it."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from loquor.server.documentation import ASKING, told
from loquor.server.refusals import NotFoundError
from loquor.server.wiring import Server

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def router(server: Server) -> APIRouter:
    service, started = server.service, int(time.time())
    routes = APIRouter(tags=["operations"])

    @routes.get("/health")
    async def health() -> dict[str, Any]:
        """Alive."""
        admission = service.admission
        load = {"slots": admission.slots, "in_use": len(admission.running), "queue": len(admission.waiting)}
        return {"status": "ok", "model": service.name, **server.facts, **load}

    @routes.get("/ready", responses={503: {"description": "Shutting down."}})
    async def ready() -> Response:
        """Whether requests are taken: 503 while the server drains."""
        is_open = service.admission.is_open
        return JSONResponse({"ready": is_open}, 200 if is_open else 503)

    @routes.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(service.metrics.text(), media_type=METRICS_TYPE)

    @routes.get("/v1/models", responses=told(*ASKING))
    async def models(request: Request) -> dict[str, Any]:
        """The served model, and the names of others that mean it."""
        server.client(request)
        names = dict.fromkeys([service.name, *server.model_aliases])
        return {"object": "list", "data": [_model(name) for name in names]}

    @routes.get("/v1/models/{name:path}", responses=told(*ASKING, 404))
    async def model(name: str, request: Request) -> dict[str, Any]:
        """One of them."""
        server.client(request)
        if not server.knows_model(name):
            raise NotFoundError(f"there is no model {name!r}", "GET /v1/models lists them", "model_not_found")
        return _model(name)

    def _model(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": started, "owned_by": "loquor"}

    return routes
