"""What the samples of a training are worth: are they understood, are they the speaker, do they sound clean?

Each question has an instrument; one that is not installed is told of once and left out. None of them replaces
listening: they see that a training goes astray, not that a voice is good.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property

import numpy as np

from loquor.audio.resample import Waveform
from loquor.errors import AudioError, MissingExtra
from loquor.evaluation.mos import OpinionPredictor
from loquor.evaluation.similarity import Embeddings, SpeakerEncoder
from loquor.evaluation.transcriber import Moonshine
from loquor.evaluation.wer import score
from loquor.models.codec import SAMPLE_RATE_HZ

logger = logging.getLogger(__name__)

Spoken = Sequence[tuple[str, Waveform]]  # sentences, and how the model said them [T] at 24 kHz


class SampleJudge:
    """Judges samples, by `references`, recordings [T] at 24 kHz of whom they should sound like.

    Words are counted only in English: the recogniser reads nothing else.
    """

    def __init__(self, references: Sequence[Waveform], is_english: bool) -> None:
        self.references = references
        self._looks: dict[str, Callable[[Spoken], float | None]] = {
            "similarity": lambda spoken: _mean(self._likeness, spoken),
            "mos": lambda spoken: _mean(self._opinion, spoken),
        }
        if is_english:
            self._looks["wer"] = self._word_error_rate

    def __call__(self, spoken: Spoken) -> dict[str, float]:
        """Word error rate (a ratio), mean similarity to the references and mean predicted opinion (1 to 5).

        What no sample has, such as the speaker of silence, is left out.
        """
        measures = {}
        for name, look in list(self._looks.items()):
            try:
                value = look(spoken)
            except MissingExtra as error:
                logger.warning("samples are not judged for %s: %s: %s", name, error, error.hint)
                del self._looks[name]
                continue
            if value is not None:
                measures[name] = value
        return measures

    @cached_property
    def _transcriber(self) -> Moonshine:
        return Moonshine()

    @cached_property
    def _opinions(self) -> OpinionPredictor:
        return OpinionPredictor()

    @cached_property
    def _encoder(self) -> SpeakerEncoder:
        return SpeakerEncoder()

    @cached_property
    def _persons(self) -> Embeddings:
        found = []
        for reference in self.references:
            with suppress(AudioError):
                found.append(self._encoder.embed(reference, SAMPLE_RATE_HZ))
        if not found:
            raise AudioError("there is no recording with a speaker to compare samples with")
        return np.stack(found)

    def _word_error_rate(self, spoken: Spoken) -> float | None:
        return score(((text, sound, SAMPLE_RATE_HZ) for text, sound in spoken), self._transcriber).wer

    def _likeness(self, sound: Waveform) -> float:
        return float((self._persons @ self._encoder.embed(sound, SAMPLE_RATE_HZ)).mean())

    def _opinion(self, sound: Waveform) -> float:
        return self._opinions.predict(sound, SAMPLE_RATE_HZ).overall


def _mean(look: Callable[[Waveform], float], spoken: Spoken) -> float | None:
    values = []
    for _, sound in spoken:
        with suppress(AudioError):
            values.append(look(sound))
    return sum(values) / len(values) if values else None
