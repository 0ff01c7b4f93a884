"""A conversation with one voice: text is pushed in as it comes, speech comes out as it is made."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from queue import Empty

from loquor.engine.realtime import Stream
from loquor.engine.request import Chunk, Frame, Sampling
from loquor.engine.utterances import Piece, UtteranceSplitter
from loquor.engine.worker import Lane
from loquor.errors import InputError
from loquor.models.realtime.model import RealtimeState


class Session:
    """Push text, take chunks; push from one thread and iterate in another if you like.

    What is said depends on the text and on where `flush` was called, not on how the text was cut when pushed: a
    window of text is read only when its tokens can no longer change and it is full, or the utterance is complete.
    A session that is dropped is cancelled.
    """

    def __init__(
        self,
        lane: Lane,
        voice: tuple[str, RealtimeState],
        sampling: Sampling,
        splitter: UtteranceSplitter,
        frame_s: float,
    ) -> None:
        self.voice, self._state = voice  # its name, and where every utterance starts from
        self._lane, self._sampling, self._splitter = lane, sampling, splitter
        self._frame_s = frame_s
        self._pushing = threading.Lock()
        self._stream: Stream | None = None  # the utterance that text is fed to
        self._frames = 0
        weakref.finalize(self, lane.cancel).atexit = False

    @property
    def finish(self) -> str | None:
        """How its utterances ended: "end" if all did by themselves, else what stopped the first other: limit, runaway
        or cancelled. Final once all has been said; None if nothing was."""
        return self._lane.finish

    def push(self, text: str) -> None:
        """Text to speak next. InputError if it is no string, holds half a surrogate pair, or comes after `end`."""
        if not isinstance(text, str):
            raise InputError(f"text must be a string, got {type(text).__name__}")
        with self._pushing:
            if self._lane.closed:
                raise InputError("text was pushed after the session's end")
            self._feed(self._splitter.push(text))

    def flush(self) -> None:
        """What was pushed is a whole utterance: speak it to its end. The session stays open for more."""
        with self._pushing:
            self._feed(self._splitter.close())

    def end(self) -> None:
        """Nothing more will be pushed; iteration stops when all has been said."""
        with self._pushing:
            self._feed(self._splitter.close())
            self._lane.closed = True
        self._lane.notify()

    def cancel(self) -> None:
        """Stop within one frame; what was spoken so far can still be taken."""
        self._lane.cancel()

    def _feed(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            stream = self._stream
            if stream is None:
                if not piece.tokens:
                    continue
                stream = Stream(self._state, self._sampling)
            stream.feed(piece.tokens)
            stream.text_closed = piece.is_last
            if self._stream is None:
                self._lane.waiting.append(stream)
            self._stream = None if piece.is_last else stream
        if pieces:
            self._lane.notify()

    def __iter__(self) -> Iterator[Chunk]:
        """Chunks of one frame, until the session has ended and all is said."""
        while (chunk := self.next_chunk()) is not None:
            yield chunk

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        """The same for coroutines; waiting for a chunk takes no thread."""
        loop, ready = asyncio.get_running_loop(), asyncio.Event()

        def listener() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(ready.set)

        self._lane.listener = listener
        while True:
            ready.clear()
            try:
                chunk = self.next_chunk(wait=False)
            except Empty:
                await ready.wait()
                continue
            if chunk is None:
                return
            yield chunk

    def next_chunk(self, wait: bool = True) -> Chunk | None:
        """The next chunk; None when all has been said. Raises what broke generation, and queue.Empty where there is no
        chunk yet and the caller will not wait."""
        event = self._lane.events.get(block=wait)
        if isinstance(event, Frame):
            return self._chunk(event)
        self._lane.put(None)  # whoever asks again hears the same
        if event is not None:
            raise event
        return None

    def _chunk(self, frame: Frame) -> Chunk:
        start = self._frames * self._frame_s
        self._frames += 1
        return Chunk(
            waveform=frame.waveform,
            latents=frame.latent[None],
            start_s=start,
            end_s=start + self._frame_s,
            text_end=frame.text_end,
        )

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.end()
        else:
            self.cancel()
