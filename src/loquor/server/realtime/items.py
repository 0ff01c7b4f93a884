"""The items of a Realtime conversation, and what of an answer was heard by somebody who interrupted it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from loquor.audio import Waveform
from loquor.engine.playback import Playback
from loquor.models.vita.prompt import Turn
from loquor.server.realtime.events import ContentFields, EventError, MessageFields, new_id
from loquor.server.realtime.formats import Format, decode

KINDS = {"user": ("input_text", "input_audio"), "assistant": ("output_text", "output_audio"), "system": ("input_text",)}
MOST_ITEMS = 1000  # then the oldest are forgotten
UNHEARD_S = 600.0  # of sound that no response has listened to yet
SHORTEST_S = 0.1  # of sound

Sound = tuple[Waveform, int]  # [T], and its rate in Hz


@dataclass(eq=False)
class Content:
    """A part of an item."""

    kind: str  # one of KINDS
    text: str | None  # of sound: what is said, where that is known
    sound: Sound | None = None  # until a model has heard it

    @property
    def body(self) -> dict[str, Any]:
        return {"type": self.kind, "transcript" if self.kind.endswith("audio") else "text": self.text}


@dataclass(eq=False)
class Aloud:
    """The sound of an answer, as its listener has it: who plays what comes has heard all but what is still in hand."""

    playback: Playback
    speed: float = 1.0  # of the model's own
    marks: list[tuple[float, int]] = field(default_factory=list)  # where a chunk begins, characters said with it

    def give(self, samples: int, start_s: float, characters: int, now: float) -> None:
        self.playback.give(samples, 0.0, now)
        self.marks.append((start_s, characters))

    def heard_s(self, now: float) -> float:
        """At most: a listener may be behind, not ahead."""
        return self.playback.given_s - max(0.0, self.playback.in_hand_s(now))

    def characters(self, heard_s: float) -> int:
        """That were said within the first seconds."""
        return max((said for start_s, said in self.marks if start_s < heard_s), default=0)


@dataclass(eq=False)
class Item:
    """A message. `turn` is what a VITA-Audio model has for it."""

    role: str
    content: list[Content]
    id: str = field(default_factory=lambda: new_id("item"))
    status: str = "completed"
    turn: Turn | None = None
    aloud: Aloud | None = None
    transcribing: asyncio.Task[None] | None = None

    @property
    def body(self) -> dict[str, Any]:
        fixed = {"id": self.id, "object": "realtime.item", "type": "message", "status": self.status, "role": self.role}
        return {**fixed, "content": [part.body for part in self.content]}

    @property
    def text(self) -> str:
        """All that is written in it, or known to be said."""
        return "\n".join(part.text for part in self.content if part.text)

    @property
    def unheard_s(self) -> float:
        sounds = (part.sound for part in self.content if part.sound)
        return sum(len(waveform) / rate_hz for waveform, rate_hz in sounds)


class Dialogue:
    """The items in order."""

    def __init__(self) -> None:
        self.id = new_id("conv")
        self._items: list[Item] = []

    def __iter__(self) -> Iterator[Item]:
        return iter(list(self._items))

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Put an item last, after the item `after`, or first ("root"); gives the id before it, if there is one.

        EventError if `after` is not there, the id is taken, or too much sound waits to be listened to.
        """
        if any(other.id == item.id for other in self._items):
            raise EventError(f"there is an item {item.id!r} already", code="item_exists", param="item.id")
        if item.unheard_s + sum(other.unheard_s for other in self._items) > UNHEARD_S:
            raise EventError(
                f"more than {UNHEARD_S:g} s of sound wait to be listened to", "ask for a response, or delete items"
            )
        place = len(self._items)
        if after is not None:
            place = 0 if after == "root" else self._items.index(self.find(after, "previous_item_id")) + 1
        self._items.insert(place, item)
        before = self._items[place - 1].id if place else None
        del self._items[: max(0, len(self._items) - MOST_ITEMS)]
        return before

    def find(self, item_id: str, param: str = "item_id") -> Item:
        """The item; EventError if there is none such."""
        for item in self._items:
            if item.id == item_id:
                return item
        raise EventError(f"there is no item {item_id!r}", code="item_not_found", param=param)

    def remove(self, item_id: str) -> None:
        self._items.remove(self.find(item_id))

    @property
    def last_id(self) -> str | None:
        return self._items[-1].id if self._items else None


def item_of(fields: MessageFields, form: Format, most_characters: int, hears: bool) -> Item:
    """An item that a client wrote, sound in it in the session's format. EventError or AudioError if it cannot be."""
    content = [_content(fields.role, part, form, hears) for part in fields.content]
    item = Item(fields.role, content, fields.id or new_id("item"))
    if len(item.text) > most_characters:
        raise EventError(f"an item may have {most_characters} characters", param="item.content")
    if sum(part.sound is not None for part in content) > 1:
        raise EventError("an item may have one recording", "make an item of each", param="item.content")
    return item


def heard(sound: Sound, item_id: str | None = None) -> Item:
    """An item of what somebody said. EventError if it is too short to be anything."""
    waveform, rate_hz = sound
    if len(waveform) < SHORTEST_S * rate_hz:
        raise EventError(
            f"the buffer holds {1000 * len(waveform) / rate_hz:.0f} ms of sound, need {1000 * SHORTEST_S:.0f}",
            "append audio first",
            "input_audio_buffer_commit_empty",
        )
    return Item("user", [Content("input_audio", None, sound)], item_id or new_id("item"))


def _content(role: str, part: ContentFields, form: Format, hears: bool) -> Content:
    if part.type not in KINDS[role]:
        raise EventError(f"{role} messages have no {part.type}", f"{' or '.join(KINDS[role])}", param="item.content")
    if part.type != "input_audio":
        if part.audio is not None:
            raise EventError("what was said before is given as text", "leave out `audio`", param="item.content.audio")
        text = part.transcript if part.type == "output_audio" else part.text
        if not text or not text.strip():
            raise EventError("the text is empty", param="item.content.text")
        return Content(part.type, text)
    if not hears:
        raise deaf()
    sound = decode(part.audio or "", form), form.rate_hz
    return Content(part.type, None, heard(sound).content[0].sound)


def deaf() -> EventError:
    return EventError(
        "this session hears nothing: its model reads text aloud",
        "its operator may choose a transcriber (--transcriber), which is turned on by audio.input.transcription",
        "no_audio_input",
    )


def question_of(items: Sequence[Item]) -> Sequence[Item]:
    """What was said or written since the last answer."""
    last = max((place for place, item in enumerate(items) if item.role == "assistant"), default=-1)
    return [item for item in items[last + 1 :] if item.role == "user"]
