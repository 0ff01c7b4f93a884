"""What clients of the Realtime API send: one JSON object a message, by type; and what is told of those that fail.

Names and fields are those of `openai.types.realtime`, the client that is tested against.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loquor.errors import InputError, LoquorError
from loquor.server.failures import problem


class EventError(InputError):
    """An event that cannot be followed; `code` is what programs are told, `param` the field that is wrong."""

    def __init__(self, message: str, hint: str = "", code: str | None = None, param: str | None = None) -> None:
        super().__init__(message, hint)
        self.code, self.param = code, param


class Fields(BaseModel):
    """Of an event, or of an object in one. What we do not know we do not follow, so it is an error."""

    model_config = ConfigDict(extra="forbid")


class Event(Fields):
    """What all events have."""

    type: str
    event_id: str | None = None


class ContentFields(Fields):
    """A part of a message."""

    type: Literal["input_text", "input_audio", "output_text", "output_audio"]
    text: str | None = None
    transcript: str | None = None
    audio: str | None = None


class MessageFields(Fields):
    """A message, as clients write one; of other kinds of items we have none."""

    type: Literal["message"]
    role: Literal["user", "assistant", "system"]
    content: list[ContentFields] = Field(min_length=1, max_length=64)
    id: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    object: Literal["realtime.item"] | None = None
    status: Literal["completed", "incomplete", "in_progress"] | None = None


class ReferenceFields(Fields):
    """An item of the conversation, by its id."""

    type: Literal["item_reference"]
    id: str


class SessionUpdate(Event):
    session: dict[str, Any]  # read on top of the settings there are


class Append(Event):
    audio: str


class Bare(Event):
    """An event that says all by its type."""


class CreateItem(Event):
    item: MessageFields
    previous_item_id: str | None = None


class NamesItem(Event):
    item_id: str


class Truncate(NamesItem):
    content_index: Literal[0]
    audio_end_ms: int = Field(ge=0)


class CreateResponse(Event):
    response: dict[str, Any] | None = None  # read on top of the session's settings


class CancelResponse(Event):
    response_id: str | None = None


EVENTS: dict[str, type[Event]] = {
    "session.update": SessionUpdate,
    "input_audio_buffer.append": Append,
    "input_audio_buffer.commit": Bare,
    "input_audio_buffer.clear": Bare,
    "conversation.item.create": CreateItem,
    "conversation.item.retrieve": NamesItem,
    "conversation.item.delete": NamesItem,
    "conversation.item.truncate": Truncate,
    "response.create": CreateResponse,
    "response.cancel": CancelResponse,
}
M = TypeVar("M", bound=BaseModel)


def read_event(values: dict[str, Any]) -> Event:
    """The event; EventError if there is none such, or fields are wrong."""
    kind = values.get("type")
    if not isinstance(kind, str) or kind not in EVENTS:
        raise EventError(
            f"there is no event {kind!r} here", f"one of {', '.join(EVENTS)}", "unknown_event_type", "type"
        )
    return validated(EVENTS[kind], values)


def validated(fields: type[M], values: Any, prefix: str = "") -> M:
    """The fields of an object; EventError names the first that is wrong."""
    try:
        return fields.model_validate(values, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join([*([prefix] if prefix else []), *map(str, first["loc"])])
        code = "unknown_parameter" if first["type"] == "extra_forbidden" else "invalid_value"
        raise EventError(f"{param}: {first['msg']}", code=code, param=param) from None


def told(error: LoquorError, event_id: str | None = None) -> dict[str, Any]:
    """The `error` object of an error, fit to be sent whatever the client's strings held; `event_id` is the client's."""
    found = problem(error)
    code, param = (error.code, error.param) if isinstance(error, EventError) else (found.code, found.param)
    named = {"type": found.kind, "code": code, "message": found.message, "param": param, "event_id": event_id}
    return {name: value and value.encode("utf-8", "replace").decode() for name, value in named.items()}


def details(error: LoquorError) -> dict[str, Any]:
    """The same where it is no answer to an event."""
    return {name: value for name, value in told(error).items() if name != "event_id"}


def new_id(kind: str) -> str:
    """An id nobody has: of an event, item, resp, sess, conv."""
    return f"{kind}_{secrets.token_hex(12)}"
