"""The friendly face: a model, its tokenizer and its voices, ready to speak from any thread."""

from __future__ import annotations

import asyncio
import textwrap
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from loquor.backends.interface import RealtimeBackend
from loquor.configs import read_json
from loquor.engine.backend import TORCH, Choice, openvino_backend
from loquor.engine.hub import model_name
from loquor.engine.realtime import RealtimeBatch
from loquor.engine.request import Chunk, Sampling
from loquor.engine.session import Session
from loquor.engine.speech import Progress, Recording, Speech
from loquor.engine.utterances import UtteranceSplitter
from loquor.engine.voice_making import Reference, make_voice
from loquor.engine.worker import Worker
from loquor.errors import ConfigError, InputError, VoiceError
from loquor.models import REALTIME, Adapters
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.models.realtime.checkpoint import load_realtime
from loquor.models.realtime.model import RealtimeConfig, RealtimeModel, RealtimeState
from loquor.models.realtime.prompt import voice_state
from loquor.text.tokenizer import TextTokenizer, load_tokenizer
from loquor.voices.card import Card, Fingerprint, read_card
from loquor.voices.catalogue import catalogue, find_voice
from loquor.voices.voice import Voice

DEFAULTS_FILE = "loquor.json"  # beside config.json: {"voice": ..., "guidance": ..., ...}
SAMPLING_DEFAULTS = ("guidance", "steps", "temperature")  # in it, beside the voice
CONTEXT_SHARE = 0.75  # of the context that one utterance plans to fill
SOURCE_CHARACTERS = 80  # of a take's text on the card of its voice
UTTERANCE_STRETCH = 3  # a sentence may be this many times longer than `utterance_tokens` before it is cut


class Speaker:
    """Speaks with one model. All methods may be called from any thread; they share the model and one batch."""

    def __init__(
        self,
        backend: RealtimeBackend,
        tokenizer: TextTokenizer,
        folder: Path | None = None,
        load_model: Callable[[], RealtimeModel] | None = None,
    ) -> None:
        """`backend` is the model, or what runs it; then `load_model` loads the model itself, if it is ever needed."""
        if tokenizer.vocab_size > backend.config.text.vocab_size:
            raise ConfigError(
                f"the tokenizer has {tokenizer.vocab_size} ids, the model {backend.config.text.vocab_size}",
                hint="this model needs another tokenizer: is its tokenizer.json missing?",
            )
        self.backend, self.config, self.tokenizer, self.folder = backend, backend.config, tokenizer, folder
        self._load_model = load_model
        self.sample_rate_hz = SAMPLE_RATE_HZ
        self.watermark = True  # what listeners get is marked as made here
        defaults = folder / DEFAULTS_FILE if folder else None
        self.defaults = read_json(defaults) if defaults and defaults.exists() else {}
        self._batch = RealtimeBatch(backend)
        self._batch.prepare(self._sampling(None, None, 0))
        self._worker = Worker(self._batch)
        self._voices: dict[Path, tuple[str, RealtimeState]] = {}

    @classmethod
    def open(
        cls,
        folder: Path,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        adapter: Adapters = (),
        choice: Choice = TORCH,
    ) -> Speaker:
        """The speaker of a checkpoint folder, with adapters merged into its weights."""
        if optimised := openvino_backend(folder, choice, _obstacle(device, dtype, adapter)):
            return cls(optimised, load_tokenizer(folder), folder, partial(load_realtime, folder, torch.float32))
        model = load_realtime(folder, dtype)
        REALTIME.merge(model, adapter)
        return cls(model.to(device), load_tokenizer(folder), folder)

    @cached_property
    def model(self) -> RealtimeModel:
        """The torch model: what makes voices, whatever runs it. With another backend it is loaded here."""
        if self._load_model:
            return self._load_model()
        assert isinstance(self.backend, RealtimeModel)
        return self.backend

    @property
    def name(self) -> str:
        """Of the model, as files of its speech give it: that of its folder."""
        return model_name(self.folder)

    @property
    def frame_s(self) -> float:
        return self.config.codec.hop_samples / self.sample_rate_hz

    @property
    def voices(self) -> list[str]:
        """Names of the voices at hand."""
        return list(catalogue(self.folder))

    def session(
        self,
        voice: str | Voice = "default",
        guidance: float | None = None,
        steps: int | None = None,
        seed: int = 0,
        sampling: Sampling | None = None,
    ) -> Session:
        """An open session: push text into it, take chunks out of it. None takes the model's own default."""
        sampling = sampling or self._sampling(guidance, steps, seed)
        self._batch.prepare(sampling)  # here, where nobody else waits for it or hears of its errors
        name, state = self._voice(voice)
        config = self.config
        room = config.speech.max_position_embeddings - int(state.speech.length[0])
        whole = max(1, int(CONTEXT_SHARE * room / (1 + config.speech_window / config.text_window)))
        soft = min(whole, config.utterance_tokens or whole)
        hard = min(whole, UTTERANCE_STRETCH * soft)
        splitter = UtteranceSplitter(self.tokenizer, soft, hard)
        session = Session(self._worker.open(), (name, state), sampling, splitter, self.frame_s)
        if self.watermark:
            session.watermark(self.sample_rate_hz)
        return session

    def stream(
        self, text: str | Iterable[str], voice: str | Voice = "default", **sampling: float | None
    ) -> Iterator[Chunk]:
        """Chunks of speech as soon as they exist, for a text or for pieces of text as they arrive."""
        if isinstance(text, str):
            require_text(text)
            session = self.session(voice, **sampling)  # type: ignore[arg-type]
            session.push(text)
            session.end()
            return _chunks(session)
        if not isinstance(text, Iterable):
            raise InputError(f"text must be a string or pieces of text, got {type(text).__name__}")
        return _chunks(self.session(voice, **sampling), text)  # type: ignore[arg-type]

    def speak(
        self,
        text: str,
        voice: str | Voice = "default",
        guidance: float | None = None,
        steps: int | None = None,
        seed: int = 0,
        progress: Callable[[Progress], None] | None = None,
    ) -> Speech:
        """The whole text as speech. InputError if there is nothing to say."""
        require_text(text)
        recording = Recording(progress)
        with self.session(voice, guidance, steps, seed) as session:
            session.push(text)
            session.end()
            for chunk in session:
                recording.add(chunk)
        return self._speech(text, session, recording)

    def freeze(self, speech: Speech, name: str, consent: str, language: str = "") -> Voice:
        """A take of this model as a voice: what was said and its latents become a prompt; `save` keeps it.

        VoiceError if the take is another model's, or too long to leave room to speak.
        """
        said = textwrap.shorten(speech.text, SOURCE_CHARACTERS, placeholder="...")
        source = f"frozen take of {speech.voice}: {said}"
        card = Card(name=name, language=language, consent=consent, source=source)
        return make_voice(self.model, self.tokenizer, Reference(speech.text, speech.latents), card)

    async def speak_async(self, text: str, voice: str | Voice = "default", **sampling: float | None) -> Speech:
        """`speak` for coroutines; cancelling the task cancels the speech."""
        require_text(text)
        recording = Recording()
        with await asyncio.to_thread(self.session, voice, **sampling) as session:  # type: ignore[arg-type]
            await _push(session, text)
            async for chunk in session:
                recording.add(chunk)
        return self._speech(text, session, recording)

    async def stream_async(
        self, text: str | AsyncIterable[str], voice: str | Voice = "default", **sampling: float | None
    ) -> AsyncIterator[Chunk]:
        """`stream` for coroutines; closing the iterator cancels the speech."""
        if isinstance(text, str):
            require_text(text)
        elif not isinstance(text, AsyncIterable):
            raise InputError(f"text must be a string or come as an asynchronous iterator, got {type(text).__name__}")
        session = await asyncio.to_thread(self.session, voice, **sampling)  # type: ignore[arg-type]
        pushing = asyncio.create_task(_push(session, text))
        try:
            async for chunk in session:
                yield chunk
            await pushing
        finally:
            session.cancel()
            pushing.cancel()
            await asyncio.gather(pushing, return_exceptions=True)

    def _speech(self, text: str, session: Session, recording: Recording) -> Speech:
        if not recording.chunks:
            raise InputError("the text holds nothing that can be spoken")
        session.tell_of_limits()
        return recording.speech(self.sample_rate_hz, text, session.voice, session.finish or "end", self.name)

    def _sampling(self, guidance: float | None, steps: int | None, seed: int) -> Sampling:
        known: dict[str, Any] = {k: self.defaults[k] for k in SAMPLING_DEFAULTS if k in self.defaults}
        given = {k: v for k, v in (("guidance", guidance), ("steps", steps)) if v is not None}
        return Sampling(**(known | given), seed=seed)

    def _voice(self, voice: str | Voice) -> tuple[str, RealtimeState]:
        """Name and state of a voice; states of files are kept."""
        if isinstance(voice, Voice):
            voice.require_model(self.fingerprint)
            return voice.name, voice_state(self.backend, voice.tensors)
        path = self.voice_path(voice)
        if path not in self._voices:
            opened = Voice.open(path)
            opened.require_model(self.fingerprint)
            self._voices[path] = (opened.name, voice_state(self.backend, opened.tensors))
        return self._voices[path]

    def voice_path(self, name: str) -> Path:
        """The file of a voice, by its name or its path; "default" is the model's. VoiceError if there is none."""
        if name.endswith(".safetensors"):
            return Path(name)
        known = catalogue(self.folder)
        if name != "default":
            return find_voice(name, known)
        if "voice" in self.defaults:
            return find_voice(str(self.defaults["voice"]), known)
        fitting = [path for path in known.values() if not read_card(path).misfits(self.fingerprint)]
        if not fitting:
            raise VoiceError("no voice is installed for this model", hint="loquor voices import FILE.pt")
        return fitting[0]

    @property
    def fingerprint(self) -> Fingerprint:
        """Which voices fit this model."""
        return fingerprint_of(self.config)


def _obstacle(device: str, dtype: torch.dtype | None, adapter: Adapters) -> str:
    """What only torch can do of what is wanted; empty if nothing."""
    if device != "cpu":
        return f"it computes on the processor, not on {device}"
    if dtype not in (None, torch.float32):
        return f"it computes in eight bits, not in {str(dtype).removeprefix('torch.')}"
    return "adapters are merged into torch's weights (loquor convert --adapter makes one model)" if adapter else ""


def fingerprint_of(config: RealtimeConfig) -> Fingerprint:
    """What a voice must say of its model to fit one of this configuration."""
    text, speech = config.text, config.speech
    return Fingerprint(
        text.num_hidden_layers, speech.num_hidden_layers, speech.num_key_value_heads, speech.width, speech.hidden_size
    )


def _chunks(session: Session, pieces: Iterable[str] | None = None) -> Iterator[Chunk]:
    """The chunks of `session`, which ends with this iterator, while a thread pushes `pieces` into it.

    What breaks while the pieces are taken is raised here, after the chunks before it.
    """
    failures: list[BaseException] = []

    def push(pieces: Iterable[str]) -> None:
        try:
            for piece in pieces:
                session.push(piece)
            session.end()
        except BaseException as error:  # raised again below
            failures.append(error)
            session.cancel()

    if pieces is not None:
        threading.Thread(target=push, args=(pieces,), name="loquor-text", daemon=True).start()
    try:
        yield from session
    finally:
        session.cancel()
    if failures:
        raise failures[0]
    session.tell_of_limits()


async def _push(session: Session, text: str | AsyncIterable[str]) -> None:
    try:
        if isinstance(text, str):
            await asyncio.to_thread(session.push, text)
        else:
            async for piece in text:
                await asyncio.to_thread(session.push, piece)
        await asyncio.to_thread(session.end)
    except BaseException:
        session.cancel()
        raise


def require_text(text: str) -> None:
    """InputError unless there is something to say."""
    if not isinstance(text, str):
        raise InputError(f"text must be a string, got {type(text).__name__}")
    if not text.strip():
        raise InputError("the text is empty", hint="give at least one word")
