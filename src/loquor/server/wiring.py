"""What a file of routes is given: the core, who may come in, and what the operator chose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
from starlette.requests import HTTPConnection

from loquor.server.keys import Client, Guard
from loquor.server.service import Service

if TYPE_CHECKING:
    from loquor.engine.load import AnySpeaker

VOICES_FOLDER = "server-voices"  # in the user's data folder
ALIASES = ("loquor", "tts-1", "tts-1-hd", "gpt-4o-mini-tts")


@dataclass(frozen=True)
class Server:
    """One server."""

    service: Service
    guard: Guard
    model_aliases: tuple[str, ...] = ALIASES  # names of other services' models that mean ours
    origins: tuple[str, ...] = ()  # of pages elsewhere that may ask (CORS)
    hosts: tuple[str, ...] = ()  # names it answers to; none: to any
    facts: Mapping[str, str] = field(default_factory=dict)  # for /health

    def client(self, request: HTTPConnection, key: str | None = None) -> Client:
        """Who asks, over HTTP or a WebSocket, which may bring its key elsewhere; raises as `Guard.client`."""
        return self.guard.client(request.headers, key, request.client.host if request.client else "")

    def knows_model(self, name: str) -> bool:
        return name in (self.service.name, *self.model_aliases) or name.startswith("gpt-4o-mini-tts-")


def served_name(model: str | None) -> str:
    """What clients call the served model."""
    return "loquor" if model is None else Path(model).name


def voice_folder(chosen: Path | None) -> Path:
    """Where uploaded voices are kept."""
    return chosen or Path(platformdirs.user_data_dir("loquor")) / VOICES_FOLDER


def warm_up(speaker: AnySpeaker) -> None:
    """One frame, so that the first client does not wait for memory."""
    next(iter(speaker.stream("One.")), None)
