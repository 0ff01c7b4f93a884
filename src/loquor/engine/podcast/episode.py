"""The files of a finished episode: its sound, and whatever else was asked for, each whole or not there.

The sound is streamed from the journal, take by take: an episode of any length needs the memory of one take.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from loquor.audio.chapters import Chapter, Tags, can_hold_chapters, write_chapters, write_tags
from loquor.audio.filters import pyav
from loquor.audio.master import Loudness, Target, treatment
from loquor.audio.provenance import Provenance
from loquor.audio.resample import Waveform
from loquor.audio.sink import open_sink, require_writable
from loquor.audio.watermark import Marker
from loquor.checkpoints import write_text
from loquor.engine.dialogue import DialogueSpeaker
from loquor.engine.podcast.assembly import Timeline, sound, timeline
from loquor.engine.podcast.health import Ears
from loquor.engine.podcast.identity import identity_of
from loquor.engine.podcast.journal import Facts, Journal
from loquor.engine.podcast.plan import Plan
from loquor.engine.podcast.produce import Producer, Progress, faults
from loquor.engine.podcast.production import Production
from loquor.errors import InputError
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.text.subtitles import write_subtitles

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outputs:
    """Which files are wanted; all stand beside `sound`, with its name, but for the report."""

    sound: Path
    stems: bool = False  # a file for each speaker, as long as the episode
    subtitles: tuple[str, ...] = ()  # suffixes: .srt, .vtt, .json
    chapters: bool = False
    loudness: Target | None = None
    report: Path | None = None
    tags: Tags = field(default_factory=Tags)
    keep_takes: bool = False  # else they go once all files are there
    watermark: bool = True  # in the sound and the stems

    @property
    def takes(self) -> Path:
        """The folder of the finished takes."""
        return self.beside(f"{self.sound.suffix}.takes")

    def require_possible(self) -> None:
        """AudioError, InputError or MissingExtra for what would fail in the end, before all the work."""
        require_writable(self.sound, SAMPLE_RATE_HZ)
        if self.chapters or self.loudness:
            pyav()
        if self.report is not None and (self.report.is_dir() or not self.report.parent.is_dir()):
            raise InputError(f"the report cannot be written to {self.report}", hint="name a file in a folder there is")

    def stem_files(self, speakers: Sequence[str]) -> dict[str, Path]:
        """Where what each speaker says goes; names that would be one file's are numbered."""
        names = [re.sub(r"[^\w-]+", "_", speaker).strip("_") for speaker in speakers]
        files = {}
        for i, (speaker, name) in enumerate(zip(speakers, names, strict=True), 1):
            is_unique = name and [other.casefold() for other in names].count(name.casefold()) == 1
            files[speaker] = self.beside(f".{name if is_unique else f'{name}-{i}'}{self.sound.suffix}")
        return files

    def beside(self, ending: str) -> Path:
        """A file named like the episode but for its ending."""
        return self.sound.with_name(self.sound.stem + ending)


@dataclass(frozen=True)
class Episode:
    """What was made."""

    files: tuple[Path, ...]  # the sound first
    when: Timeline
    facts: tuple[Facts, ...]
    loudness: Loudness | None  # None: not mastered

    @property
    def faulty(self) -> int:
        """Takes that still have a fault."""
        return sum(bool(faults(facts)) for facts in self.facts)

    def as_dict(self) -> dict[str, Any]:
        """The report, as JSON takes it."""
        takes = [
            {
                "index": take.index,
                "turn": take.turn,
                "piece": take.piece,
                "speaker": take.speaker,
                "text": take.text,
                "start_s": round(self.when.times_s(take.index)[0], 3),
                "end_s": round(self.when.times_s(take.index)[1], 3),
                "seed": facts.seed,
                "attempts": facts.attempts,
                "finish": facts.finish,
                "is_sound": not faults(facts),
                "findings": [asdict(finding) | {"score": round(finding.score, 3)} for finding in facts.findings],
            }
            for take, facts in zip(self.when.takes, self.facts, strict=True)
        ]
        return {
            "files": [str(path) for path in self.files],
            "seconds": round(self.when.seconds, 3),
            "loudness": self.loudness and asdict(self.loudness),
            "faulty_takes": self.faulty,
            "takes": takes,
        }


def produce_episode(
    speaker: DialogueSpeaker,
    production: Production,
    outputs: Outputs,
    ears: Ears | None = None,
    progress: Callable[[Progress], None] | None = None,
    restart: bool = False,
) -> Episode:
    """Speaks what no earlier run has finished, and writes the episode; `restart` throws away what an earlier one has.

    What can be wrong is raised before the work: what `Outputs.require_possible`, `Producer` and `Journal.open` raise.
    Whenever it is interrupted, the same call goes on and comes to the same bytes.
    """
    outputs.require_possible()
    producer = Producer(speaker, production, ears)
    identity = identity_of(production, speaker.model, ears or Ears())
    journal = Journal.open(outputs.takes, identity, restart)
    outputs = replace(outputs, tags=replace(outputs.tags, comment=_comment(speaker, production, journal)))
    episode = write_episode(outputs, production.plan, producer.run(journal, progress), journal)
    if not outputs.keep_takes:
        journal.remove()
    return episode


def write_episode(outputs: Outputs, plan: Plan, facts: Sequence[Facts], journal: Journal) -> Episode:
    """Every file that is wanted, made of the finished takes in `journal`."""
    when = timeline(plan.takes, [one.samples for one in facts], SAMPLE_RATE_HZ)
    loudness = _write_sound(outputs, when, journal)
    files = [outputs.sound]
    if outputs.stems:
        for speaker, file in outputs.stem_files(list(dict.fromkeys(take.speaker for take in plan.takes))).items():
            _write(file, _blocks(outputs, when, journal, speaker), outputs.tags.comment)
            files.append(file)
    for suffix in outputs.subtitles:
        files.append(outputs.beside(".transcript.json" if suffix == ".json" else suffix))
        write_subtitles(files[-1], when.cues())
    if outputs.chapters:
        files.append(outputs.beside(".chapters.json"))
        write_chapters(files[-1], when.chapters())
    episode = Episode((*files, *filter(None, [outputs.report])), when, tuple(facts), loudness)
    if outputs.report:
        write_text(outputs.report, json.dumps(episode.as_dict(), ensure_ascii=False, indent=1))
    return episode


def _write_sound(outputs: Outputs, when: Timeline, journal: Journal) -> Loudness | None:
    """The mix, mastered and tagged; gives its loudness if it was mastered."""
    blocks, loudness = _blocks(outputs, when, journal), None
    if outputs.loudness:
        chosen = treatment(lambda: _blocks(outputs, when, journal), SAMPLE_RATE_HZ, outputs.loudness)
        blocks, loudness = chosen.apply(blocks, SAMPLE_RATE_HZ), chosen.loudness
    _write(outputs.sound, blocks, outputs.tags.comment)
    if importlib.util.find_spec("av"):
        write_tags(outputs.sound, outputs.tags, _marked(outputs, when))
    return loudness


def _marked(outputs: Outputs, when: Timeline) -> list[Chapter]:
    """The chapters that belong into the file of the episode."""
    if not outputs.chapters:
        return []
    if not when.chapters():
        logger.warning("the script marks no chapters: [chapter: Title] on a line of its own does")
    elif not can_hold_chapters(outputs.sound):
        logger.warning("a %s file has no place for chapters: they are only in the JSON", outputs.sound.suffix)
        return []
    return when.chapters()


def _comment(speaker: DialogueSpeaker, production: Production, journal: Journal) -> str:
    """What the files say of themselves; the date is that of the first run, so that a later one gives the same bytes."""
    return Provenance(speaker.name, ", ".join(voice.name for voice in production.voices.values()), journal.date).comment


def _write(path: Path, blocks: Iterator[Waveform], comment: str) -> None:
    with open_sink(path, SAMPLE_RATE_HZ, comment=comment) as sink:
        for block in blocks:
            sink.write(block)


def _blocks(outputs: Outputs, when: Timeline, journal: Journal, speaker: str | None = None) -> Iterator[Waveform]:
    """The sound before it is mastered; marked before, as the mark moves peaks. Marked stems add up to a marked mix."""
    blocks = sound(when, lambda index: journal.waveform(index).numpy(), speaker)
    return map(Marker(SAMPLE_RATE_HZ).mark, blocks) if outputs.watermark else blocks
