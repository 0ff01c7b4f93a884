"""An episode as takes and scenes, before a word of it is spoken.

A take is a turn, or a piece of a long one: what is generated in one go, kept on disk, and repeated alone if it fails.
A scene is a stretch of takes with at most as many speakers as the model was trained to tell apart. Each take carries on
from the speech just before it; what that is follows from the plan and from how long the takes became.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sentencex import segment

from loquor.text.script import Script, Turn
from loquor.text.timing import estimated_s, word_count

SCENE_SPEAKERS = 4  # voices of a prompt (VibeVoice, arXiv:2508.19205)
LONGEST_TAKE_S = 45.0  # estimated
CARRIED_S = 60.0  # more than the longest take, so that the take just before always fits
CLAUSE = re.compile(r".+?(?:[,;:–—]\s+|[，、；：]|\Z)", re.DOTALL)
SPACED = re.compile(r"\s*\S+\s*|\s+")
SEGMENTED = 20_000  # characters; nested quotes take the segmenter time that grows with the square
ZERO_WIDTH_JOINER = "\u200d"


@dataclass(frozen=True)
class Take:
    """What is spoken in one go."""

    index: int
    turn: int  # index in the script
    piece: int  # of the turn, 0 for the first
    speaker: str
    text: str
    pause_before_s: float
    chapter: str | None  # title of the chapter that begins here
    estimated_s: float
    scene: int


@dataclass(frozen=True)
class Scene:
    """Takes `start` to `stop` (exclusive) and who speaks in them, in order of first appearance."""

    speakers: tuple[str, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Plan:
    """All takes of an episode, in order; scenes cover them without a gap."""

    takes: tuple[Take, ...]
    scenes: tuple[Scene, ...]


def plan(script: Script, longest_take_s: float = LONGEST_TAKE_S) -> Plan:
    """Takes of at most `longest_take_s` estimated seconds, and scenes that each last until a fifth speaker comes."""
    takes: list[Take] = []
    scenes: list[Scene] = []
    cast: list[str] = []
    start = 0
    for number, turn in enumerate(script.turns):
        if turn.speaker not in cast:
            if len(cast) == SCENE_SPEAKERS:
                scenes.append(Scene(tuple(cast), start, len(takes)))
                cast, start = [], len(takes)
            cast.append(turn.speaker)
        takes += _takes(turn, number, len(takes), len(scenes), longest_take_s)
    return Plan(tuple(takes), (*scenes, Scene(tuple(cast), start, len(takes))))


def carried(planned: Plan, index: int, durations_s: Sequence[float], budget_s: float = CARRIED_S) -> range:
    """The takes that take `index` carries on from: those just before it whose speakers are in its scene's cast.

    As many as together last at most `budget_s`; `durations_s` are the takes' own, at least of those before `index`.
    """
    cast = planned.scenes[planned.takes[index].scene].speakers
    first, left_s = index, budget_s
    while first > 0 and planned.takes[first - 1].speaker in cast and durations_s[first - 1] <= left_s:
        first -= 1
        left_s -= durations_s[first]
    return range(first, index)


def _takes(turn: Turn, number: int, index: int, scene: int, longest_s: float) -> Iterator[Take]:
    for piece, text in enumerate(pieces(turn.text, longest_s)):
        is_first = piece == 0
        yield Take(
            index=index + piece,
            turn=number,
            piece=piece,
            speaker=turn.speaker,
            text=text,
            pause_before_s=turn.pause_before_s if is_first else 0.0,
            chapter=turn.chapter if is_first else None,
            estimated_s=estimated_s(text),
            scene=scene,
        )


def pieces(text: str, longest_s: float) -> list[str]:
    """The text cut into the fewest pieces of at most `longest_s`, as even as possible, without space at their ends.

    Cuts are between sentences; a sentence that is too long is cut after commas, then between words, then anywhere.
    """
    if estimated_s(text) <= longest_s:
        return [text]
    units = list(_units(text, longest_s, [_sentences, CLAUSE.findall, SPACED.findall, _characters]))
    costs = [estimated_s(unit) for unit in units]
    count, low, high = len(_ends(costs, longest_s)), 0.0, longest_s
    for _ in range(16):  # the lowest limit that needs no more pieces; 45 s / 2^16 is exact enough
        middle = (low + high) / 2
        low, high = (low, middle) if len(_ends(costs, middle)) == count else (middle, high)
    found, start = [], 0
    for end in _ends(costs, high):
        found.append("".join(units[start:end]).strip())
        start = end
    return [piece for piece in found if piece]


Cut = Callable[[str], Iterable[str]]


def _units(text: str, longest_s: float, cuts: Sequence[Cut]) -> Iterator[str]:
    """Parts of at most `longest_s` that make up the text, cut by the first cut and, where that is not enough, the
    next."""
    for part in cuts[0](text):
        if estimated_s(part) <= longest_s or not cuts[1:]:
            yield part
        else:
            yield from _units(part, longest_s, cuts[1:])


def _sentences(text: str) -> Iterator[str]:
    for start in range(0, len(text), SEGMENTED):
        yield from segment("en", text[start : start + SEGMENTED])  # its rules hold for most languages


def _characters(text: str) -> list[str]:
    """Characters with the marks that belong to them."""
    found: list[str] = []
    for character in text:
        is_mark = unicodedata.category(character).startswith("M") or character == ZERO_WIDTH_JOINER
        if found and (is_mark or found[-1].endswith(ZERO_WIDTH_JOINER)):
            found[-1] += character
        else:
            found.append(character)
    return found


def _ends(costs: Sequence[float], limit: float) -> list[int]:
    """Where groups end if each takes as many of the next parts as fit, and one at least."""
    ends: list[int] = []
    filled = 0.0
    for index, cost in enumerate(costs):
        if index and filled + cost > limit:
            ends.append(index)
            filled = 0.0
        filled += cost
    return [*ends, len(costs)]


@dataclass(frozen=True)
class SpeakerSummary:
    """One speaker's part; `voice` is what the cast gives, None if it gives nothing."""

    name: str
    turns: int
    words: int
    estimated_s: float
    voice: str | None


@dataclass(frozen=True)
class ChapterSummary:
    """A chapter and when, by the estimate, it begins."""

    title: str
    start_s: float


@dataclass(frozen=True)
class Summary:
    """What a script will become; `estimated_s` is all of it, pauses included."""

    title: str | None
    speakers: tuple[SpeakerSummary, ...]
    chapters: tuple[ChapterSummary, ...]
    scenes: tuple[tuple[str, ...], ...]  # who speaks in each
    turns: int
    takes: int
    words: int
    pauses_s: float
    estimated_s: float

    def as_dict(self) -> dict[str, Any]:
        """The summary as JSON takes it."""
        return asdict(self)


def summary(script: Script, voices: Mapping[str, str] | None = None) -> Summary:
    """The parts, the length and the order of a script; `voices` are those of the cast by speaker's name."""
    planned, chapters, clock_s = plan(script), [], 0.0
    for take in planned.takes:
        clock_s += take.pause_before_s
        if take.chapter is not None:
            chapters.append(ChapterSummary(take.chapter, clock_s))
        clock_s += take.estimated_s
    speakers = tuple(_part(script, planned, name, (voices or {}).get(name)) for name in script.speakers)
    return Summary(
        title=script.title,
        speakers=speakers,
        chapters=tuple(chapters),
        scenes=tuple(scene.speakers for scene in planned.scenes),
        turns=len(script.turns),
        takes=len(planned.takes),
        words=sum(speaker.words for speaker in speakers),
        pauses_s=sum(turn.pause_before_s for turn in script.turns),
        estimated_s=clock_s,
    )


def _part(script: Script, planned: Plan, name: str, voice: str | None) -> SpeakerSummary:
    turns = [turn for turn in script.turns if turn.speaker == name]
    seconds = sum(take.estimated_s for take in planned.takes if take.speaker == name)
    return SpeakerSummary(name, len(turns), sum(word_count(turn.text) for turn in turns), seconds, voice)
