"""A request for interleaved text and audio, and what is known of it while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from loquor.engine.alternation import EVERYTHING, Allowed, Alternation, Place
from loquor.engine.hidden_rows import HiddenRows
from loquor.engine.sampling import TokenSampling
from loquor.models.vita.model import VitaModel
from loquor.models.vita.schedule import BOOST, Schedule

BACKBONE = -1  # the stage before module 0


@dataclass(eq=False)
class InterleavedStream:
    """A request: what it starts from and how it goes on, then what has come of it."""

    prompt: Tensor  # [T] int64, on the CPU
    schedule: Schedule = BOOST
    sampling: TokenSampling = field(default_factory=TokenSampling)
    grammar: Alternation | None = None  # constrained: text and balanced audio in turn
    is_verified: bool = False  # as the backbone alone would say it
    is_heard: Tensor | None = None  # [T] bool, positions of the prompt that are features of audio
    heard: Tensor | None = None  # [N, H], what stands there instead of embeddings of ids
    cancelled: bool = False
    held: bool = False
    finish: str | None = None  # end, limit or cancelled
    tokens: list[int] = field(default_factory=list)
    main_passes: int = 0  # of the backbone, that gave tokens
    module_passes: int = 0
    proposed: int = 0  # tokens that modules made for the backbone to check
    accepted: int = 0  # of these

    @property
    def accepted_share(self) -> float:
        """Of the checked proposals, how many were the backbone's own choice; 0 without any."""
        return self.accepted / max(1, self.proposed)

    @property
    def tokens_per_main_pass(self) -> float:
        return len(self.tokens) / max(1, self.main_passes)


class Running:
    """A stream in its slot: how far each stage has read, and hidden states that modules have still to read."""

    def __init__(self, stream: InterleavedStream, slot: int, limit: int, model: VitaModel, read: int = 0) -> None:
        """`read`: so many rows of all the stages it uses are in its slot already."""
        self.stream, self.slot, self.limit = stream, slot, limit
        self.modules = model.config.modules
        self.ids: list[int] = stream.prompt.tolist()  # then tokens, then proposals
        self.proposals: list[int] = []
        self.read = [read] * (1 + self.modules)  # rows in the caches of backbone and modules
        keep = self.modules if stream.is_verified else 0
        self.hidden = [HiddenRows(keep, read) for _ in range(self.modules)]
        self.next_module = self.modules  # none: the first token is the backbone's
        self.place = stream.grammar.walk(self.ids) if stream.grammar else Place.TEXT
        self.seen: Tensor | None = None  # [V] bool, for the repetition penalty
        if stream.sampling.repetition_penalty != 1:
            self.seen = torch.zeros(model.config.vocab_size, dtype=torch.bool, device=model.embedding.weight.device)
            self.see(self.ids)

    @property
    def number(self) -> int:
        """Of the next token, the first being 0."""
        return len(self.stream.tokens) + len(self.proposals)

    def stage(self, eos: Sequence[int]) -> int:
        """What makes the next token: a module or BACKBONE."""
        if self.next_module >= self.modules or not self.stream.schedule.is_module(self.number):
            return BACKBONE
        ends = bool(self.proposals) and self.proposals[-1] in eos
        return BACKBONE if ends else self.next_module

    @property
    def depth(self) -> int:
        """Modules that the schedule still uses: for others nothing is kept."""
        return min(self.modules, self.stream.schedule.modules_from(len(self.stream.tokens)))

    def serves(self, other: InterleavedStream) -> int:
        """Rows of this slot, of every stage that `other` uses, which a request that begins alike need not read again:
        its last id is to be read in any case, and module k stands k + 1 ids ahead of its row."""
        alike = min(_alike(self.stream, self.ids, other), len(other.prompt) - 1)
        depth = min(self.modules, other.schedule.modules_from(0))
        return max(0, min(alike - depth, *self.read[: depth + 1]))

    def allowed(self, number: int, place: Place, eos_from: int) -> Allowed:
        """What the token of that number may be."""
        grammar = self.stream.grammar
        found = EVERYTHING
        if grammar:
            found = grammar.allowed(place, self.stream.schedule.is_module(number), self.limit - number)
        return found if number >= eos_from else found._replace(eos=False)

    def see(self, tokens: Sequence[int]) -> None:
        if self.seen is not None:
            self.seen[torch.tensor(tokens, device=self.seen.device)] = True

    def say(self, tokens: Sequence[int], eos: Sequence[int]) -> list[int]:
        """Take tokens for good, up to one that ends the request; gives those taken."""
        said: list[int] = []
        for token in tokens:
            said.append(token)
            if token in eos:
                self.stream.finish = "end"
            elif len(self.stream.tokens) + len(said) >= self.limit:
                self.stream.finish = "limit"
            if self.stream.finish:
                break
        self.stream.tokens += said
        self.ids += said
        self.see(said)
        if self.stream.grammar:
            self.place = self.stream.grammar.walk(said, self.place)
        return said

    def check(self, picks: Sequence[int]) -> list[int]:
        """Compare proposals with the backbone's picks, one more than they are; gives the tokens that are said."""
        stream, asked = self.stream, len(self.proposals)
        right = next((i for i, (a, b) in enumerate(zip(self.proposals, picks, strict=False)) if a != b), asked)
        stream.proposed += asked
        stream.accepted += right
        if asked:
            del self.ids[-asked:]
        self.rewind(len(self.ids) + right)
        self.proposals = []
        return list(picks[: right + 1])

    def rewind(self, ids: int) -> None:
        """Forget what any stage has read beyond the first `ids` ids."""
        self.read[0] = min(self.read[0], ids)
        for module in range(self.modules):
            self.read[module + 1] = min(self.read[module + 1], max(0, ids - module - 1))
            self.hidden[module].cut(max(0, ids - module))


@dataclass(frozen=True)
class Row:
    """A hidden state after which a token is chosen."""

    running: Running
    number: int  # of the token
    place: Place
    before: tuple[int, ...]  # proposals before it


def rows_of(running: Running, stage: int) -> list[Row]:
    """The rows of one stream's states in a step: after the backbone one for each proposal, and one more."""
    stream, grammar, proposals = running.stream, running.stream.grammar, tuple(running.proposals)
    firsts = range(len(proposals) + 1) if stage == BACKBONE else [len(proposals)]

    def place(count: int) -> Place:
        return grammar.walk(proposals[:count], running.place) if grammar else Place.TEXT

    return [Row(running, len(stream.tokens) + i, place(i), proposals[:i]) for i in firsts]


def _alike(old: InterleavedStream, ids: Sequence[int], new: InterleavedStream) -> int:
    """At how many positions the ids of a stream, prompt and answer, and a new prompt are alike from the start."""
    same = min(len(ids), len(new.prompt))
    differs = torch.tensor(ids[:same]) != new.prompt[:same]
    one, other = _heard_among(old, same), _heard_among(new, same)
    is_known = old.heard is None or (new.heard is not None and torch.equal(old.heard, new.heard[: len(old.heard)]))
    differs |= (one != other) if is_known else (one | other)
    return int(differs.nonzero()[0, 0]) if differs.any() else same


def _heard_among(stream: InterleavedStream, count: int) -> Tensor:
    """Which of the first `count` positions of a stream are features of its prompt."""
    places = torch.zeros(count, dtype=torch.bool)
    if stream.is_heard is not None:
        known = stream.is_heard[:count]
        places[: len(known)] = known
    return places
