"""What a file of routes is given: the core, who may come in, and what the operator chose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from loquor.server.keys import Client, Guard
from loquor.server.service import Service

ALIASES = ("loquor", "tts-1", "tts-1-hd", "gpt-4o-mini-tts")


@dataclass(frozen=True)
class Server:
    """One server."""

    service: Service
    guard: Guard
    model_aliases: tuple[str, ...] = ALIASES  # names of other services' models that mean ours
    origins: tuple[str, ...] = ()  # of pages elsewhere that may ask (CORS)
    facts: Mapping[str, str] = field(default_factory=dict)  # for /health

    def client(self, request: HTTPConnection) -> Client:
        """Who asks, over HTTP or a WebSocket; raises as `Guard.client`."""
        return self.guard.client(request.headers)

    def knows_model(self, name: str) -> bool:
        return name in (self.service.name, *self.model_aliases) or name.startswith("gpt-4o-mini-tts-")
