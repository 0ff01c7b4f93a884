"""Speaking an episode take by take: generate, examine, repeat what failed, keep, go on.

Each take is a generation of its own. Its prompt holds the voices of its scene, the words of the takes just before it
and its own; what those takes said is what it carries on from, so voices and pace go on while memory stays bounded. All
that shapes a take, its seed included, follows from the plan and from the takes before it: it does not matter how often
a production was interrupted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from loquor.engine.dialogue import DialogueSpeaker
from loquor.engine.longform import LongformBatch, LongformStream, voice_latents
from loquor.engine.podcast import health
from loquor.engine.podcast.health import Ears
from loquor.engine.podcast.journal import Facts, FinishedTake, Journal
from loquor.engine.podcast.plan import Plan, Take, carried
from loquor.engine.podcast.production import Production
from loquor.engine.request import LongformFrame
from loquor.errors import CapacityError
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.models.longform.prompt import Line, Prompt, SpecialIds, Spoken, write_prompt
from loquor.text.script import plain_quotes
from loquor.text.timing import joined

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a production is."""

    take: int  # in work, from 0
    takes: int
    attempt: int  # at this take, from 0
    seconds: float  # of speech that is finished, and of the take in work
    expected_s: float  # of speech in all, by what the finished takes have taught
    elapsed_s: float  # since this run began
    left_s: float | None  # None: too early to tell


class Producer:
    """A speaker at work on a production. CapacityError if a take cannot fit into its model's context."""

    def __init__(self, speaker: DialogueSpeaker, production: Production, ears: Ears | None = None) -> None:
        self.model, self.tokenizer, self.frame_s = speaker.model, speaker.tokenizer, speaker.frame_s
        self.plan, self.settings, self.ears = production.plan, production.settings, ears or Ears()
        self.batch = LongformBatch(self.model, SpecialIds.of(self.tokenizer))
        self.voices = {
            name: voice_latents(self.model, voice.waveform, self.settings.sampling.seed)
            for name, voice in production.voices.items()
        }
        for take in self.plan.takes:
            self._require_room(take)

    def run(self, journal: Journal, progress: Callable[[Progress], None] | None = None) -> list[Facts]:
        """Speaks the takes that `journal` lacks, and keeps each as soon as it is done. Gives the facts of all."""
        done: list[Facts] = []
        watch = Watch(self.plan, self.frame_s, progress)
        for take in self.plan.takes:
            facts = journal.facts(take.index)
            if facts is None:
                best = self._best(take, [one.frames * self.frame_s for one in done], journal, watch)
                journal.keep(best)
                facts = best.facts
            watch.finished(facts)
            done.append(facts)
        return done

    def _best(self, take: Take, durations_s: list[float], journal: Journal, watch: Watch) -> FinishedTake:
        """The first attempt at a take without a fault, or the least bad."""
        before = self._carried(take, durations_s)
        prompt, spoken = self._prompt(take, before), journal.spoken(before)
        best: FinishedTake | None = None
        for attempt in range(1 + self.settings.retakes):
            watch.begin(take, attempt)
            made = self._attempt(take, attempt, prompt, spoken, watch)
            if best is None or _score(made) < _score(best):
                best = made
            if _score(best) <= 1:
                break
            logger.info("take %d, attempt %d: %s", take.index + 1, attempt + 1, faults(made.facts))
        assert best is not None
        return dataclasses.replace(best, facts=dataclasses.replace(best.facts, attempts=attempt + 1))

    def _attempt(self, take: Take, attempt: int, prompt: Prompt, spoken: Spoken | None, watch: Watch) -> FinishedTake:
        seed = take_seed(self.settings.sampling.seed, take.index, attempt)
        limit = math.ceil(health.longest_s(take.estimated_s, self.settings.limits) / self.frame_s) + 1
        sampling = dataclasses.replace(self.settings.sampling, seed=seed, max_new_tokens=limit)
        voices = [self.voices[name] for name in self.plan.scenes[take.scene].speakers]
        stream = LongformStream(prompt, voices, sampling, spoken, max_length_times=limit)  # which alone counts
        frames: list[LongformFrame] = []
        self.batch.clear()
        self.batch.join(stream)
        while self.batch.can_speak:
            frames += [frame for _, frame in self.batch.step()]
            watch.said(len(frames))
        said = self._said(frames)
        waveform = torch.cat([frame.waveform for frame in frames]) if frames else torch.zeros(0)
        findings = self._examine(take, waveform, stream.finish or "end")
        facts = Facts(take.index, len(waveform), len(frames), seed, 1, stream.finish or "end", findings)
        return FinishedTake(facts, waveform, said)

    def _said(self, frames: list[LongformFrame]) -> Spoken:
        config = self.model.config
        if not frames:
            return Spoken(torch.zeros(0, config.latent_size), torch.zeros(0, config.semantic.vae_dim))
        latents, features = ([getattr(f, name).float().cpu() for f in frames] for name in ("latent", "features"))
        return Spoken(torch.stack(latents), torch.stack(features))

    def _examine(self, take: Take, waveform: Tensor, finish: str) -> tuple[health.Finding, ...]:
        judged = health.Take(waveform.numpy(), SAMPLE_RATE_HZ, take.text, take.speaker, take.estimated_s, finish)
        return health.examine(judged, self.settings.limits, self.ears)

    def _carried(self, take: Take, durations_s: list[float]) -> range:
        """The takes that `take` carries on from, fewer if the context has no room for all."""
        before = carried(self.plan, take.index, durations_s, self.settings.carry_s)
        while before and not self._fits(take, before, round(sum(durations_s[i] for i in before) / self.frame_s)):
            before = before[1:]
        return before

    def _prompt(self, take: Take, before: range) -> Prompt:
        """The prompt of a take; pieces of one turn are one line."""
        speakers = self.plan.scenes[take.scene].speakers
        turns: dict[int, list[Take]] = {}
        for index in (*before, take.index):
            turns.setdefault(self.plan.takes[index].turn, []).append(self.plan.takes[index])
        lines = [
            Line(speakers.index(pieces[0].speaker), plain_quotes(joined([piece.text for piece in pieces])))
            for pieces in turns.values()
        ]
        return write_prompt(self.tokenizer, lines, [len(self.voices[name]) for name in speakers])

    def _fits(self, take: Take, before: range, frames: int) -> bool:
        longest = math.ceil(health.longest_s(take.estimated_s, self.settings.limits) / self.frame_s)
        return len(self._prompt(take, before)) + frames + longest <= self.model.config.context

    def _require_room(self, take: Take) -> None:
        if not self._fits(take, range(0), 0):
            raise CapacityError(
                f"turn {take.turn + 1}, by {take.speaker}, does not fit into the model's context of"
                f" {self.model.config.context} positions beside the voices of its scene",
                hint="give shorter recordings of the voices",
            )


class Watch:
    """Tells how far a production is, and how long the rest will take."""

    def __init__(self, plan: Plan, frame_s: float, progress: Callable[[Progress], None] | None) -> None:
        self.plan, self.frame_s, self.progress = plan, frame_s, progress
        self.started = time.perf_counter()
        self.take, self.attempt = 0, 0
        self.current_s = 0.0  # of the attempt in work
        self.spoken_s = 0.0  # of the attempts before it, in this run
        self.done_s = self.done_estimated_s = 0.0  # of finished takes: what they have, and what was expected

    def begin(self, take: Take, attempt: int) -> None:
        self.take, self.attempt = take.index, attempt
        self.spoken_s += self.current_s
        self.current_s = 0.0

    def finished(self, facts: Facts) -> None:
        self.done_s += facts.frames * self.frame_s
        self.done_estimated_s += self.plan.takes[facts.index].estimated_s

    def said(self, frames: int) -> None:
        """The attempt in work has so many frames by now."""
        self.current_s = frames * self.frame_s
        if self.progress is None:
            return
        elapsed_s, spoken_s = time.perf_counter() - self.started, self.spoken_s + self.current_s
        pace = self.done_s / self.done_estimated_s if self.done_s else 1.0
        rest_s = pace * sum(take.estimated_s for take in self.plan.takes[self.take :])
        seconds = self.done_s + self.current_s
        expected_s = max(self.done_s + rest_s, seconds)
        left_s = elapsed_s / spoken_s * (expected_s - seconds) if spoken_s else None
        self.progress(Progress(self.take, len(self.plan.takes), self.attempt, seconds, expected_s, elapsed_s, left_s))


def take_seed(seed: int, index: int, attempt: int) -> int:
    """The seed of an attempt at a take, 0 to 2^63 - 1."""
    digest = hashlib.sha256(f"{seed} {index} {attempt}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def faults(facts: Facts) -> str:
    """What is wrong with a take, in words."""
    return "; ".join(f"{finding.kind}: {finding.detail}" for finding in facts.findings if finding.is_fault)


def _score(take: FinishedTake) -> float:
    return health.worst(take.facts.findings)
