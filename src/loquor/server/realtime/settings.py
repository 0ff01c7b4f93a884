"""What a Realtime session is set to, and what a response may have otherwise.

An update is read on top of what there is: objects of the API's tree are merged, whatever they hold is replaced. What is
asked for and cannot be is an error; a hint that changes no sound, such as tracing, is taken and let be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from loquor.audio.tempo import FASTEST, SLOWEST
from loquor.engine.turn_detector import BEGINS
from loquor.server.realtime.events import EventError, Fields, MessageFields, ReferenceFields, validated
from loquor.server.realtime.formats import FORMATS, Format

BRANCHES: dict[str, Any] = {"audio": {"input": {}, "output": {}}}  # objects that are merged
MOST_TOKENS = 4096

Modalities = tuple[Literal["text", "audio"]]  # one: what is spoken has its transcript anyway
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]
VoiceName = Annotated[str, Field(max_length=200)]
MaxTokens = Annotated[int, Field(ge=1, le=MOST_TOKENS)] | Literal["inf"]


def _none(tools: list[Any]) -> list[Any]:
    if tools:
        raise ValueError("these models call no tools")
    return tools


NoTools = Annotated[list[Any], AfterValidator(_none)]


class Pcm(Fields):
    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Literal[24000] = 24000


class Telephone(Fields):
    type: Literal["audio/pcmu", "audio/pcma"]


AnyFormat = Annotated[Pcm | Telephone, Field(discriminator="type")]


class ServerVad(Fields):
    """When somebody begins to speak, and has finished."""

    type: Literal["server_vad"]
    threshold: Annotated[float, Field(gt=0, le=1)] = BEGINS
    prefix_padding_ms: Annotated[int, Field(ge=0, le=5000)] = 300
    silence_duration_ms: Annotated[int, Field(ge=100, le=10_000)] = 500
    create_response: bool = True
    interrupt_response: bool = True
    idle_timeout_ms: None = None


class Transcription(BaseModel):
    """That what is heard is written down; how is the transcriber's business."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    language: str | None = None


class VoiceId(Fields):
    id: str


class Input(Fields):
    format: AnyFormat = Pcm()
    transcription: Transcription | None = None
    noise_reduction: None = None
    turn_detection: ServerVad | None = None


class Output(Fields):
    format: AnyFormat = Pcm()
    voice: VoiceName | VoiceId = "default"
    speed: Annotated[float, Field(ge=SLOWEST, le=FASTEST)] = 1.0


class Audio(Fields):
    input: Input = Input()
    output: Output = Output()


class Hints(Fields):
    """Taken, and not followed."""

    tools: NoTools = Field(default_factory=list)
    tool_choice: Literal["none", "auto"] = "auto"
    prompt: None = None
    parallel_tool_calls: Any = None
    reasoning: Any = None


class Settings(Hints):
    """Of a session."""

    type: Literal["realtime"]
    model: str = ""
    output_modalities: Modalities = ("audio",)
    instructions: str = ""
    max_output_tokens: MaxTokens = "inf"
    audio: Audio = Audio()
    tracing: Any = None
    include: Any = None
    truncation: Literal["auto", "disabled"] = "disabled"

    def updated(self, given: dict[str, Any]) -> Settings:
        """These with what is given; EventError for what cannot be."""
        if given.get("type", "realtime") != "realtime":
            raise EventError(
                f"there are no sessions of type {given['type']!r}", "only realtime", "invalid_value", "session.type"
            )
        fresh = validated(Settings, _merged(self.model_dump(), given, BRANCHES), "session")
        return fresh.model_copy(update={"model": self.model, "truncation": "disabled"})

    def body(self, session_id: str) -> dict[str, Any]:
        """As clients are told."""
        hints = {"tracing", "include", "parallel_tool_calls", "reasoning"}
        return {"object": "realtime.session", "id": session_id, **self.model_dump(exclude=hints)}


class ResponseOutput(Fields):
    format: AnyFormat | None = None
    voice: VoiceName | VoiceId | None = None


class ResponseAudio(Fields):
    output: ResponseOutput = ResponseOutput()


class ResponseFields(Hints):
    """What a response may have of its own."""

    output_modalities: Modalities | None = None
    instructions: str | None = None
    max_output_tokens: MaxTokens | None = None
    audio: ResponseAudio = ResponseAudio()
    conversation: Literal["auto", "none"] = "auto"
    input: list[Annotated[MessageFields | ReferenceFields, Field(discriminator="type")]] | None = None
    metadata: Metadata | None = None


@dataclass(frozen=True)
class Plan:
    """How a response is given."""

    is_spoken: bool
    voice: str
    speed: float
    format_name: str
    instructions: str
    max_tokens: int | None
    is_kept: bool  # in the conversation
    metadata: dict[str, str] | None

    @classmethod
    def of(cls, settings: Settings, own: ResponseFields) -> Plan:
        output, given = settings.audio.output, own.audio.output
        voice = given.voice or output.voice
        limit = own.max_output_tokens or settings.max_output_tokens
        return cls(
            is_spoken=(own.output_modalities or settings.output_modalities) == ("audio",),
            voice=voice if isinstance(voice, str) else voice.id,
            speed=output.speed,
            format_name=(given.format or output.format).type,
            instructions=settings.instructions if own.instructions is None else own.instructions,
            max_tokens=None if limit == "inf" else limit,
            is_kept=own.conversation == "auto",
            metadata=own.metadata,
        )

    @property
    def format(self) -> Format:
        return FORMATS[self.format_name]

    @property
    def body(self) -> dict[str, Any]:
        """As clients are told, in a response."""
        return {
            "output_modalities": ["audio" if self.is_spoken else "text"],
            "max_output_tokens": self.max_tokens or "inf",
            "audio": {"output": {"format": {"type": self.format_name}, "voice": self.voice}},
            "metadata": self.metadata,
        }


def _merged(there: dict[str, Any], given: dict[str, Any], branches: dict[str, Any]) -> dict[str, Any]:
    merged = dict(there)
    for name, value in given.items():
        is_branch = name in branches and isinstance(value, dict)
        merged[name] = _merged(there.get(name) or {}, value, branches[name]) if is_branch else value
    return merged
