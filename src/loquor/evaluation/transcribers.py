"""Which listener measures: the one from the package index, faster-whisper if it is installed, or a server.

A server is any that answers `POST /audio/transcriptions` as OpenAI's does: its address ends with /v1, and what stands
behind # is the name of the model it is asked for. A key is sent if $OPENAI_API_KEY is set.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import urllib.error
import urllib.request
from urllib.parse import urldefrag

import soundfile

from loquor.audio.resample import Waveform, resample
from loquor.errors import InputError, MissingExtra
from loquor.evaluation.transcriber import Moonshine, Transcriber

MOONSHINE = "moonshine"
WHISPER = "whisper"
KEY = "OPENAI_API_KEY"
SAMPLE_RATE_HZ = 16_000
PATIENCE_S = 300.0


def open_transcriber(name: str = MOONSHINE, language: str = "") -> Transcriber:
    """The listener of a name: `moonshine`, `whisper:MODEL`, or the address of a server, such as http://host:8000/v1.

    InputError for any other name, and for a language the listener does not know; MissingExtra if it is not installed.
    """
    kind, _, rest = name.partition(":")
    if kind == MOONSHINE and not rest:
        if language not in ("", "en"):
            hint = "--transcriber whisper:MODEL, or the address of a server that knows it"
            raise InputError(f"moonshine knows English only, not {language!r}", hint)
        return Moonshine()
    if kind == WHISPER:
        return Whisper(rest or "small", language)
    if kind in ("http", "https"):
        return Endpoint(name, language)
    raise InputError(f"{name!r} is no transcriber", hint="moonshine, whisper:MODEL, or http://HOST:PORT/v1#MODEL")


class Whisper:
    """faster-whisper (MIT): Whisper's weights, fetched once from the hub or read from a folder, greedy on the CPU."""

    def __init__(self, model: str, language: str = "") -> None:
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise MissingExtra("this transcriber needs faster-whisper", hint="pip install faster-whisper") from error
        self._model, self._language = WhisperModel(model, device="cpu", cpu_threads=1), language or None

    def transcribe(self, waveform: Waveform, sample_rate_hz: int) -> str:
        """The words of waveform, float32 [T] in [-1, 1]."""
        audio = resample(waveform, sample_rate_hz, SAMPLE_RATE_HZ)
        segments, _ = self._model.transcribe(audio, language=self._language, beam_size=1, temperature=0.0)
        return "".join(segment.text for segment in segments).strip()


class Endpoint:
    """A server that transcribes, by its address."""

    def __init__(self, address: str, language: str = "") -> None:
        self._address, self._model = urldefrag(address)
        self._language = language

    def transcribe(self, waveform: Waveform, sample_rate_hz: int) -> str:
        """The words of waveform, float32 [T] in [-1, 1]. InputError if the server gives none."""
        boundary = secrets.token_hex(16)
        fields = {"model": self._model or "default", "response_format": "json", "temperature": "0"}
        if self._language:
            fields["language"] = self._language
        request = urllib.request.Request(
            f"{self._address.rstrip('/')}/audio/transcriptions",
            data=_form(fields, _wav(waveform, sample_rate_hz), boundary),
            headers={"Content-Type": f"multipart/form-data; boundary={boundary}"} | _authorisation(),
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return str(json.load(answer)["text"]).strip()
        except (urllib.error.URLError, OSError, ValueError, KeyError, TypeError) as error:
            cause = f"{type(error).__name__}: {error}"
            hint = "it must answer POST /audio/transcriptions with {'text': ...}"
            raise InputError(f"{self._address} does not transcribe: {cause}", hint) from error


def _authorisation() -> dict[str, str]:
    key = os.environ.get(KEY)
    return {"Authorization": f"Bearer {key}"} if key else {}


def _wav(waveform: Waveform, sample_rate_hz: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform.clip(-1, 1), sample_rate_hz, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _form(fields: dict[str, str], sound: bytes, boundary: str) -> bytes:
    """multipart/form-data (RFC 7578) with one file."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = 'Content-Disposition: form-data; name="file"; filename="speech.wav"\r\nContent-Type: audio/wav'
    parts.append(f"--{boundary}\r\n{head}\r\n\r\n".encode() + sound + b"\r\n")
    return b"".join([*parts, f"--{boundary}--\r\n".encode()])
