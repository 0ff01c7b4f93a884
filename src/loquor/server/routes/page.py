"""The page at `/`: its files, as they lie in the package, to a browser that may ask nobody but us."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from loquor.engine.dialogue import DialogueSpeaker
from loquor.server.refusals import NotFoundError
from loquor.server.wiring import Server

FOLDER = Path(__file__).parent.parent / "page"
KINDS = {  # of files, by suffix
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; media-src blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # kept, and asked for again: the ETag answers
}


@dataclass(frozen=True)
class PageFile:
    """A file of the page, ready to be sent."""

    content: bytes
    kind: str
    etag: str


def router(server: Server) -> APIRouter:
    """The page needs no key: it asks for one itself."""
    files = {path.name: _read(path) for path in FOLDER.iterdir() if path.suffix in KINDS}
    routes = APIRouter(include_in_schema=False)

    def answer(request: Request, name: str) -> Response:
        file = files.get(name)
        if file is None:
            raise NotFoundError(f"the page has no file {name!r}")
        headers = {**HEADERS, "ETag": file.etag}
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers=headers)
        return Response(file.content, media_type=file.kind, headers=headers)

    @routes.get("/")
    async def index(request: Request) -> Response:
        return answer(request, "index.html")

    @routes.get("/page/model.json")
    async def model() -> dict[str, bool]:
        """What the page must know of the model before it asks for speech."""
        return {"reads_scripts": isinstance(server.service.speaker, DialogueSpeaker)}

    @routes.get("/page/{name}")
    async def part(name: str, request: Request) -> Response:
        return answer(request, name)

    return routes


def _read(path: Path) -> PageFile:
    content = path.read_bytes()
    return PageFile(content, KINDS[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:16]}"')
