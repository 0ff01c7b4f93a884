"""Taking what a lane says: chunk by chunk, as they are made, from any thread or coroutine.

This is where speech leaves the engine, so this is where the watermark is put on it: whoever steps a batch has it as the
model says it, and whoever listens has it marked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from queue import Empty
from typing import Generic, Self, TypeVar

import torch
from torch import Tensor

from loquor.audio.watermark import Marker
from loquor.engine.playback import Playback
from loquor.engine.request import Chunk, Frame, Piece
from loquor.engine.worker import Lane, S

logger = logging.getLogger(__name__)


C = TypeVar("C")  # what a listener gets


class Listening(ABC, Generic[S, C]):
    """The listener's end of a lane. One that is dropped cancels its lane."""

    def __init__(self, lane: Lane[S]) -> None:
        self._lane = lane
        self._marker: Marker | None = None
        weakref.finalize(self, lane.cancel).atexit = False

    @property
    def finish(self) -> str | None:
        """How its streams ended: "end" if all did by themselves, else what stopped one first other: limit, runaway or
        cancelled. Final once all has been said; None if nothing was."""
        return self._lane.finish

    def serve(self, playback: Playback) -> None:
        """From now on made for a listener who plays what comes: never far ahead of what was taken, and in time."""
        self._lane.playback = playback

    def watermark(self, sample_rate_hz: int) -> None:
        """Mark, as speech made here, all that is given out from now on."""
        self._marker = Marker(sample_rate_hz)

    def leave_unmarked(self) -> bool:
        """Whoever takes the chunks marks them, after what else they do; whether they are to."""
        was_wanted, self._marker = self._marker is not None, None
        return was_wanted

    def tell_of_limits(self) -> None:
        """Speech that was cut off does not pass in silence."""
        if self.finish in ("limit", "runaway"):
            logger.warning("the speech did not end by itself but by %s", self.finish)

    @abstractmethod
    def end(self) -> None:
        """Nothing more will come; iteration stops when all has been said."""

    def cancel(self) -> None:
        """Stop within one step; what was spoken so far can still be taken."""
        self._lane.cancel()

    def __iter__(self) -> Iterator[C]:
        """Chunks, until the session has ended and all is said."""
        while (chunk := self.next_chunk()) is not None:
            yield chunk

    async def __aiter__(self) -> AsyncIterator[C]:
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

    def next_chunk(self, wait: bool = True) -> C | None:
        """The next chunk; None when all has been said. Raises what broke generation, and queue.Empty where there is no
        chunk yet and the caller will not wait."""
        event = self._lane.take(wait)
        if isinstance(event, Piece):
            return self._take(event, self._marked(event.waveform))
        self._lane.put(None)  # whoever asks again hears the same
        if event is not None:
            raise event
        return None

    def _marked(self, waveform: Tensor) -> Tensor:
        """waveform [T] as a listener gets it."""
        if self._marker is None:
            return waveform
        return torch.from_numpy(self._marker.mark(waveform.float().cpu().numpy()))

    @abstractmethod
    def _take(self, piece: Piece, waveform: Tensor) -> C:
        """What a listener gets of a piece, and of its sound, waveform [T]."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.end()
        else:
            self.cancel()


class FrameListening(Listening[S, Chunk]):
    """Chunks of one frame."""

    def __init__(self, lane: Lane[S], frame_s: float) -> None:
        super().__init__(lane)
        self._frame_s, self._frames = frame_s, 0

    def _take(self, piece: Piece, waveform: Tensor) -> Chunk:
        assert isinstance(piece, Frame)
        self._frames += 1
        return self._chunk(piece, waveform, (self._frames - 1) * self._frame_s)

    @abstractmethod
    def _chunk(self, frame: Frame, waveform: Tensor, start_s: float) -> Chunk:
        """What a listener gets of a frame, and of its sound, waveform [T]."""
