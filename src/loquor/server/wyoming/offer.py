"""What a server offers over Wyoming, and which voice a client means.

Home Assistant shows only what is advertised, by language: a voice without one would never be seen. So a voice whose
card tells no language is offered for those that the published models speak, and the model's own choice is a voice too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wyoming.info import AsrModel, AsrProgram, Attribution, Info, TtsProgram, TtsVoice

from loquor.engine.speaker import Speaker
from loquor.errors import InputError, VoiceError
from loquor.server.keys import ANONYMOUS
from loquor.server.refusals import NotFoundError
from loquor.server.service import Service
from loquor.server.voice_store import DEFAULT
from loquor.voices.card import language_of

PROGRAM = "loquor"
UNTOLD = ("en", "zh")  # what the published models of all families speak
HEARD = ("en", "zh", "de", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "ru", "tr", "ar", "fa", "hi", "uk", "sv")
# transcribers do not tell which languages they know: the operator chose one, and chooses in Home Assistant
HINT = "`describe` lists the voices"


@dataclass(frozen=True)
class Offered:
    """A voice, under the name a client is to ask for."""

    name: str
    title: str
    languages: tuple[str, ...]


def offered(service: Service) -> list[Offered]:
    """The voices for everybody, what the model takes by itself first."""
    listed = service.voices.listed(ANONYMOUS)
    voices = [Offered(v.id, v.name, _languages(v.language or language_of(v.name))) for v in listed]
    return [*_own_choice(service, voices), *voices]


def info(service: Service, version: str) -> Info:
    """The answer to `describe`."""
    made_by = Attribution(name=service.name, url="")
    common: dict[str, Any] = {"attribution": made_by, "installed": True, "version": version}
    voices = [
        TtsVoice(name=voice.name, description=voice.title, languages=list(voice.languages), **common)
        for voice in offered(service)
    ]
    speech = TtsProgram(name=PROGRAM, description="Loquor", voices=voices, supports_synthesize_streaming=True, **common)
    if service.transcriber is None:
        return Info(tts=[speech])
    model = AsrModel(name=PROGRAM, description="Loquor's transcriber", languages=list(HEARD), **common)
    return Info(tts=[speech], asr=[AsrProgram(name=PROGRAM, description="Loquor", models=[model], **common)])


def wanted_voice(service: Service, asked: Mapping[str, Any] | None) -> str:
    """The name, for a `Wish`, of the voice that a request's `voice` means: by name, else by language, else the model's.

    NotFoundError if there is none such: nobody hears another voice than they asked for.
    """
    asked = asked or {}
    if not isinstance(asked, Mapping):
        raise InputError(f"voice must be an object with a name or a language, got {asked!r}")
    name, language, speaker = (_text(asked, key) for key in ("name", "language", "speaker"))
    if speaker:
        raise NotFoundError(f"there is no speaker {speaker!r}: each voice here is one", HINT, "voice_not_found")
    if name:
        service.voices.find(name, ANONYMOUS)
        return name
    if not language:
        return DEFAULT
    for voice in offered(service):
        if _base(language) in map(_base, voice.languages):
            return voice.name
    raise NotFoundError(f"there is no voice for the language {language!r}", HINT, "voice_not_found")


def _own_choice(service: Service, voices: list[Offered]) -> list[Offered]:
    """What is heard if no voice is asked for; nothing where a model has no voice at all."""
    if not isinstance(service.speaker, Speaker):
        return [Offered(DEFAULT, "the model's own", UNTOLD)]
    try:
        taken = service.speaker.voice_path(DEFAULT).stem
    except VoiceError:
        return []
    languages = next((voice.languages for voice in voices if voice.name == taken), UNTOLD)
    return [Offered(DEFAULT, f"the model's own ({taken})", languages)]


def _languages(told: str) -> tuple[str, ...]:
    return (told,) if told else UNTOLD


def _base(language: str) -> str:
    """en-GB and en_us are en."""
    return language.replace("_", "-").partition("-")[0].lower()


def _text(asked: Mapping[str, Any], key: str) -> str:
    value = asked.get(key)
    if value is not None and not isinstance(value, str):
        raise InputError(f"{key} of a voice must be text, got {value!r}")
    return value or ""
