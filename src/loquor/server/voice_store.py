"""The voices of a server: those of its model and its operator, for everybody, and those each client brought.

What a client uploads lies in a folder of that client's name, hashed, and nobody else sees it. A request names a voice
by what is listed here, never by a path: whatever it says, no file is opened that is not in one of these folders.
"""

from __future__ import annotations

import hashlib
import io
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch

from loquor.audio.io import decode
from loquor.audio.resample import Waveform
from loquor.engine.speaker import Speaker
from loquor.engine.voice_making import Reference, encode_recording, make_voice
from loquor.errors import InputError, LoquorError, VoiceError
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.server.keys import Client
from loquor.server.refusals import NotFoundError
from loquor.voices.card import AnyCard, Card, Fingerprint, read_card
from loquor.voices.catalogue import SAVED, catalogue, find_voice
from loquor.voices.cleaning import clean
from loquor.voices.recording import READ_S, RecordedVoice
from loquor.voices.voice import Voice

if TYPE_CHECKING:
    from loquor.engine.load import AnySpeaker

DEFAULT = "default"
OPENAI_VOICES = (
    "alloy",
    "ash",
    "ballad",
    "cedar",
    "coral",
    "echo",
    "fable",
    "marin",
    "nova",
    "onyx",
    "sage",
    "shimmer",
    "verse",
)
MOST_VOICES = 100  # of one client
LONGEST_NAME = 100  # characters
SAYABLE = "one"  # stands where a transcript must be that no model reads


class Transcriber(Protocol):
    """Anything that writes down what it hears."""

    def transcribe(self, waveform: Waveform, sample_rate_hz: int) -> str:
        """The words of waveform, float32 [T] in [-1, 1]."""
        ...


@dataclass(frozen=True)
class ListedVoice:
    """What a client is told of a voice."""

    id: str
    name: str
    language: str
    created_at: int  # seconds since 1970
    is_uploaded: bool
    path: Path


@dataclass(frozen=True)
class Upload:
    """What a client sends to make a voice of."""

    name: str
    sound: bytes
    consent: str  # who agreed to what, in words
    text: str = ""  # what is said in the recording
    language: str = ""


class VoiceStore:
    """All methods may be called from any thread."""

    def __init__(
        self,
        speaker: AnySpeaker,
        folder: Path,
        aliases: Mapping[str, str] | None = None,
        transcriber: Transcriber | None = None,
    ) -> None:
        """Uploads go to `folder`. `aliases` are other names of shared voices; without any, OpenAI's voices are the
        model's default."""
        self._speaker, self._folder, self._transcriber = speaker, folder, transcriber
        self.aliases = dict.fromkeys(OPENAI_VOICES, DEFAULT) if aliases is None else dict(aliases)
        for name in self.aliases.values():
            if name != DEFAULT:
                find_voice(name, {voice.name: voice for voice in self._shared()})

    def listed(self, client: Client) -> list[ListedVoice]:
        """What this client can speak with, their own first."""
        return [*self._own(client), *self._shared()]

    def find(self, name: str, client: Client) -> Path | None:
        """The file of a voice by its id or name, None for the model's own choice; NotFoundError unless one fits."""
        name = self.aliases.get(name, name)
        if name == DEFAULT:
            return None
        voices = self.listed(client)
        for voice in voices:
            if name == voice.id:
                return voice.path
        try:
            return find_voice(name, {voice.name: voice.path for voice in reversed(voices)})
        except VoiceError as error:
            raise NotFoundError(str(error), "GET /v1/audio/voices lists them", "voice_not_found") from None

    def add(self, client: Client, upload: Upload) -> ListedVoice:
        """A voice of a client's recording. AudioError or VoiceError if none can be made of it; InputError without
        consent, for a name that is taken, and for one voice too many."""
        own = self._own(client)
        _require_sense(upload, own)
        name = f"voice_{secrets.token_hex(12)}"
        waveform = decode(io.BytesIO(upload.sound), Path("the recording"), SAMPLE_RATE_HZ, READ_S)
        cleaned = clean(waveform, "the recording").waveform
        folder = self._folder_of(client)
        self._make(upload, cleaned).save(folder / f"{name}{SAVED}")
        return next(voice for voice in self._own(client) if voice.id == name)

    def remove(self, client: Client, name: str) -> ListedVoice:
        """Delete an uploaded voice, by id or name; NotFoundError if this client has none such."""
        for voice in self._own(client):
            if name in (voice.id, voice.name):
                voice.path.unlink(missing_ok=True)
                return voice
        hint = "only voices you uploaded can be deleted"
        raise NotFoundError(f"you have no voice {name!r}", hint, "voice_not_found")

    def _make(self, upload: Upload, waveform: Waveform) -> Voice | RecordedVoice:
        source = "uploaded to a server"
        sound = torch.from_numpy(waveform)
        if not isinstance(self._speaker, Speaker):
            return RecordedVoice(
                name=upload.name,
                language=upload.language,
                consent=upload.consent,
                source=source,
                created=time.strftime("%Y-%m-%d"),
                waveform=sound,
            )
        card = Card(name=upload.name, language=upload.language, consent=upload.consent, source=source)
        latents = encode_recording(self._speaker.model, sound.to(self._speaker.model.types.weight.device))
        reference = Reference(upload.text or self._heard(waveform), latents)
        return make_voice(self._speaker.model, self._speaker.tokenizer, reference, card)

    def _heard(self, waveform: Waveform) -> str:
        """What is said in a recording whose text was not given; models of phonemes do not ask."""
        assert isinstance(self._speaker, Speaker)
        if self._speaker.tokenizer.voice_id is not None:
            return SAYABLE
        if self._transcriber is None:
            raise InputError("this model must know what is said in the recording", hint="send it as ref_text")
        return self._transcriber.transcribe(waveform, SAMPLE_RATE_HZ)

    def _own(self, client: Client) -> list[ListedVoice]:
        files = sorted(
            self._folder_of(client).glob(f"*{SAVED}"), key=lambda file: (-file.stat().st_mtime_ns, file.name)
        )
        return [voice for file in files if (voice := self._read(file, is_uploaded=True))]

    def _shared(self) -> list[ListedVoice]:
        files = catalogue(self._speaker.folder)
        found = ((name, self._read(file, is_uploaded=False)) for name, file in files.items())
        return [replace(voice, id=name, name=name) for name, voice in found if voice]

    def _read(self, file: Path, is_uploaded: bool) -> ListedVoice | None:
        """A voice this model can speak with; None for any other file."""
        try:
            status = file.stat()
            card = _card(file, status.st_mtime_ns)
        except (LoquorError, OSError):
            return None
        if card.misfits(self._fingerprint):
            return None
        return ListedVoice(file.stem, card.name, card.language, int(status.st_mtime), is_uploaded, file)

    @property
    def _fingerprint(self) -> Fingerprint | None:
        return self._speaker.fingerprint if isinstance(self._speaker, Speaker) else None

    def _folder_of(self, client: Client) -> Path:
        return self._folder / hashlib.sha256(client.name.encode()).hexdigest()[:32]


@lru_cache(maxsize=1024)
def _card(file: Path, stamp: int) -> AnyCard:
    """What a file says of itself, read once for each time it was written."""
    return read_card(file)


def _require_sense(upload: Upload, own: list[ListedVoice]) -> None:
    if not upload.consent.strip():
        raise InputError(
            "a voice is a person's: it needs their consent, which is saved with it",
            hint="send `consent`: who agreed to what use, and when, in words",
        )
    name = upload.name
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME or re.search(r"[/\\]", name):
        raise InputError(f"a voice cannot be called {name!r}", hint="use letters, digits, - and _, such as ada")
    if name in (DEFAULT, *OPENAI_VOICES) or any(voice.name == name for voice in own):
        raise InputError(f"the name {name!r} is taken", hint="delete that voice first, or choose another name")
    if len(own) >= MOST_VOICES:
        raise InputError(f"you have {len(own)} voices already", hint="delete one first")
