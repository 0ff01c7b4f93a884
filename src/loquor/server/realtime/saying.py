"""What a response says, by the family of the model: an answer to all that was said, or the last message read aloud."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from loquor.engine.conversation import Conversation, heard_ids
from loquor.engine.converser import NO_LATENTS, Converser
from loquor.engine.playback import Playback
from loquor.engine.reply import Reply
from loquor.engine.request import Chunk
from loquor.errors import InputError
from loquor.models.vita.prompt import LUKE, Message, Said, Turn
from loquor.server.realtime.events import EventError
from loquor.server.realtime.items import Item, question_of
from loquor.server.realtime.settings import Plan
from loquor.server.service import LiveSession
from loquor.server.synthesis import Voicing


class Saying(Protocol):
    """What one response says."""

    @property
    def start(self) -> Callable[[Playback], Voicing] | None:
        """What the service begins; None: text is pushed."""

    @property
    def text(self) -> str:
        """That the chunks tell their place in; of an answer, what is known by now."""

    async def ready(self) -> None:
        """Wait for what must be known first; raises if it will not be."""

    async def begin(self, live: LiveSession) -> None: ...

    def turn(self) -> Turn | None:
        """What is kept of it for later answers."""

    def usage(self, chunks: int) -> dict[str, Any]: ...


class Family(Protocol):
    """A model as the other side of a session."""

    instructions: str  # if the client gives none
    writes: bool  # can answer in text alone
    listens: bool  # to sound itself, so nobody must write it down first

    def saying(self, items: Sequence[Item], plan: Plan) -> Saying:
        """EventError if there is nothing to say."""


class Reading:
    """Text-to-speech models say what the user's messages since the last response say."""

    instructions, writes, listens = "", False, False

    def saying(self, items: Sequence[Item], plan: Plan) -> Saying:
        if not plan.is_spoken:
            raise EventError("this model speaks and writes nothing", "ask for audio", param="output_modalities")
        if plan.max_tokens is not None:
            raise EventError("speech is as long as its text", "leave it out", param="max_output_tokens")
        messages = question_of(items)
        if not messages:
            raise EventError("there is nothing to say", "create an item with text first", "nothing_to_say")
        return ReadAloud(messages)


class ReadAloud:
    """Messages being read."""

    start: None = None

    def __init__(self, messages: Sequence[Item]) -> None:
        self._messages, self.text = messages, ""

    async def ready(self) -> None:
        await asyncio.gather(*(asyncio.shield(item.transcribing) for item in self._messages if item.transcribing))
        self.text = "\n".join(item.text for item in self._messages).strip()
        if not self.text:
            raise InputError("nothing was understood, so there is nothing to say", hint="say it again, or write it")

    async def begin(self, live: LiveSession) -> None:
        await live.push(self.text)
        await live.end()

    def turn(self) -> Turn | None:
        return None  # such a model remembers nothing

    def usage(self, chunks: int) -> dict[str, Any]:
        return usage((len(self.text), 0), (0, chunks))


class Conversing:
    """VITA-Audio models answer."""

    instructions, writes, listens = LUKE, True, True

    def __init__(self, converser: Converser) -> None:
        self._converser = converser

    def saying(self, items: Sequence[Item], plan: Plan) -> Saying:
        if (items and items[-1].role == "assistant") or not (items or plan.instructions):
            raise EventError("there is nothing to answer", "create an item, or commit audio, first", "nothing_to_say")
        return Answer(self._converser, items, plan)

    def cut(self, turn: Said, heard_s: float) -> Turn | None:
        """What of an answer was heard; None if nothing was."""
        vocabulary, codec = self._converser.vocabulary, self._converser.codec
        ids = heard_ids(vocabulary, turn.ids, int(heard_s * codec.frame_rate_hz + 0.5))
        return Said(tuple(ids)) if ids else None


@dataclass(eq=False)
class Answer:
    """An answer to a conversation; also the `Voicing` of it."""

    converser: Converser
    items: Sequence[Item]
    plan: Plan
    reply: Reply | None = None
    begun: bool = False

    async def ready(self) -> None:
        """All is known."""

    def start(self, playback: Playback) -> Voicing:
        """Listen to what is new, and begin to answer; raises as `Converser.chat`."""
        turns = [turn for item in self.items if (turn := self._heard(item))]
        if self.plan.instructions.strip():
            turns.insert(0, Message("system", (self.plan.instructions,)))
        question = turns.pop()
        assert isinstance(question, Message), "the last turn is not the model's"
        self._history = Conversation(system="")
        self._history.turns, self._turns_before = turns, len(turns)
        self.reply = self.converser.answer(
            question, self._history, self.plan.is_spoken, max_new_tokens=self.plan.max_tokens
        )
        self.reply.serve(playback)
        self.begun = True
        return self

    def _heard(self, item: Item) -> Turn | None:
        """What the model has of an item. Sound is listened to once, and not kept."""
        if item.turn is None and item.role == "user":
            item.turn = self.converser.asked(*(part.sound or part.text or "" for part in item.content))
            for part in item.content:
                part.sound = None
        elif item.turn is None and item.aloud is None and item.text:
            item.turn = Message(item.role, (item.text,))
        return item.turn

    @property
    def text(self) -> str:
        return self.reply.text if self.reply else ""

    @property
    def finish(self) -> str | None:
        return self.reply.finish if self.reply else None

    def push(self, text: str) -> None:
        raise InputError("an answer is being given: nothing can be added to its question")

    def flush(self) -> None:
        """The question was whole."""

    def end(self) -> None:
        """It was."""

    def cancel(self) -> None:
        if self.reply:
            self.reply.cancel()

    def leave_unmarked(self) -> bool:
        assert self.reply is not None, "it has begun"
        return self.reply.leave_unmarked()

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Text and sound as they come; chunks of text alone have no samples."""
        assert self.reply is not None, "chunks are taken once it has begun"
        async for chunk in self.reply:
            yield Chunk(chunk.waveform, NO_LATENTS, chunk.start_s, chunk.end_s, len(self.reply.text))

    async def begin(self, live: LiveSession) -> None:
        await live.end()

    def turn(self) -> Turn | None:
        if self.reply is None or len(self._history.turns) <= self._turns_before + 1:
            return None
        return self._history.turns[-1]

    def usage(self, chunks: int) -> dict[str, Any]:
        if self.reply is None:
            return usage((0, 0), (0, 0))
        stream, vocabulary = self.reply.stream, self.converser.vocabulary
        ids = stream.prompt.tolist()
        features = 0 if stream.is_heard is None else int(stream.is_heard.sum())
        heard = sum(map(vocabulary.is_audio, ids)) + features
        said = len(self.reply.codes)
        return usage((len(ids) - heard, heard), (len(stream.tokens) - said, said))


def usage(taken: tuple[int, int], made: tuple[int, int]) -> dict[str, Any]:
    """Text and audio tokens, read and made; of models of other kinds, characters read and chunks made."""
    return {
        "total_tokens": sum(taken) + sum(made),
        "input_tokens": sum(taken),
        "output_tokens": sum(made),
        "input_token_details": {"text_tokens": taken[0], "audio_tokens": taken[1], "cached_tokens": 0},
        "output_token_details": {"text_tokens": made[0], "audio_tokens": made[1]},
    }
