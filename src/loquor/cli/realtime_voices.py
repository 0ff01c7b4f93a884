"""`loquor voices create --for realtime`: a recording or a take becomes a prompt of one model, and must prove itself."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from loquor.cli.bar import Part, terminal_bar
from loquor.cli.console import print_json

if TYPE_CHECKING:
    from torch import Tensor

    from loquor.audio.io import Section
    from loquor.engine.speaker import Speaker
    from loquor.engine.voice_making import Reference
    from loquor.evaluation.voice_gate import Verdict
    from loquor.training.inversion import InversionProgress
    from loquor.voices.voice import Voice

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wish:
    """The voice that is wanted."""

    name: str
    consent: str
    language: str | None  # None: as the recording's file is called
    model: str | None
    accept_anyway: bool


@dataclass(frozen=True)
class Take:
    """What names a generated take: the same three give the same latents."""

    text: str
    voice: str
    seed: int


@dataclass(frozen=True)
class Sound:
    """What names a recording, and how to listen to it."""

    audio: Path
    section: Section
    text: str | None  # what is said in it; None: the recogniser writes it down
    invert: bool


@dataclass(frozen=True, eq=False)
class Material:
    """What a voice is made of, and the sound it must be like."""

    reference: Reference
    waveform: Tensor  # [T] at 24 kHz
    language: str
    source: str
    copy: Tensor | None = None  # of the waveform, through the codec; None: the model said it itself
    facts: dict[str, Any] = field(default_factory=dict)


def create_realtime(wish: Wish, source: Take | Sound, target: Path, as_json: bool) -> None:
    """Make the voice, let it speak, and save it to `target`; VoiceError with the figures if it is not good enough."""
    from loquor.engine.voice_making import make_voice
    from loquor.voices.card import Card

    speaker = _speaker(wish.model)
    material = _of_take(speaker, source) if isinstance(source, Take) else _of_recording(speaker, source, wish.language)
    language = material.language if wish.language is None else wish.language
    card = Card(name=wish.name, language=language, consent=wish.consent, source=material.source)
    voice = make_voice(speaker.model, speaker.tokenizer, material.reference, card)
    verdict = _verdict(speaker, voice, material)
    if not wish.accept_anyway:
        _require_good(voice, verdict)
    voice.save(target)
    if as_json:
        print_json(_facts(voice, target, material, verdict))
    else:
        _tell(voice, target, material, verdict)


def _require_good(voice: Voice, verdict: Verdict) -> None:
    from loquor.errors import VoiceError

    if verdict.failures:
        raise VoiceError(
            f"voice {voice.name!r} is not good enough: {'; '.join(verdict.failures)}",
            hint="try a cleaner recording, a --text that is right, or a model tuned to this speaker (loquor train); "
            "--accept-anyway saves it all the same",
        )


def _tell(voice: Voice, target: Path, material: Material, verdict: Verdict) -> None:
    typer.echo(f"{voice.name}: {target}")
    for key, value in (material.facts | verdict.measures).items():
        typer.echo(f"{key.replace('_', ' ')}: {f'{value:.2f}' if isinstance(value, float) else value}")
    for failure in verdict.failures:
        logger.warning("accepted anyway: %s", failure)
    for missing in verdict.unchecked:
        logger.warning("not checked for %s: %s", missing.subject, missing.reason)
    for hint in {missing.hint for missing in verdict.unchecked}:
        typer.echo(f"hint: {hint}", err=True)


def _speaker(model: str | None) -> Speaker:
    """The Realtime model that the voice is for."""
    import loquor
    from loquor.engine.speaker import Speaker
    from loquor.errors import VoiceError

    speaker = loquor.load(model)
    if not isinstance(speaker, Speaker):
        raise VoiceError(
            f"{model} is a long-form model, which listens to recordings as they are", hint="leave --for realtime out"
        )
    return speaker


def _of_take(speaker: Speaker, take: Take) -> Material:
    """What `loquor speak TEXT --voice VOICE --seed SEED` says, once more; VoiceError if it does not end by itself."""
    from loquor.engine.voice_making import Reference
    from loquor.errors import VoiceError

    speech = speaker.speak(take.text, take.voice, seed=take.seed)
    if speech.finish != "end":
        raise VoiceError(
            f"the take is no good: it ended after {speech.seconds:.1f} s by {speech.finish}", hint="try another --seed"
        )
    source = f"frozen take of {speech.voice}, seed {take.seed}: {take.text}"
    return Material(Reference(speech.text, speech.latents), speech.waveform, "", source)


def _of_recording(speaker: Speaker, sound: Sound, language: str | None) -> Material:
    """A recording, cleaned, listened to by the encoder or inverted, and its transcript."""
    from loquor.engine.speaker import require_text
    from loquor.engine.voice_making import Reference, codec_copy, encode_recording
    from loquor.voices.recording import record

    recorded, cleaned = record(sound.audio, language=language, section=sound.section)
    for warning in cleaned.warnings:
        logger.warning("%s: %s", sound.audio, warning)
    latents = None if sound.invert else encode_recording(speaker.model, recorded.waveform)
    text = sound.text if sound.text is not None else _transcript(recorded.waveform, recorded.language)
    require_text(text)
    facts: dict[str, Any] = {"transcript": text}
    if latents is None:
        latents, facts["reconstruction_error"] = _inverted(speaker, recorded.waveform)
    return Material(
        Reference(text, latents),
        recorded.waveform,
        recorded.language,
        recorded.source,
        codec_copy(speaker.model, latents),
        facts,
    )


def _transcript(waveform: Tensor, language: str) -> str:
    """What the recogniser hears; VoiceError if it is not there, hears nothing, or does not know the language."""
    from loquor.errors import MissingExtra, VoiceError
    from loquor.evaluation.transcriber import Moonshine
    from loquor.models.codec import SAMPLE_RATE_HZ

    if language not in ("", "en"):
        raise VoiceError(
            f"the recogniser writes down English only, not {language!r}", hint='give --text "what is said"'
        )
    try:
        heard = Moonshine().transcribe(waveform.numpy(), SAMPLE_RATE_HZ)
    except MissingExtra as error:
        raise VoiceError(
            f"what is said in the recording is needed: {error}", hint=f'give --text "what is said", or {error.hint}'
        ) from error
    if not heard:
        raise VoiceError("the recogniser hears no words in the recording", hint='give --text "what is said"')
    return heard


def _inverted(speaker: Speaker, waveform: Tensor) -> tuple[Tensor, float]:
    from loquor.training.inversion import invert

    with terminal_bar(Part.bar, "loss {task.fields[loss]:.3f}", Part.time_left) as bar:

        def draw(at: InversionProgress) -> None:
            bar.show("", at.step, at.steps, loss=at.loss)

        found = invert(speaker.model, waveform, progress=draw)
    return found.latents, found.error


def _verdict(speaker: Speaker, voice: Voice, material: Material) -> Verdict:
    """What the voice says of the sentences it is tried with, judged."""
    from loquor.evaluation.voice_gate import Original, judge, sentences_for

    texts = sentences_for(voice.language, material.reference.text)
    spoken = [(text, speaker.speak(text, voice, seed=i).waveform.numpy()) for i, text in enumerate(texts)]
    copy = None if material.copy is None else material.copy.numpy()
    return judge(Original(material.waveform.numpy(), copy, voice.language), spoken)


def _facts(voice: Voice, target: Path, material: Material, verdict: Verdict) -> dict[str, Any]:
    from dataclasses import asdict

    card = ("name", "kind", "language", "source", "consent", "created")
    facts = {key: getattr(voice, key) for key in card} | {"path": str(target)} | material.facts
    return facts | asdict(verdict)
