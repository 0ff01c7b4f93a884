"""A reply being said: ids become text and sound as they come, and what was heard of it is kept when it is interrupted.

The language model's batch gives ids; what they say is made here, so a server has the same protocol (join, step, cancel)
as for models that speak frames. The memory of the audio decoder belongs to the reply.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from loquor.engine.conversation import Conversation, heard_ids
from loquor.engine.interleaved import InterleavedBatch
from loquor.engine.interleaved_stream import InterleavedStream
from loquor.engine.listening import Listening
from loquor.engine.request import Piece
from loquor.engine.worker import Lane
from loquor.models.speech_tokens import SpeechTokens
from loquor.models.vita.prompt import Message
from loquor.models.vita.vocabulary import TextOfIds, Vocabulary


@dataclass(frozen=True, eq=False)
class ReplyPiece(Piece):
    """What a step says of a reply."""

    text: str
    waveform: Tensor  # [T] float32, perhaps empty
    ids: int  # said so far


@dataclass(frozen=True, eq=False)
class ReplyChunk:
    """A piece of a reply, as a listener gets it: some text, some sound, or both."""

    text: str
    waveform: Tensor  # [T] float32, in [-1, 1], perhaps empty
    start_s: float  # of the sound
    end_s: float


class Mouth:
    """Codes of one reply to sound, as they come."""

    def __init__(self, codec: SpeechTokens, seed: int) -> None:
        self.codec, self._state, self._codes = codec, codec.init_state(seed), 0

    @property
    def code_s(self) -> float:
        """Seconds of a code."""
        return 1 / self.codec.frame_rate_hz

    def say(self, codes: Sequence[int], is_final: bool) -> Tensor:
        """The sound [T] that is complete now."""
        self._codes += len(codes)
        if not codes and not (is_final and self._codes):
            return torch.zeros(0)
        return self.codec.decode(codes, self._state, is_final)


@dataclass(eq=False)
class ReplyStream(InterleavedStream):
    """A request, and what its ids mean."""

    mouth: Mouth | None = None  # None: only text is wanted
    words: TextOfIds | None = None  # begun by the batch
    frames: int = 0  # codes said
    first_frame: int = 0  # of what a worker says one after the other


class ReplyBatch:
    """Replies that share the passes of one model. Not thread-safe: one thread steps it."""

    def __init__(self, batch: InterleavedBatch, vocabulary: Vocabulary) -> None:
        self.batch, self.vocabulary = batch, vocabulary

    @property
    def streams(self) -> Sequence[ReplyStream]:
        return [stream for stream in self.batch.streams if isinstance(stream, ReplyStream)]

    @property
    def can_speak(self) -> bool:
        """Whether a step would do anything."""
        return self.batch.can_speak

    def is_ready(self, stream: ReplyStream) -> bool:
        """Whether `stream` has something to say: always."""
        return self.batch.is_ready(stream)

    def join(self, stream: ReplyStream) -> None:
        """Let `stream` take part from the next step on; raises as `InterleavedBatch.join`."""
        stream.words = TextOfIds(self.vocabulary)
        self.batch.join(stream)

    def clear(self) -> None:
        """Drop all streams."""
        self.batch.clear()

    def step(self) -> list[tuple[ReplyStream, ReplyPiece]]:
        """Some tokens of each stream, as text and sound; streams that have ended are gone afterwards."""
        said = []
        for stream, ids in self.batch.step():
            assert isinstance(stream, ReplyStream)
            piece = self._piece(stream, ids)
            if piece.text or len(piece.waveform) or stream.finish:
                said.append((stream, piece))
        return said

    def _piece(self, stream: ReplyStream, ids: Sequence[int]) -> ReplyPiece:
        assert stream.words
        is_last, codes = stream.finish is not None, self.vocabulary.codes(ids)
        stream.frames += len(codes)
        text = "".join(map(stream.words.push, ids)) + (stream.words.end() if is_last else "")
        waveform = stream.mouth.say(codes, is_last) if stream.mouth else torch.zeros(0)
        return ReplyPiece(text, waveform, len(stream.tokens))


@dataclass(frozen=True, eq=False)
class Exchange:
    """Where a reply belongs once it is over."""

    question: Message
    conversation: Conversation


class Reply(Listening[ReplyStream, ReplyChunk]):
    """A reply being said: iterate over its chunks, also asynchronously.

    When it has ended, or was interrupted or cancelled, its conversation holds the question and what was heard of it.
    """

    def __init__(
        self,
        lane: Lane[ReplyStream],
        stream: ReplyStream,
        vocabulary: Vocabulary,
        eos: Sequence[int],
        exchange: Exchange | None,
    ) -> None:
        super().__init__(lane)
        self.stream, self._vocabulary, self._eos = stream, vocabulary, tuple(eos)
        self._exchange, self._is_concluded = exchange, False
        self._started = time.perf_counter()
        self._samples = self._ids = 0  # given out
        self.text = ""  # given out
        self.compute_s = 0.0  # from the request to the last chunk given out
        self.first_audio_ms: float | None = None
        lane.waiting.append(stream)
        self.end()

    @property
    def seconds(self) -> float:
        """Of sound given out."""
        mouth = self.stream.mouth
        return self._samples / mouth.codec.sample_rate_hz if mouth else 0.0

    @property
    def codes(self) -> list[int]:
        """What was spoken so far, in codes of the audio tokenizer."""
        return self._vocabulary.codes(list(self.stream.tokens))

    def end(self) -> None:
        self._lane.closed = True
        self._lane.notify()

    def cancel(self) -> None:
        """Stop; the conversation keeps what was given out."""
        super().cancel()
        if not self._is_concluded:
            self._conclude(self._heard(self.seconds))

    def interrupt(self, heard_s: float) -> None:
        """Stop, as somebody began to speak after so many seconds of sound were played: the rest was never said.

        The conversation keeps the question, the audio that was heard, and the text before it; also where the reply had
        ended already and only its sound went on.
        """
        super().cancel()
        self._conclude(self._heard(min(heard_s, self.seconds)))

    def next_chunk(self, wait: bool = True) -> ReplyChunk | None:
        chunk = super().next_chunk(wait)
        if chunk is None and not self._is_concluded:
            self._conclude(self._said())
        return chunk

    def _take(self, piece: Piece, waveform: Tensor) -> ReplyChunk:
        assert isinstance(piece, ReplyPiece)
        start_s = self.seconds
        self._samples += len(waveform)
        self._ids = piece.ids
        self.text += piece.text
        self.compute_s = time.perf_counter() - self._started
        if self.first_audio_ms is None and len(waveform):
            self.first_audio_ms = 1000 * self.compute_s
        return ReplyChunk(piece.text, waveform, start_s, self.seconds)

    @property
    def _is_over(self) -> bool:
        """Whether all was given out."""
        return self.stream.finish in ("end", "limit") and self._ids == len(self.stream.tokens)

    def _said(self) -> list[int]:
        ids = list(self.stream.tokens)
        return ids[:-1] if ids and ids[-1] in self._eos else ids

    def _heard(self, seconds: float) -> list[int]:
        """What was said in the first seconds of sound; of a reply without sound, what was given out."""
        mouth = self.stream.mouth
        given_out = self._said()[: self._ids]
        if mouth is None:
            return given_out
        codes = int(seconds / mouth.code_s + 0.5)  # one counts when more than half of it was heard
        if self._is_over and codes >= len(self.codes):
            return given_out
        return heard_ids(self._vocabulary, self._said(), codes)

    def _conclude(self, ids: Sequence[int]) -> None:
        self._is_concluded = True
        if self._exchange:
            self._exchange.conversation.conclude(self._vocabulary, self._exchange.question, ids)
