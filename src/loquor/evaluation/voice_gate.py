"""Is a voice that was just made any good? It speaks test sentences, and two instruments listen.

Whether it is the person of the recording, by speaker embeddings, and whether what it says can be understood, by a
recogniser. Both are blind to charm: what passes is no more than not wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loquor.audio.resample import Waveform
from loquor.errors import InputError
from loquor.evaluation.fitness import Measures, Unchecked, look_for
from loquor.evaluation.similarity import SpeakerEncoder, similarity
from loquor.evaluation.wer import score
from loquor.models.codec import SAMPLE_RATE_HZ

TEST_SENTENCES = (  # of common words, together long enough that one misheard word is 2 %
    "The old man walked slowly along the river and watched the boats.",
    "She had coffee with an old friend on Tuesday morning.",
    "Please close the window before you leave the house tonight.",
    "We walked home together after the rain had stopped.",
)
ENGLISH = ("", "en")  # what the recogniser knows
Spoken = Sequence[tuple[str, Waveform]]  # sentences, and how the voice said them [T] at 24 kHz


@dataclass(frozen=True)
class VoiceLimits:
    """What a voice must reach; how they were found is told in docs/voices.md."""

    similarity: float = 0.75  # to the recording: below it hardly one speaker; strangers had at most 0.64
    word_error_rate: float = 0.6  # ratio; voices that speak had 0.29 to 0.59, those that ramble 0.73 and more


@dataclass(frozen=True)
class Verdict:
    """What was measured, why the voice is refused, in words with the figures, and what nobody could check."""

    measures: Measures  # similarity, similarity_of_copy, word_error_rate
    failures: tuple[str, ...]
    unchecked: tuple[Unchecked, ...]


def sentences_for(language: str, transcript: str) -> tuple[str, ...]:
    """What a voice of `language` is tried with: our English sentences, else the transcript it was made of."""
    return TEST_SENTENCES if language in ENGLISH else (transcript,)


@dataclass(frozen=True, eq=False)
class Original:
    """What a voice was made of."""

    recording: Waveform  # [T] at 24 kHz
    copy: Waveform | None = None  # the same through the codec, [T]; None: the model said it itself
    language: str = ""  # such as en; a voice that states none is taken for English


def judge(original: Original, spoken: Spoken, limits: VoiceLimits = VoiceLimits()) -> Verdict:
    """Compare what a voice says with what it was made of, as far as there are instruments."""
    found = look_for(
        {
            "likeness to the recording": lambda: _likeness(original, spoken, limits.similarity),
            "being understood": lambda: _intelligibility(spoken, original.language, limits.word_error_rate),
        }
    )
    return Verdict(found.measures, found.warnings, found.unchecked)


def _likeness(original: Original, spoken: Spoken, least: float) -> tuple[Measures, list[str]]:
    encoder = SpeakerEncoder()
    person = encoder.embed(original.recording, SAMPLE_RATE_HZ)
    alike = float(np.mean([similarity(person, encoder.embed(sound, SAMPLE_RATE_HZ)) for _, sound in spoken]))
    measures = {"similarity": alike}
    found = f"it is only {alike:.2f} like the recording, {least:g} is the least"
    if original.copy is not None:
        nearest = similarity(person, encoder.embed(original.copy, SAMPLE_RATE_HZ))
        measures["similarity_of_copy"] = nearest
        found += f" (the codec's copy is {nearest:.2f} like it: the model cannot make this voice)" * (nearest < least)
    return measures, [found] if alike < least else []


def _intelligibility(spoken: Spoken, language: str, most: float) -> tuple[Measures, list[str]]:
    if language not in ENGLISH:
        raise InputError(f"the recogniser knows English only, not {language!r}", hint="listen to it yourself")
    wrong = score((text, sound, SAMPLE_RATE_HZ) for text, sound in spoken).wer
    found = [f"{wrong:.0%} of its words are understood wrongly, {most:.0%} is the most"] if wrong > most else []
    return {"word_error_rate": wrong}, found
