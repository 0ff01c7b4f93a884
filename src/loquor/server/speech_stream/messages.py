"""What a client of our own WebSocket may say; docs/serving.md has the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from loquor.audio.tempo import FASTEST, SLOWEST
from loquor.engine.request import MAX_GUIDANCE, MAX_SEED, MAX_STEPS
from loquor.errors import InputError
from loquor.server.sockets import parsed
from loquor.server.synthesis import Wish

MOST_SPEAKERS = 16  # of a script


class Message(BaseModel):
    """All of its fields are known."""

    model_config = ConfigDict(extra="forbid")


class Settings(Message):
    """How turns are said from the next one on; what is left out stays as it was."""

    type: Literal["session.config"] = "session.config"
    voice: str = "default"
    guidance: Annotated[float, Field(ge=0, le=MAX_GUIDANCE)] | None = None
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0
    speed: Annotated[float, Field(ge=SLOWEST, le=FASTEST)] = 1.0
    format: Literal["pcm", "wav", "mp3", "opus", "aac", "flac"] = "pcm"
    encoding: Literal["binary", "base64"] = "binary"
    words: bool = True
    model: str | None = None
    cast: dict[str, str] = Field(
        default_factory=dict, max_length=MOST_SPEAKERS
    )  # of a script: speakers, and their voices
    api_key: Annotated[str | None, Field(exclude=True)] = None

    @property
    def wish(self) -> Wish:
        return Wish(self.voice, self.guidance, self.steps, self.seed, tuple(self.cast.items()), self.speed)

    def changed_by(self, other: Settings) -> Settings:
        return self.model_copy(update={name: getattr(other, name) for name in other.model_fields_set})


class Text(Message):
    """What to say next."""

    type: Literal["input.text"]
    text: str


class Flush(Message):
    """The text so far is a whole utterance."""

    type: Literal["input.flush"]


class Done(Message):
    """The turn ends."""

    type: Literal["input.done"]


class Cancel(Message):
    """Stop a turn, and say no later one."""

    type: Literal["audio.cancel"]
    turn: Annotated[int, Field(ge=0)] | None = None
    played_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class Close(Message):
    """Say what was sent, then nothing more."""

    type: Literal["session.close"]


KINDS: dict[str, type[Message]] = {
    "session.config": Settings,
    "input.text": Text,
    "input.flush": Flush,
    "input.done": Done,
    "audio.cancel": Cancel,
    "session.close": Close,
}


def message_of(values: Mapping[str, Any]) -> Message:
    """A message by its `type`; InputError if there is none such, or it has other fields."""
    kind = values.get("type")
    if not isinstance(kind, str) or kind not in KINDS:
        raise InputError(f"there is no message of type {kind!r}", hint=f"one of {', '.join(KINDS)}")
    return parsed(KINDS[kind], values)
