"""Text on its way into a session, and what becomes of it: what all protocols with streamed text have in common.

Text may come before there is a slot to say it, and it comes in a protocol's own messages, cut anywhere. A turn keeps it
until its session takes it, and knows afterwards which of it was heard when.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from loquor.audio.resample import Waveform
from loquor.engine.word_times import TimedWord, WordTimes
from loquor.errors import InputError
from loquor.server.refusals import IdleError
from loquor.server.service import LiveSession

T = TypeVar("T")


@dataclass(frozen=True)
class Heard:
    """A piece of speech."""

    waveform: Waveform
    end_s: float
    words: list[TimedWord]  # that begin in it, as well as that can be known
    settled: list[TimedWord] = field(default_factory=list)  # those of an utterance that has ended, better


class Patience:
    """With a client whose text is slow: for so long, and as long as what came before is still being said."""

    def __init__(self, live: LiveSession, limit_s: float) -> None:
        self._live, self._limit_s = live, limit_s
        self._given_s = 0.0  # when it was last looked

    async def wait(self, wanted: Callable[[], Awaitable[T]]) -> T:
        """What `wanted` gives; TimeoutError."""
        while True:
            try:
                async with asyncio.timeout(self._limit_s):
                    return await wanted()
            except TimeoutError:
                if self._live.playback.given_s <= self._given_s:
                    raise
                self._given_s = self._live.playback.given_s


class Turn:
    """One stretch of speech. Text is pushed while it waits or speaks, all in one event loop."""

    def __init__(self, sample_rate_hz: int, most_characters: int, idle_s: float) -> None:
        self.times = WordTimes(sample_rate_hz)
        self.is_ended = False
        self.is_broken = False  # by an error: what else comes of its text is dropped
        self.begun = asyncio.Event()  # it has text, or has ended without any
        self._most_characters, self._idle_s = most_characters, idle_s
        self._half = ""  # of a surrogate pair: JavaScript counts in halves, and may cut there
        self._steps: list[str | None] = []  # None: an utterance ends here
        self._fresh = asyncio.Event()

    @property
    def text(self) -> str:
        """All that was pushed."""
        return self.times.text

    def push(self, text: str) -> None:
        """More of its text; InputError, and nothing is taken, if it is more than a request may have."""
        if len(self.text) + len(text) > self._most_characters:
            raise InputError(
                f"a request may have {self._most_characters} characters", hint="send the rest in another one"
            )
        text = _whole_pairs(self._half + text)
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        text = text.removesuffix(self._half)
        if text:
            self.times.push(text)
            self.begun.set()
            self._steps.append(text)
            self._fresh.set()

    def flush(self) -> None:
        """What was pushed is a whole utterance."""
        if self._steps[-1:] != [None]:
            self._steps.append(None)
            self._fresh.set()

    def end(self) -> None:
        """Nothing more will be pushed."""
        self.is_ended = True
        self.begun.set()
        self._fresh.set()

    async def feed(self, live: LiveSession) -> None:
        """Push the text into a session as it comes, to its end; IdleError if there is no text for too long."""
        patience = Patience(live, self._idle_s)
        while True:
            try:
                await patience.wait(self._fresh.wait)
            except TimeoutError:
                hint = "end what is complete: it holds a slot"
                raise IdleError(f"no text came for {self._idle_s:g} s, nor its end", hint) from None
            self._fresh.clear()
            while self._steps:
                step = self._steps.pop(0)
                await (live.flush() if step is None else live.push(step))
            if self.is_ended:
                break
        await live.end()

    async def heard(self, live: LiveSession) -> AsyncIterator[Heard]:
        """What the session says; InputError if the text holds nothing that can be spoken."""
        async for chunk in live:
            words, settled = self.times.hear(chunk)
            yield Heard(chunk.waveform.numpy(), chunk.end_s, words, settled)
        if live.first_audio_s is None:
            raise InputError("the text holds nothing that can be spoken")
        if settled := self.times.settle():  # of a model that does not tell where its utterances end
            yield Heard(np.zeros(0, np.float32), self.times.end_s, [], settled)


def _whole_pairs(text: str) -> str:
    """Two halves of a character, one after the other, as the character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
