"""Generation with multi-token prediction (VITA-Audio, arXiv:2505.03739): many requests, each at its own place.

A schedule says which tokens the backbone makes and which the modules, one after the other. A module reads what its
cache has not seen: hidden states of the stage before, paired with the tokens that followed. The backbone later reads
what modules made in one pass. All requests that need the same stage share its pass, and all hidden states of a step
share the token head. A step gives every request one token; one that is verified gets several at a time, or none.

Verified (speculative decoding, Leviathan et al. 2023, arXiv:2211.17192): the backbone's pass over the proposals of the
modules gives its own choice after each of them; the first that differs replaces the proposal, and what was read beyond
is taken back. Choices follow from logits and the token's number alone, so what is said is what the backbone alone says.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from loquor.engine.alternation import AudioIds, TokenHead
from loquor.engine.interleaved_stream import BACKBONE, InterleavedStream, Row, Running, rows_of
from loquor.engine.sampling import choose, penalise
from loquor.errors import CapacityError, InputError
from loquor.models.vita.model import VitaModel
from loquor.nn.ragged import Feed

PIECE = 512  # positions a request reads in one pass: memory for attention stays small, and others do not wait long
AHEAD = 512  # positions a request has room for when it joins; caches grow with what is said


class InterleavedBatch:
    """Streams that share the passes of one model. Not thread-safe: one thread steps it."""

    def __init__(
        self, model: VitaModel, eos: Sequence[int] = (), audio: AudioIds | None = None, has_narrow_head: bool = True
    ) -> None:
        """`eos` are the ids that end a request; `audio` is needed for requests with a grammar. With a narrow head only
        those rows of it are computed that the grammar leaves open, to the same effect."""
        vocabulary = model.config.vocab_size
        if any(not 0 <= token < vocabulary for token in eos) or (audio and audio.first + audio.count > vocabulary):
            raise InputError(f"eos {list(eos)} and {audio} must lie in the vocabulary of {vocabulary} ids")
        self.model, self.eos, self.audio = model, tuple(eos), audio
        self.device = model.embedding.weight.device
        self.head = TokenHead(model.token_weights, self.eos, audio, has_narrow_head)
        self.caches = model.init_caches()
        self.clear()

    def clear(self) -> None:
        """Drop all streams, and what is left of those that have ended."""
        self.running: list[Running] = []
        self.ended: list[Running] = []  # their slots are free, and still hold what was read

    @property
    def streams(self) -> list[InterleavedStream]:
        return [running.stream for running in self.running]

    @property
    def can_speak(self) -> bool:
        """Whether a step would do anything."""
        return any(stream.cancelled or not stream.held for stream in self.streams)

    def is_ready(self, stream: InterleavedStream) -> bool:
        """Whether `stream` has something to say: always."""
        return True

    def join(self, stream: InterleavedStream) -> None:
        """Let `stream` take part from the next step on; a history that a free slot has read is not read again.

        CapacityError if its prompt fills the context, InputError if it is empty or has ids that are not in the
        vocabulary, or if the features do not fit their places or the grammar the batch.
        """
        self._require_sound(stream)
        read, context = len(stream.prompt), self.model.config.context
        room = context - read
        if room < 1:
            raise CapacityError(
                f"the prompt takes {read} of the context's {context} positions and leaves none for an answer",
                hint="give a shorter history, or shorter audio",
            )
        limit = min(room, stream.sampling.max_new_tokens or room)
        served = {old: old.serves(stream) for old in self.ended}
        best = max(served, key=lambda old: served[old], default=None)
        slot = best.slot if best else len(self.running)  # without one that has ended, all before are taken
        if best:
            self.ended.remove(best)
        self.caches.reserve(slot + 1, read + min(limit, AHEAD))
        self.running.append(Running(stream, slot, limit, self.model, served[best] if best else 0))

    def _require_sound(self, stream: InterleavedStream) -> None:
        prompt, vocabulary = stream.prompt, self.model.config.vocab_size
        if prompt.dim() != 1 or not len(prompt):
            raise InputError(f"a prompt is a row of ids, got shape {list(prompt.shape)}")
        outside = ((prompt < 0) | (prompt >= vocabulary)).nonzero()
        if len(outside):
            at = int(outside[0, 0])
            raise InputError(
                f"id {int(prompt[at])} at position {at} of the prompt is outside the vocabulary of {vocabulary} ids",
                hint="was it written for another model?",
            )
        places = 0 if stream.is_heard is None else int(stream.is_heard.sum())
        rows = 0 if stream.heard is None else len(stream.heard)
        if places != rows or (stream.is_heard is not None and stream.is_heard.shape != prompt.shape):
            raise InputError(f"the prompt has {places} places for features of audio, {rows} were given")
        if stream.grammar and stream.grammar.ids != self.audio:
            raise InputError(f"the grammar is about {stream.grammar.ids}, this batch about {self.audio}")

    @torch.no_grad()
    def step(self) -> list[tuple[InterleavedStream, list[int]]]:
        """One pass of what each stream is about to need; gives the tokens said. Streams that have ended are gone."""
        self._leave()
        stages: dict[int, list[Running]] = {}
        for running in self.running:
            if not running.stream.held:
                stages.setdefault(running.stage(self.eos), []).append(running)
        rows, hidden = list[Row](), list[Tensor]()
        for stage in sorted(stages):
            found = self._read(stages[stage]) if stage == BACKBONE else self._predict(stage, stages[stage])
            for running, states in found:
                rows += rows_of(running, stage)
                hidden.append(states)
        said = self._go_on(rows, self._choose(rows, torch.cat(hidden))) if rows else []
        self._leave()
        return said

    def _leave(self) -> None:
        """Drop the streams that ended or were cancelled; their slots are free, and serve those that begin alike."""
        for running in self.running:
            if running.stream.cancelled and not running.stream.finish:
                running.stream.finish = "cancelled"
        for running in self.running:
            if running.stream.finish:
                running.hidden, running.seen = [], None
                self.ended.append(running)
        self.running = [running for running in self.running if not running.stream.finish]

    def _read(self, group: list[Running]) -> list[tuple[Running, Tensor]]:
        """The backbone on what it has not read of each; gives those that have read all, with the states [M, H] after
        which tokens are chosen."""
        counts = {running: min(len(running.ids) - running.read[0], PIECE) for running in group}
        group = sorted(group, key=lambda running: counts[running])
        self.caches.reserve(0, max(running.read[0] + counts[running] for running in group))
        plan = self.model.plan([Feed(r.slot, r.read[0], counts[r]) for r in group])
        embedded = torch.cat([self._embed(r, r.read[0], counts[r]) for r in group])
        states = torch.split(self.model.read(embedded, plan, self.caches), [counts[r] for r in group])
        done = []
        for running, part in zip(group, states, strict=True):
            running.read[0] += len(part)
            if running.depth:
                running.hidden[0].append(part)
            if running.read[0] == len(running.ids):
                running.stream.main_passes += 1
                running.next_module = 0
                done.append((running, part[-1 - len(running.proposals) :]))
        return done

    def _embed(self, running: Running, start: int, count: int) -> Tensor:
        """What stands at `count` positions from `start` on, [count, H]: embeddings of ids, or features of audio."""
        ids = torch.tensor(running.ids[start : start + count], device=self.device)
        embedded: Tensor = self.model.embedding(ids)
        stream = running.stream
        if stream.is_heard is not None and stream.heard is not None and start < len(stream.is_heard):
            places = stream.is_heard[start : start + count].nonzero()[:, 0]
            first = int(stream.is_heard[:start].sum())
            embedded[places.to(self.device)] = stream.heard[first : first + len(places)].to(embedded)
        return embedded

    def _predict(self, module: int, group: list[Running]) -> list[tuple[Running, Tensor]]:
        """A module on what it has not read of each; gives all with the state [1, H] after which a token is chosen."""
        last: dict[Running, Tensor] = {}
        left = list(group)
        while left:  # more than once where a prompt is long
            for running, states in self._predict_piece(module, left):
                last[running] = states[-1:]
            left = [running for running in left if running.read[module + 1] < running.hidden[module].end]
        for running in group:
            running.stream.module_passes += 1
            running.next_module = module + 1
        return list(last.items())

    def _predict_piece(self, module: int, group: list[Running]) -> list[tuple[Running, Tensor]]:
        starts = {running: running.read[module + 1] for running in group}
        inputs = {running: running.hidden[module].rows(starts[running], PIECE) for running in group}
        group = sorted(group, key=lambda running: len(inputs[running]))
        self.caches.reserve(0, max(starts[running] + len(inputs[running]) for running in group))
        plan = self.model.plan([Feed(r.slot, starts[r], len(inputs[r])) for r in group])
        firsts = {running: starts[running] + module + 1 for running in group}
        ids = [token for r in group for token in r.ids[firsts[r] : firsts[r] + len(inputs[r])]]
        embedded = self.model.embedding(torch.tensor(ids, device=self.device))
        hidden = torch.cat([inputs[running] for running in group])
        states = self.model.predict_on(module, embedded, hidden, plan, self.caches)
        parts = torch.split(states, [len(inputs[running]) for running in group])
        for running, part in zip(group, parts, strict=True):
            running.read[module + 1] += len(part)
            running.hidden[module].forget(running.read[module + 1])
            if module + 1 < running.depth:
                running.hidden[module + 1].append(part)
        return list(zip(group, parts, strict=True))

    def _choose(self, rows: Sequence[Row], hidden: Tensor) -> list[int]:
        """The token of each row, from hidden states [R, H]."""
        allowed = [r.running.allowed(r.number, r.place, r.running.stream.sampling.min_new_tokens) for r in rows]
        layouts: dict[str, list[int]] = {}
        for i, row_allowed in enumerate(allowed):
            layouts.setdefault(self.head.layout(row_allowed), []).append(i)
        picks = [0] * len(rows)
        for layout, members in layouts.items():
            some = [rows[i] for i in members]
            states = hidden if len(members) == len(rows) else hidden[members]
            logits, columns = self.head.logits(layout, states, [allowed[i] for i in members])
            logits = self._penalised(logits, columns, some)
            found = choose(logits, [row.running.stream.sampling for row in some], [row.number for row in some])
            for i, pick in zip(members, (found if columns is None else columns[found]).tolist(), strict=True):
                picks[i] = pick
        return picks

    @staticmethod
    def _penalised(logits: Tensor, columns: Tensor | None, rows: Sequence[Row]) -> Tensor:
        """Logits less likely where a token was seen, in rows whose requests ask for it."""
        concerned = [i for i, row in enumerate(rows) if row.running.seen is not None]
        if not concerned:
            return logits
        seen = torch.stack([s for i in concerned if (s := rows[i].running.seen) is not None])
        for mine, i in zip(seen, concerned, strict=True):
            mine[list(rows[i].before)] = True
        seen = seen[:, : logits.shape[1]] if columns is None else seen[:, columns]
        penalties = [rows[i].running.stream.sampling.repetition_penalty for i in concerned]
        logits[concerned] = penalise(logits[concerned], seen, torch.tensor(penalties, device=logits.device))
        return logits

    def _go_on(self, rows: Sequence[Row], picks: Sequence[int]) -> list[tuple[InterleavedStream, list[int]]]:
        """Say, check or propose what was picked; gives what was said."""
        picked: dict[Running, list[int]] = {}
        for row, pick in zip(rows, picks, strict=True):
            picked.setdefault(row.running, []).append(pick)
        said = []
        for running, found in picked.items():
            if running.stream.is_verified and running.next_module > 0:  # a module's
                running.proposals += found
                running.ids += found
                continue
            tokens = running.check(found) if running.stream.is_verified else found
            said.append((running.stream, running.say(tokens, self.eos)))
        return said
