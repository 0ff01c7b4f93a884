"""What the OpenAPI document says beyond what FastAPI finds by itself: the errors of each route, and where a key goes.

A program that reads it may rely on it: `tests/server/test_openapi.py` asks for every status and schema in it.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

MEANINGS = {
    400: "Something in the request cannot be.",
    401: "No API key, or an unknown one.",
    404: "No such model or voice.",
    413: "The request is too large.",
    429: "The key's own limit is reached; Retry-After says for how long.",
    501: "The server lacks what this needs.",
    503: "All slots speak and the queue is full; Retry-After says for how long.",
}
ASKING = (401, 429)  # what any request may be told that has to say who asks
SPEAKING = (*ASKING, 400, 404, 413, 501, 503)
RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
BEARER = {"key": {"type": "http", "scheme": "bearer", "description": "A key of `loquor keys add`."}}
UNTRUE = "422"  # what FastAPI says of fields that do not fit; we say 400, as OpenAI does
UNTRUE_SCHEMAS = ("HTTPValidationError", "ValidationError")


class Details(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """An error, as OpenAI's clients read it."""

    error: Details


def told(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Errors a route may answer with, for its `responses`."""
    responses: dict[int | str, dict[str, Any]] = {}
    for status in sorted(statuses):
        responses[status] = {"model": ErrorBody, "description": MEANINGS[status]}
        if status in (429, 503):
            responses[status]["headers"] = RETRY_AFTER
    return responses


class Application(FastAPI):
    """Documents itself truthfully."""

    asks_for_keys = False

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            document = super().openapi()
            components = document.setdefault("components", {})
            for operation in (one for path in document["paths"].values() for one in path.values()):
                operation["responses"].pop(UNTRUE, None)
                if self.asks_for_keys and "401" in operation["responses"]:
                    operation["security"] = [{"key": []}]
            for name in UNTRUE_SCHEMAS:
                components.get("schemas", {}).pop(name, None)
            if self.asks_for_keys:
                components["securitySchemes"] = BEARER
        assert self.openapi_schema is not None
        return self.openapi_schema
