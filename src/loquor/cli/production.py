"""From what `loquor podcast` was asked for to an episode: everything that can be wrong is found before the work."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loquor.cli.interruption import when_interrupted
from loquor.cli.podcast_progress import podcast_progress
from loquor.engine.dialogue import DialogueSpeaker
from loquor.engine.load import load, model_folder
from loquor.engine.podcast.episode import Episode, Outputs, produce_episode
from loquor.engine.podcast.health import Ears, Take
from loquor.engine.podcast.plan import plan
from loquor.engine.podcast.production import Production, Settings
from loquor.engine.request import Sampling
from loquor.errors import ConfigError, InputError, MissingExtra, VoiceError
from loquor.models import LONGFORM, family_of
from loquor.text.script import Script
from loquor.voices.card import RecordingCard
from loquor.voices.catalogue import SAVED, voice_file
from loquor.voices.recording import RecordedVoice, open_voice

if TYPE_CHECKING:
    from loquor.evaluation import SpeakerEncoder

logger = logging.getLogger(__name__)

HUB = "name one with -m: a folder, or a hub repository, of VibeVoice-1.5B or VibeVoice-7B"


@dataclass(frozen=True)
class Order:
    """What was asked for."""

    script: Script
    voices: Mapping[str, str]  # by speaker: a name or a path
    model: str | None
    outputs: Outputs
    sampling: Mapping[str, Any]  # None: the model's own
    retakes: int
    carry_s: float
    judge_voices: bool | None  # None: if that is possible
    judge_words: bool
    device: str
    dtype: str | None
    adapters: tuple[str, ...]
    restart: bool


def produce(order: Order) -> Episode:
    """The episode, with all files that were asked for."""
    order.outputs.require_possible()  # before the model is loaded, too
    folder = _model(order.model)
    cast = _cast(order.voices, folder)
    ears = _ears(order, cast)
    speaker = load(folder, order.device, order.dtype, order.adapters, watermark=order.outputs.watermark)
    assert isinstance(speaker, DialogueSpeaker)
    given = {name: value for name, value in order.sampling.items() if value is not None}
    known = {name: speaker.defaults[name] for name in ("guidance", "steps")}
    settings = Settings(Sampling(**(known | given)), order.retakes, order.carry_s)
    production = Production(plan(order.script), cast, settings)

    def tell() -> None:
        if order.outputs.takes.exists():
            told = "stopped; finished takes are in %s: the same command goes on from there"
            logger.warning(told, order.outputs.takes)

    with when_interrupted(tell), podcast_progress() as draw:
        return produce_episode(speaker, production, order.outputs, ears, draw, order.restart)


def _model(model: str | None) -> Path:
    """The folder of a long-form model."""
    if model is None:
        raise InputError("no long-form model comes with this installation", hint=HUB)
    folder = model_folder(model)
    family = family_of(folder)
    if family is not LONGFORM:
        raise ConfigError(f"{model} is a {family.name} model, and a podcast needs a long-form one", hint=HUB)
    return folder


def _cast(voices: Mapping[str, str], folder: Path) -> dict[str, RecordedVoice]:
    """The recordings by speaker, with a word on those nobody is known to have agreed to."""
    cast, unasked = {}, []
    for speaker, voice in voices.items():
        path = voice_file(voice, folder)
        opened = open_voice(path)
        if not isinstance(opened, RecordedVoice):
            raise VoiceError(
                f"{voice}, the voice of {speaker}, is a {opened.kind}, and a podcast needs a {RecordingCard.kind}",
                hint="make one: loquor voices create NAME --audio FILE",
            )
        cast[speaker] = opened
        if path.suffix != SAVED and not opened.consent:
            unasked.append(path.name)
    if unasked:
        logger.warning(
            "no consent is on record for %s: `loquor voices create` keeps it", ", ".join(sorted(set(unasked)))
        )
    return cast


def _encoder(is_wanted: bool | None) -> SpeakerEncoder | None:
    from loquor.evaluation import SpeakerEncoder

    if is_wanted is False:
        return None
    try:
        return SpeakerEncoder()
    except MissingExtra as missing:
        if is_wanted:
            raise
        logger.info("voices are not compared with their recordings: %s", missing)
        return None


def _ears(order: Order, cast: Mapping[str, RecordedVoice]) -> Ears:
    """The instruments that were asked for; MissingExtra if one is not installed."""
    from loquor.evaluation import Moonshine, similarity, word_error_rate

    hear_voice, hear_words = None, None
    encoder = _encoder(order.judge_voices)
    if encoder:
        voices = {speaker: encoder.embed(voice.waveform.numpy()) for speaker, voice in cast.items()}

        def hear_voice(take: Take) -> float:
            return similarity(encoder.embed(take.waveform, take.sample_rate_hz), voices[take.speaker])

    if order.judge_words:
        transcriber = Moonshine()
        word_error_rate(["ready"], ["ready"])  # MissingExtra now rather than after the first take

        def hear_words(take: Take) -> tuple[int, int]:
            report = word_error_rate([take.text], [transcriber.transcribe(take.waveform, take.sample_rate_hz)])
            return report.errors, report.words

    return Ears(hear_voice, hear_words)
