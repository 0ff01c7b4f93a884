"""The grammar of interleaved speech: text, then audio between its marks, in turn, every mark balanced.

Where the grammar leaves only audio and marks, only their rows of the token head are computed: of 168 thousand rows
one in ten. That is exact under the grammar, and most of what a module pass costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor

from loquor.errors import ConfigError
from loquor.nn.linear import product


class Place(Enum):
    """Where in the grammar a stream stands."""

    TEXT = "text"
    BEGUN = "begun"  # a span of audio has begun and is empty
    AUDIO = "audio"


class Allowed(NamedTuple):
    """What the next token may be."""

    text: bool = False
    audio: bool = False
    begin: bool = False
    end: bool = False
    eos: bool = False


@dataclass(frozen=True)
class AudioIds:
    """Where audio stands in a vocabulary: its marks, and `count` ids from `first` on, above all text and marks."""

    begin: int
    end: int
    first: int
    count: int

    def __post_init__(self) -> None:
        if not (0 <= self.begin < self.first and 0 <= self.end < self.first and self.count > 0) or (
            self.begin == self.end
        ):
            raise ConfigError(f"audio ids must stand above two different marks, got {self}")

    def is_audio(self, token: int) -> bool:
        return self.first <= token < self.first + self.count


@dataclass(frozen=True)
class Alternation:
    """The grammar. `by_schedule`: where modules are to speak and text is being said, audio begins or all ends, as in
    the training data; otherwise text may go on there, which takes all its rows of the head to find out."""

    ids: AudioIds
    by_schedule: bool = True

    def after(self, place: Place, token: int) -> Place:
        """Where a stream stands after one more token."""
        if token == self.ids.begin:
            return Place.BEGUN
        if token == self.ids.end:
            return Place.TEXT
        return Place.AUDIO if place is Place.BEGUN and self.ids.is_audio(token) else place

    def walk(self, tokens: Iterable[int], place: Place = Place.TEXT) -> Place:
        """Where a stream stands after `tokens`."""
        for token in tokens:
            place = self.after(place, token)
        return place

    def allowed(self, place: Place, is_module: bool, left: int) -> Allowed:
        """What may come next, if `left` tokens may, this one included: a span that begins can also be ended."""
        if place is Place.TEXT:
            can_begin = left >= 3
            text = not (self.by_schedule and is_module and can_begin)
            return Allowed(text=text, begin=can_begin, eos=True)
        if left == 1:
            return Allowed(end=True)
        return Allowed(audio=True, end=place is Place.AUDIO)


EVERYTHING = Allowed(text=True, audio=True, begin=True, end=True, eos=True)  # without a grammar


class TokenHead:
    """Logits of hidden states under what each row is allowed; rows of weights that nothing needs are not read."""

    def __init__(self, weights: Tensor, eos: Sequence[int], audio: AudioIds | None, is_narrow: bool = True) -> None:
        """`weights` [V, H]; `eos`, ids that end; without `audio`, or if not narrow, everything is always computed."""
        self.weights, self.eos, self.is_narrow = weights, tuple(eos), is_narrow and audio is not None
        device = weights.device
        self.audio = audio
        self.mark_ids = list(dict.fromkeys([*((audio.begin, audio.end) if audio else ()), *eos]))
        self.marks = torch.tensor(self.mark_ids, device=device, dtype=torch.long)
        if audio:
            self.mark_weights = weights[self.marks]
            self.audio_weights = weights[audio.first : audio.first + audio.count]
            codes = torch.arange(audio.first, audio.first + audio.count, device=device)
            self.audio_columns = torch.cat([self.marks, codes])

    def layout(self, allowed: Allowed) -> str:
        """Which rows of weights a row needs: all, text (which the marks are part of), or audio."""
        if (allowed.text and allowed.audio) or not self.is_narrow:
            return "all"
        return "text" if allowed.text else "audio"

    def logits(self, layout: str, hidden: Tensor, allowed: Sequence[Allowed]) -> tuple[Tensor, Tensor | None]:
        """Hidden states [R, H] to float32 logits [R, C], -inf where not allowed, and the ids of the columns [C], if
        these are not 0, 1, 2, ..."""
        if layout == "audio":
            assert self.audio
            marks, codes = product(hidden, self.mark_weights), product(hidden, self.audio_weights)
            logits, columns = torch.cat([marks, codes], -1).float(), self.audio_columns
            places = torch.arange(len(self.marks), device=hidden.device)
        else:
            rows = self.weights[: self.audio.first] if layout == "text" and self.audio else self.weights
            logits, columns, places = product(hidden, rows).float(), None, self.marks
        if all(a == EVERYTHING for a in allowed):
            return logits, columns
        open_marks = torch.tensor([self._open_marks(a) for a in allowed], device=hidden.device)
        marks = logits[:, places].masked_fill(~open_marks, -torch.inf)
        for i, a in enumerate(allowed):
            for closed in self._closed(layout, a):
                logits[i, closed] = -torch.inf
        logits[:, places] = marks
        return logits, columns

    def _closed(self, layout: str, allowed: Allowed) -> Iterable[slice]:
        """Columns that may not come, marks aside."""
        if layout == "audio":
            return [] if allowed.audio else [slice(len(self.marks), None)]
        if layout == "text" or self.audio is None:
            return []
        first, end = self.audio.first, self.audio.first + self.audio.count
        text = [] if allowed.text else [slice(0, first), slice(end, None)]
        return text if allowed.audio else [*text, slice(first, None)]

    def _open_marks(self, allowed: Allowed) -> list[bool]:
        """Which of the marks may come."""
        special = {} if self.audio is None else {self.audio.begin: allowed.begin, self.audio.end: allowed.end}
        return [special.get(mark, True) and (mark not in self.eos or allowed.eos) for mark in self.mark_ids]
