"""A conversation with one voice: text is pushed in as it comes, speech comes out as it is made."""

from __future__ import annotations

import threading

from torch import Tensor

from loquor.engine.listening import FrameListening
from loquor.engine.realtime import Stream
from loquor.engine.request import Chunk, Frame, RealtimeFrame, Sampling
from loquor.engine.utterances import Piece, UtteranceSplitter
from loquor.engine.worker import Lane
from loquor.errors import InputError
from loquor.models.realtime.model import RealtimeState


class Session(FrameListening[Stream]):
    """Push text, take chunks; push from one thread and iterate in another if you like.

    What is said depends on the text and on where `flush` was called, not on how the text was cut when pushed: a
    window of text is read only when its tokens can no longer change and it is full, or the utterance is complete.
    A session that is dropped is cancelled.
    """

    def __init__(
        self,
        lane: Lane[Stream],
        voice: tuple[str, RealtimeState],
        sampling: Sampling,
        splitter: UtteranceSplitter,
        frame_s: float,
    ) -> None:
        super().__init__(lane, frame_s)
        self.voice, self._state = voice  # its name, and where every utterance starts from
        self._sampling, self._splitter = sampling, splitter
        self._pushing = threading.Lock()
        self._stream: Stream | None = None  # the utterance that text is fed to

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

    def _feed(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            stream = self._stream
            if stream is None:
                if not piece.tokens:
                    continue
                stream = Stream(self._state, self._sampling, text_start=piece.tokens[0].start)
            stream.feed(piece.tokens)
            stream.text_closed = piece.is_last
            if self._stream is None:
                self._lane.waiting.append(stream)
            self._stream = None if piece.is_last else stream
        if pieces:
            self._lane.notify()

    def _chunk(self, frame: Frame, waveform: Tensor, start_s: float) -> Chunk:
        assert isinstance(frame, RealtimeFrame)
        return Chunk(
            waveform=waveform,
            latents=frame.latent[None],
            start_s=start_s,
            end_s=start_s + self._frame_s,
            text_end=frame.text_end,
            text_start=frame.text_start,
            finish=frame.finish,
        )
