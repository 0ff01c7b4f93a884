"""All that is measured of one performance: is it understood, who speaks, how does it sound, is anything broken?

An instrument that is not installed is told of once and left out; what cannot be measured of a sound, such as the pitch
of silence, is left out of its measures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from loquor.audio.io import read
from loquor.audio.resample import Waveform
from loquor.engine.podcast.health import Take, examine
from loquor.errors import AudioError, InputError, MissingExtra
from loquor.evaluation.containment import is_contained
from loquor.evaluation.error_rate import Alignment, Pair, Rule, compare_texts
from loquor.evaluation.mel_cepstral import mel_cepstral_distance
from loquor.evaluation.mos import OpinionPredictor
from loquor.evaluation.performance import Performance
from loquor.evaluation.prosody import PitchTracker, pace_measures, pitch_measures
from loquor.evaluation.sets import Item
from loquor.evaluation.similarity import Embedding, SpeakerEncoder, similarity
from loquor.evaluation.transcribers import open_transcriber
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.text.timing import estimated_s


@dataclass
class Scores:
    """Of one performance. `measures` are named and in units as `report.MEASURES` tells them."""

    heard: str | None = None  # by the transcriber, or written by the system; None: nobody listened
    pairs: tuple[Pair, ...] = ()
    unit: str = "words"
    measures: dict[str, float] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)  # what is broken, in words
    voice: list[float] = field(default_factory=list)  # the embedding [256]
    missing: dict[str, str] = field(default_factory=dict)  # what was not looked at, and what would change that


class Instruments:
    """Measures with `transcriber`, by its name, and with `like`, recordings of whom systems should sound like.

    `rule` says how words are counted.

    Instruments are opened when first needed, and kept.
    """

    def __init__(self, transcriber: str, like: tuple[Path, ...] = (), rule: Rule = "usual") -> None:
        self._transcriber = cache(partial(open_transcriber, transcriber))  # by language
        self._embedding = cache(self._embedding_of)
        self.like, self.rule = like, rule

    def measure(self, item: Item, performance: Performance, waveform: Waveform) -> Scores:
        """Scores of what a system did with an item; waveform [T] as kept, empty if it gave none."""
        scores = Scores()
        if item.task == "speak":
            looks: dict[str, Callable[[Take, Item, Performance, Scores], None]] = {
                "words": self._words,
                "speaker": self._speaker,
                "quality": self._quality,
                "pitch": self._pitch,
                "distance": self._distance,
            }
            rate_hz = performance.sample_rate_hz
            take = Take(waveform, rate_hz, item.text, "", estimated_s(item.text), performance.finish)
            self._health(take, scores)
            for subject, look in looks.items():
                with _noting(subject, scores):
                    look(take, item, performance, scores)
            return scores
        with _noting("words", scores):
            self._written(item, performance, waveform, scores)
        return scores

    def _health(self, take: Take, scores: Scores) -> None:
        scores.faults = {found.kind: found.detail for found in examine(take) if found.is_fault}
        scores.measures["fault"] = float(bool(scores.faults))
        if len(take.waveform):
            scores.measures |= pace_measures(take.waveform, take.sample_rate_hz, take.text)

    def _words(self, take: Take, item: Item, performance: Performance, scores: Scores) -> None:
        heard = ""
        if len(take.waveform):
            heard = self._transcriber(item.language).transcribe(take.waveform, take.sample_rate_hz)
        _count(compare_texts(item.text, heard, item.language, self.rule), heard, scores)

    def _written(self, item: Item, performance: Performance, waveform: Waveform, scores: Scores) -> None:
        """An answer counts by its words, and spoken ones by what is heard of them as well."""
        if item.task == "transcribe":
            written = performance.text
            _count(compare_texts(item.text, written, item.language, self.rule), written, scores)
            return
        scores.heard = performance.text
        if performance.text or not len(waveform):
            scores.measures["right"] = float(is_contained(performance.text, item.answers))
        if len(waveform):
            heard = self._transcriber(item.language).transcribe(waveform, performance.sample_rate_hz)
            scores.heard = heard
            scores.measures["right_aloud"] = float(is_contained(heard, item.answers))

    def _speaker(self, take: Take, item: Item, performance: Performance, scores: Scores) -> None:
        if not len(take.waveform):
            return
        voice = self._encoder.embed(take.waveform, take.sample_rate_hz)
        scores.voice = [round(float(x), 5) for x in voice]
        models = self.like or ((item.prompt,) if item.prompt and performance.imitates else ())
        if models:
            alike = [similarity(voice, self._embedding(path)) for path in models]
            scores.measures["similarity"] = sum(alike) / len(alike)

    def _quality(self, take: Take, item: Item, performance: Performance, scores: Scores) -> None:
        if len(take.waveform):
            found = self._opinions.predict(take.waveform, take.sample_rate_hz)
            scores.measures |= {"mos": found.overall, "mos_speech": found.speech, "mos_background": found.background}

    def _pitch(self, take: Take, item: Item, performance: Performance, scores: Scores) -> None:
        scores.measures |= pitch_measures(self._tracker.track(take.waveform, take.sample_rate_hz))

    def _distance(self, take: Take, item: Item, performance: Performance, scores: Scores) -> None:
        if item.reference and len(take.waveform):
            reference = read(item.reference, take.sample_rate_hz)
            found = mel_cepstral_distance(take.waveform, reference, take.sample_rate_hz)
            scores.measures["mel_cepstral_distance"] = found.decibel

    def _embedding_of(self, path: Path) -> Embedding:
        return self._encoder.embed(read(path, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)

    @cached_property
    def _encoder(self) -> SpeakerEncoder:
        return SpeakerEncoder()

    @cached_property
    def _opinions(self) -> OpinionPredictor:
        return OpinionPredictor()

    @cached_property
    def _tracker(self) -> PitchTracker:
        return PitchTracker()


@contextmanager
def _noting(subject: str, scores: Scores) -> Iterator[None]:
    """What an instrument cannot do is noted, and the others go on; silence has no speaker, which is no news."""
    try:
        yield
    except AudioError:
        pass
    except (MissingExtra, InputError) as error:
        scores.missing[subject] = f"{error} ({error.hint})" if error.hint else str(error)


def _count(found: Alignment, heard: str, scores: Scores) -> None:
    scores.heard, scores.pairs, scores.unit = heard, found.pairs, found.unit
    scores.measures |= {"errors": float(found.errors), "tokens": float(found.tokens), "error_rate": found.rate}


def as_facts(scores: Scores) -> dict[str, Any]:
    """Scores for JSON."""
    return vars(scores) | {"pairs": [list(pair) for pair in scores.pairs]}


def from_facts(facts: dict[str, Any]) -> Scores:
    """The reverse of `as_facts`."""
    return Scores(**facts | {"pairs": tuple((said, heard) for said, heard in facts["pairs"])})
