"""From conversations on disk to rows to learn from: read, encoded, tokenized, packed.

One bad recording must not end a run of weeks, and a thousand must not pass unnoticed: what cannot be used is skipped
and counted by its reason, and beyond a stated share of them the run stops. Where a pass was interrupted, it goes on
with the same rows: its place is the number of the next conversation and of those in rows that are still open.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loquor.audio.io import read
from loquor.errors import CapacityError, CheckpointError, ConfigError, InputError, LoquorError
from loquor.models.vita.interleaving import BOOST, check_ratio
from loquor.models.vita.prompt import Codes, Features, Heard, Message
from loquor.models.vita.speech_features import SAMPLE_RATE_HZ, FrontEnd
from loquor.models.vita.vocabulary import Vocabulary
from loquor.training.vita.conversations import Conversation
from loquor.training.vita.mixture import Mixture
from loquor.training.vita.packing import PackedRow, Packer, Packing
from loquor.training.vita.tokens import Example, tokenize

logger = logging.getLogger(__name__)

ENOUGH_SEEN = 100  # conversations, before a share of them means anything
NAMED = 20  # skipped conversations that are logged one by one


@dataclass(frozen=True)
class Ears:
    """How recordings become what a model hears and says."""

    codes: Callable[[Path], Sequence[int]]  # such as a CodeStore
    features: Callable[[Path], Tensor] | None = None  # of what is heard, for models that hear features: [N, F]

    def hear(self, recording: Path, role: str) -> Heard:
        """A recording as it reaches the model; AudioError or InputError if it cannot."""
        if role == "assistant" or self.features is None:
            return Codes(tuple(self.codes(recording)))
        return Features(self.features(recording))

    def messages(self, conversation: Conversation) -> list[Message]:
        """The turns with their recordings heard."""
        return [
            Message(turn.role, tuple(p if isinstance(p, str) else self.hear(p, turn.role) for p in turn.parts))
            for turn in conversation.turns
        ]


@dataclass(frozen=True)
class FeedOptions:
    """How rows are made, and how much may be wrong with the data."""

    length: int  # positions of a row
    ratio: tuple[int, ...] = BOOST
    packing: Packing = "source"
    tolerated: float = 0.05  # share of conversations that may be skipped

    def __post_init__(self) -> None:
        check_ratio(self.ratio)


@dataclass
class Tally:
    """What became of the conversations."""

    seen: int = 0
    skipped: Counter[str] = field(default_factory=Counter)  # by the kind of error

    def share(self) -> float:
        return self.skipped.total() / max(self.seen, 1)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.skipped.most_common())
        return f"{self.skipped.total()} of {self.seen} conversations were skipped" + (f" ({kinds})" if kinds else "")


class Feed:
    """The rows of one pass through a mixture; of several processes, each takes its own part of it."""

    def __init__(
        self,
        mixture: Mixture,
        vocabulary: Vocabulary,
        ears: Ears,
        options: FeedOptions,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self.mixture, self.vocabulary, self.ears, self.options = mixture, vocabulary, ears, options
        self.part = part  # this process, of so many
        self.tally = Tally()
        self._start()

    def _start(self) -> None:
        self._packer = Packer(self.options.length, self.vocabulary.pad, self.options.packing)
        self._next = self.part[0]

    def place(self) -> dict[str, Any]:
        """Where the pass is, as JSON takes it; `resume` goes on from there."""
        rows = [[key, [number for number, _ in row.examples]] for key, row in self._packer.rows.items()]
        return {"next": self._next, "rows": rows, "seen": self.tally.seen, "skipped": dict(self.tally.skipped)}

    def resume(self, place: Mapping[str, Any]) -> None:
        """Go on from a place of the same mixture and options."""
        self._start()
        self._next = place["next"]
        self.tally = Tally(place["seen"], Counter(place["skipped"]))
        self._packer.restore({key: [(n, self.example(n)) for n in numbers] for key, numbers in place["rows"]})

    def example(self, number: int) -> Example:
        """A conversation of the mixture; LoquorError if it cannot be used."""
        return tokenize(self.vocabulary, self.ears.messages(self.mixture[number]), self.options.ratio)

    def __iter__(self) -> Iterator[PackedRow]:
        """The rows from the present place to the end of the pass; the next pass then starts over.

        InputError if too many conversations are skipped, or all.
        """
        while self._next < len(self.mixture):
            number = self._next
            self._next += self.part[1]
            row = self._take(number)
            if row is not None:
                yield row
        self._require_usable()
        yield from self._packer.flush()
        self._start()

    def _take(self, number: int) -> PackedRow | None:
        self.tally.seen += 1
        try:
            return self._packer.add(self.example(number), self.mixture.source(number), number)
        except (CheckpointError, ConfigError):
            raise  # about the tokenizer, not about the conversation
        except LoquorError as error:
            kind = "too long" if isinstance(error, CapacityError) else type(error).__name__
            self.tally.skipped[kind] += 1
            if self.tally.skipped.total() <= NAMED:
                logger.warning("skipped: %s", error)
        if self.tally.seen >= ENOUGH_SEEN:
            self._require_usable()
        return None

    def _require_usable(self) -> None:
        if self.tally.share() > self.options.tolerated or (self.tally.seen and self.tally.share() == 1):
            raise InputError(
                f"{self.tally}, more than the {self.options.tolerated:.0%} that may be",
                hint="mend the data the log names, or raise the share that is tolerated",
            )


def features_of(front_end: FrontEnd) -> Callable[[Path], Tensor]:
    """Recordings to features; AudioError if one cannot be read or is too short."""
    return lambda recording: front_end(torch.from_numpy(read(recording, SAMPLE_RATE_HZ)))
