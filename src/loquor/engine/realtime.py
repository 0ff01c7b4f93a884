"""Realtime generation: many streams, each of its own age and voice, in one batch.

Per stream the published order holds: a window of text is read, a window of frames is spoken, until the end classifier
fires or a limit is reached; positions, noise and windows are the stream's own, so what it says does not depend on who
shares the batch. A stream that lacks text for its next window waits; it never speaks ahead of a text still open.
Streams join and leave at frame boundaries.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from loquor.diffusion.noise import Noise, SeededNoise
from loquor.engine.latents import LatentSampler
from loquor.engine.request import RealtimeFrame, Sampling
from loquor.errors import CapacityError
from loquor.models.realtime.model import RealtimeModel, RealtimeState
from loquor.text.tokenizer import Token

T = TypeVar("T")
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
    text_end: int = 0
    position: int = 0  # of the upper layers, as the limit counts
    limit: int = 0
    left: int = 0  # frames left in the speech window

    def feed(self, tokens: Sequence[Token]) -> None:
        self.pending.extend(tokens)

    def can_read(self, window: int) -> bool:
        """Whether the next window is decided: full, or the text is complete."""
        return self.text_closed or len(self.pending) >= window

    def take(self, window: int) -> list[int]:
        tokens = [self.pending.popleft() for _ in range(min(window, len(self.pending)))]
        if tokens:
            self.windows += 1
            self.text_end = max(self.text_end, tokens[-1].end)
            self.position += len(tokens)
        return [t.id for t in tokens]


class RealtimeBatch:
    """Streams that share every pass of one model. Not thread-safe: one thread steps it."""

    def __init__(self, model: RealtimeModel) -> None:
        self.model = model
        self.device = model.types.weight.device
        self.clear()
        self.sampler = LatentSampler(model.head)

    def clear(self) -> None:
        """Drop all streams."""
        self.streams: list[Stream] = []
        self.state: RealtimeState | None = None

    def join(self, stream: Stream) -> None:
        """Let `stream` take part from the next frame on; CapacityError if its voice fills the context."""
        context = self.model.config.speech.max_position_embeddings
        stream.position = int(stream.state.speech.length[0])
        room = context - stream.position
        if room < self.model.config.text_window + 1:
            raise CapacityError(f"the voice takes {stream.position} of the context's {context} positions")
        stream.limit = stream.position + min(room, stream.sampling.max_new_tokens or room)
        stream.noise = stream.noise or SeededNoise(stream.sampling.seed)
        self.state = RealtimeState.join([self.state, stream.state]) if self.state else stream.state.clone()
        self.streams.append(stream)

    @torch.no_grad()
    def step(self) -> list[tuple[Stream, RealtimeFrame]]:
        """One frame of every stream that can speak; streams that have ended are gone afterwards."""
        self._leave()
        self._read()
        self._leave()
        rows = [i for i, s in enumerate(self.streams) if s.left and not s.held]
        spoken = self._on(rows, self._speak) if rows else []
        self._leave()
        return spoken

    @property
    def can_speak(self) -> bool:
        """Whether a step would do anything."""
        return any(s.cancelled or (self.is_ready(s) and not s.held) for s in self.streams)

    def is_ready(self, stream: Stream) -> bool:
        """Whether `stream` has something to say: frames of its window are left, or it can read the next."""
        return stream.left > 0 or stream.can_read(self.model.config.text_window)

    def _leave(self) -> None:
        """Drop the streams that ended or were cancelled."""
        for stream in self.streams:
            if stream.cancelled and not stream.finish:
                stream.finish = "cancelled"
        keep = [i for i, s in enumerate(self.streams) if not s.finish]
        if len(keep) < len(self.streams):
            assert self.state is not None
            self.state = self.state.select(self._tensor(keep)) if keep else None
            self.streams = [self.streams[i] for i in keep]

    def _on(self, rows: list[int], work: Callable[[list[Stream], RealtimeState], T]) -> T:
        """`work` on some rows of the batch, in place when these are all."""
        assert self.state is not None
        with self.state.part(rows) as part:
            return work([self.streams[i] for i in rows], part)

    def _read(self) -> None:
        """Give each stream at a window's boundary its next text."""
        size = self.model.config.text_window
        rows, windows = [], []
        for i, stream in enumerate(self.streams):
            if stream.left or stream.held or not stream.can_read(size):
                continue
            ids = stream.take(size)
            if ids and stream.position > stream.limit:
                stream.finish = "limit"
                continue
            stream.left = self.model.config.speech_window
            if ids:
                rows.append(i)
                windows.append(ids)
        if rows:
            width = max(map(len, windows))
            padded = self._tensor([ids + [0] * (width - len(ids)) for ids in windows])
            lengths = self._tensor([len(ids) for ids in windows])
            self._on(rows, lambda _, state: self.model.read(padded, state, lengths))

    def _tensor(self, numbers: list[int] | list[list[int]]) -> Tensor:
        return torch.tensor(numbers, device=self.device)

    def _speak(self, streams: list[Stream], state: RealtimeState) -> list[tuple[Stream, RealtimeFrame]]:
        conditions, negatives = state.condition.clone(), state.negative_condition.clone()
        latents = self.sampler(streams, conditions, negatives)
        waveforms = self.model.decode(latents, state).float().cpu()
        logits = self.model.hear(latents, state).tolist()
        spoken = []
        for i, stream in enumerate(streams):
            stream.position += 1
            stream.frames += 1
            stream.left -= 1
            fed_back = stream.position <= stream.limit
            stream.finish = self._finish(stream, logits[i]) if fed_back else "limit"
            frame = RealtimeFrame(
                waveform=waveforms[i],
                latent=latents[i],
                condition=conditions[i],
                negative_condition=negatives[i],
                end_logit=logits[i] if fed_back else None,
                text_end=stream.text_end,
                finish=stream.finish,
            )
            spoken.append((stream, frame))
        return spoken

    def _finish(self, stream: Stream, end_logit: float) -> str | None:
        if end_logit > 0:  # sigmoid above 0.5
            return "end"
        allowed = RUNAWAY_FACTOR * self.model.config.speech_window * stream.windows + RUNAWAY_FRAMES
        over = stream.sampling.max_new_tokens is None and stream.text_closed and stream.frames >= allowed
        return "runaway" if over else None
