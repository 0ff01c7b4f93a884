"""Is a recording fit to be a voice? One person speaking, nothing behind it, nothing broken.

Three instruments look at it, each if it is installed. The limits lie below what they showed of six clean recordings,
and above most of what they showed of the same with noise or music 20 dB below the speech, or with a second speaker in
them: the figures are in docs/voices.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from loquor.audio.resample import Waveform
from loquor.errors import AudioError, InputError, MissingExtra
from loquor.evaluation.mos import OpinionPredictor
from loquor.evaluation.similarity import SpeakerEncoder, similarity_of_parts
from loquor.evaluation.voice_activity import VoiceActivityDetector

SPEECH_SHARE = 0.4  # a poem read with long pauses has 0.46, music 0
BACKGROUND, SPEECH = 3.4, 2.5  # predicted opinion scores
ONE_SPEAKER = 0.75  # similarity of the two parts least alike: one speaker had 0.84 and more, two had 0.5 to 0.8
ENOUGH_WINDOWS = 10  # 9 s; the parts of less speech differ by what is said in them

Measures = dict[str, float]
Look = Callable[[], tuple[Measures, list[str]]]  # what is measured, and what speaks against it


@dataclass(frozen=True)
class Unchecked:
    """What was not looked for, why, and what would change that."""

    subject: str
    reason: str
    hint: str


@dataclass(frozen=True)
class Findings:
    """What was measured, what speaks against the recording, in words, and what nobody looked for."""

    measures: Measures
    warnings: tuple[str, ...]
    unchecked: tuple[Unchecked, ...]


def examine(waveform: Waveform) -> Findings:
    """Look at waveform [T], 24 kHz, from all sides for which there is an instrument."""
    sides = {"pauses and music": _speech, "noise": _quality, "several speakers": _speakers}
    return look_for({subject: partial(look, waveform) for subject, look in sides.items()})


def look_for(looks: Mapping[str, Look]) -> Findings:
    """What all looks find; one without its instrument, or with too little to look at, leaves its subject unchecked."""
    measures: Measures = {}
    warnings: list[str] = []
    unchecked: list[Unchecked] = []
    for subject, look in looks.items():
        try:
            measured, found = look()
        except (MissingExtra, InputError) as error:
            unchecked.append(Unchecked(subject, str(error), error.hint))
            continue
        measures |= measured
        warnings += found
    return Findings(measures, tuple(warnings), tuple(unchecked))


def _speech(waveform: Waveform) -> tuple[Measures, list[str]]:
    share = VoiceActivityDetector().listen(waveform).speech_share
    found = [f"only {share:.0%} of it is speech: the rest is pauses, music or noise"] if share < SPEECH_SHARE else []
    return {"speech_share": share}, found


def _quality(waveform: Waveform) -> tuple[Measures, list[str]]:
    scores = OpinionPredictor().predict(waveform)
    found = []
    if scores.background < BACKGROUND:
        found.append(f"there is noise or music in it: listeners would give the background {scores.background:.1f} of 5")
    elif scores.speech < SPEECH:
        found.append(f"the speech sounds distorted: listeners would give it {scores.speech:.1f} of 5")
    return {"mos": scores.overall, "mos_speech": scores.speech, "mos_background": scores.background}, found


def _speakers(waveform: Waveform) -> tuple[Measures, list[str]]:
    windows = SpeakerEncoder().windows(waveform)
    if len(windows) < ENOUGH_WINDOWS:
        raise AudioError("there is too little speech to tell", hint="use 10 s or more")
    alike = similarity_of_parts(windows)
    found = [f"it seems to have several speakers: two parts of it are {alike:.2f} alike"] if alike < ONE_SPEAKER else []
    return {"similarity_of_parts": alike}, found
