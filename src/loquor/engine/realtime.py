"""Realtime generation: many streams, each of its own age and voice, in one batch.

Per stream the published order holds: a window of text is read, a window of frames is spoken, until the end classifier
fires or a limit is reached; positions, noise and windows are the stream's own, so what it says does not depend on who
shares the batch. A stream that lacks text for its next window waits; it never speaks ahead of a text still open.
Streams join and leave at frame boundaries. Sound may follow its latent by a few frames, as it is made in groups
(`loquor.engine.decoding`), perhaps beside the next steps, which hand out what has become ready; only first sounds are
waited for, before the model has heard them.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from loquor.backends.interface import RealtimeBackend
from loquor.diffusion.noise import Noise, SeededNoise
from loquor.engine.decoding import GROUP, DecodingStage
from loquor.engine.latents import LatentSampler
from loquor.engine.request import Outcome, RealtimeFrame, Sampling
from loquor.errors import CapacityError
from loquor.models.codec import StackState
from loquor.models.realtime.model import RealtimeState
from loquor.text.tokenizer import Token

T = TypeVar("T")
MOST_TO_COME = 2 * GROUP  # frames of a stream without their sound: some are decoded, as many gather
RUNAWAY_FACTOR, RUNAWAY_FRAMES = 2.5, 30  # frames allowed: so many times those of the text windows, and a few


@dataclass(eq=False)
class Stream:
    """One utterance being spoken. Text is fed while it runs; `frames` counts what it has said."""

    state: RealtimeState  # of the voice at first; not touched again once the stream has joined a batch
    sampling: Sampling
    noise: Noise | None = None  # None: from the seed
    first_frame: int = 0  # number of the first frame, for the noise
    pending: deque[Token] = field(default_factory=deque)
    text_closed: bool = False
    cancelled: bool = False
    held: bool = False
    finish: str | None = None
    frames: int = 0
    windows: int = 0  # text windows read
    text_start: int = 0  # characters before the utterance
    text_end: int = 0
    position: int = 0  # of the upper layers, as the limit counts
    limit: int = 0
    left: int = 0  # frames left in the speech window
    ending: str | None = None  # how its frames end, of which some may wait for their sound; then it has finished
    memory: StackState | None = None  # the decoder's; None: it has made no sound
    decoded: int = 0  # frames

    def feed(self, tokens: Sequence[Token]) -> None:
        self.pending.extend(tokens)

    def can_read(self, window: int) -> bool:
        """Whether the next window is decided: full, or the text is complete."""
        return self.text_closed or len(self.pending) >= window

    def next_ids(self, window: int) -> list[int]:
        """What `take` would give."""
        return [t.id for t in islice(self.pending, window)]

    def take(self, window: int) -> list[int]:
        tokens = [self.pending.popleft() for _ in range(min(window, len(self.pending)))]
        if tokens:
            self.windows += 1
            self.text_end = max(self.text_end, tokens[-1].end)
            self.position += len(tokens)
        return [t.id for t in tokens]


@dataclass(frozen=True, eq=False)
class Said:
    """A frame that lacks its sound."""

    stream: Stream
    latent: Tensor  # [D]
    outcome: Outcome
    frame: Callable[[Tensor], RealtimeFrame]  # of its waveform
    sound: Future[Tensor]
    is_first: bool


class RealtimeBatch:
    """Streams that share every pass of one model. Not thread-safe: one thread steps it."""

    def __init__(self, backend: RealtimeBackend) -> None:
        self.backend, self.config = backend, backend.config
        self.sampler = LatentSampler(self.config.head, backend.sampler)
        self.decoding = DecodingStage(backend)
        self.clear()

    def clear(self) -> None:
        """Drop all streams."""
        self.rows: list[Stream] = []  # of the state: streams whose frames have not ended
        self.state: RealtimeState | None = None
        self.said: list[Said] = []
        self.unheard: dict[Stream, Said] = {}  # the last frames of these are still to be fed back
        self.decoding.clear()

    @property
    def streams(self) -> list[Stream]:
        """All that have joined and not ended."""
        ending = {one.stream: None for one in self.said if one.stream.ending}  # each once, in order
        return [*self.rows, *ending]

    def prepare(self, sampling: Sampling) -> None:
        """Make what streams of this sampling will need, so that the first of them does not wait for it."""
        self.sampler.prepare(sampling)

    def join(self, stream: Stream) -> None:
        """Let `stream` take part from the next frame on; CapacityError if its voice fills the context."""
        context = self.config.speech.max_position_embeddings
        stream.position = int(stream.state.speech.length[0])
        room = context - stream.position
        if room < self.config.text_window + 1:
            raise CapacityError(f"the voice takes {stream.position} of the context's {context} positions")
        stream.limit = stream.position + min(room, stream.sampling.max_new_tokens or room)
        stream.noise = stream.noise or SeededNoise(stream.sampling.seed)
        self.state = RealtimeState.join([self.state, stream.state]) if self.state else stream.state.clone()
        self.rows.append(stream)

    @torch.no_grad()
    def step(self) -> list[tuple[Stream, RealtimeFrame]]:
        """A frame of every stream that can speak; streams that have ended are gone afterwards.

        What is handed out may be frames of earlier steps, several of a stream, or still to come.
        """
        self._leave()
        self._hear()
        self._read()
        rows = [i for i, s in enumerate(self.rows) if s.left and not s.held]
        speaking = {self.rows[i] for i in rows}
        if rows:
            self._on(rows, self._speak)
        if not any(one.is_first for one in self.unheard.values()):  # else somebody waits for the first sound
            self._hear()
        sounding = {one.stream for one in self.said if not one.stream.held}
        self.decoding.flush(stream for stream in sounding if stream.ending or stream not in speaking)
        return self._hand_out(has_spoken=bool(rows))

    @property
    def can_speak(self) -> bool:
        """Whether a step would do anything."""
        return bool(self.unheard) or any(s.cancelled or (self.is_ready(s) and not s.held) for s in self.streams)

    def is_ready(self, stream: Stream) -> bool:
        """Whether `stream` has something to say: a sound is to come, frames of its window are left, or it can read."""
        is_sounding = stream in self.unheard or any(one.stream is stream for one in self.said)
        return is_sounding or stream.left > 0 or stream.can_read(self.config.text_window)

    def _leave(self) -> None:
        """Drop the streams that were cancelled, and have those speak no more that ended."""
        for stream in self.streams:
            if stream.cancelled:
                stream.ending = stream.finish = "cancelled"
        self.said = [one for one in self.said if not one.stream.cancelled]
        self.unheard = {stream: one for stream, one in self.unheard.items() if not stream.cancelled}
        gone = [s for s in self.rows if s.ending]
        if gone:
            assert self.state is not None
            keep = [i for i, s in enumerate(self.rows) if not s.ending]
            self.state = self.state.select(self._tensor(keep)) if keep else None
            self.rows = [self.rows[i] for i in keep]
        self._finish(gone)

    def _finish(self, streams: Iterable[Stream]) -> None:
        """Those of `streams` that have ended and been heard are through."""
        sounding = {one.stream for one in self.said}
        for stream in streams:
            if stream not in sounding:
                stream.finish = stream.ending

    def _hand_out(self, has_spoken: bool) -> list[tuple[Stream, RealtimeFrame]]:
        """The frames whose sound is there, in order. Waited for are first ones, those of a stream that has too many
        to come, and, if nothing else was done, the next."""
        to_come = Counter(one.stream for one in self.said)
        handed, kept, waiting = list[tuple[Stream, RealtimeFrame]](), list[Said](), set[Stream]()
        for one in self.said:
            is_needed = one.is_first or to_come[one.stream] >= MOST_TO_COME or not (has_spoken or handed)
            is_known = one.is_first or self.unheard.get(one.stream) is not one  # how the stream goes on
            is_wanted = is_known and not one.stream.held and one.stream not in waiting
            if is_wanted and (is_needed or one.sound.done()):
                to_come[one.stream] -= 1
                handed.append((one.stream, one.frame(one.sound.result())))
            else:
                waiting.add(one.stream)  # what comes behind it has to wait as well
                kept.append(one)
        self.said = kept
        self._finish(stream for stream, _ in handed)
        return handed

    def _on(self, rows: list[int], work: Callable[[list[Stream], RealtimeState], T]) -> T:
        """`work` on some rows of the batch, in place when these are all."""
        assert self.state is not None
        with self.state.part(rows) as part:
            return work([self.rows[i] for i in rows], part)

    def _read(self) -> None:
        """Give each stream at a window's boundary its next text."""
        size = self.config.text_window
        rows, windows = [], []
        for i, stream in enumerate(self.rows):
            if stream.left or stream.held or not stream.can_read(size):
                continue
            ids = stream.take(size)
            if ids and stream.position > stream.limit:
                stream.ending = "limit"
                continue
            stream.left = self.config.speech_window
            if ids:
                rows.append(i)
                windows.append(ids)
        if rows:
            padded, lengths = self._padded(windows)
            self._on(rows, lambda _, state: self.backend.read(padded, state, lengths))
        self._leave()

    def _padded(self, windows: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Ids [B, T] of windows of perhaps unequal lengths [B]."""
        width = max(map(len, windows))
        padded = self._tensor([ids + [0] * (width - len(ids)) for ids in windows])
        return padded, self._tensor([len(ids) for ids in windows])

    def _tensor(self, numbers: list[int] | list[list[int]]) -> Tensor:
        assert self.state is not None
        return torch.tensor(numbers, device=self.state.condition.device)

    def _speak(self, streams: list[Stream], state: RealtimeState) -> None:
        conditions, negatives = state.condition.clone(), state.negative_condition.clone()
        latents = self.sampler(streams, conditions, negatives)
        sounds = self.decoding.submit(streams, latents)
        for i, stream in enumerate(streams):
            stream.position += 1
            stream.frames += 1
            stream.left -= 1
            outcome = Outcome()
            frame = partial(
                RealtimeFrame,
                latent=latents[i],
                condition=conditions[i],
                negative_condition=negatives[i],
                outcome=outcome,
                text_start=stream.text_start,
                text_end=stream.text_end,
            )
            said = Said(stream, latents[i], outcome, frame, sounds[i], is_first=stream.frames == 1)
            self.said.append(said)
            self.unheard[stream] = said

    def _hear(self) -> None:
        """Feed back what was said last."""
        if self.unheard:
            rows = [i for i, stream in enumerate(self.rows) if stream in self.unheard]
            self._on(rows, self._feed_back)
            self.unheard.clear()
            self._leave()

    def _feed_back(self, streams: list[Stream], state: RealtimeState) -> None:
        """In the same pass all read their next text, if they all come to it."""
        latents = torch.stack([self.unheard[stream].latent for stream in streams])
        texts = [self._text_behind(stream) for stream in streams]
        windows = self._padded(texts) if all(texts) else ()
        logits = self.backend.hear(latents, state, *windows).tolist()
        for stream, logit in zip(streams, logits, strict=True):
            outcome, is_fed_back = self.unheard[stream].outcome, stream.position <= stream.limit
            stream.ending = self._ending(stream, logit) if is_fed_back else "limit"
            outcome.end_logit, outcome.finish = logit if is_fed_back else None, stream.ending
            if windows and not stream.ending:
                stream.take(self.config.text_window)
                stream.left = self.config.speech_window

    def _text_behind(self, stream: Stream) -> list[int]:
        """The window that comes behind the last frame, if it is decided and the limit allows it."""
        size = self.config.text_window
        ids = stream.next_ids(size) if not stream.left and stream.can_read(size) else []
        return ids if stream.position + len(ids) <= stream.limit else []

    def _ending(self, stream: Stream, end_logit: float) -> str | None:
        if end_logit > 0:  # sigmoid above 0.5
            return "end"
        allowed = RUNAWAY_FACTOR * self.config.speech_window * stream.windows + RUNAWAY_FRAMES
        over = stream.sampling.max_new_tokens is None and stream.text_closed and stream.frames >= allowed
        return "runaway" if over else None
