"""A model that listens and answers, in text and aloud (VITA-Audio): the friendly face of interleaved generation."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Unpack

import torch

from loquor.engine.alternation import AudioIds
from loquor.engine.audio_tokenizer import Place, open_audio_tokenizer
from loquor.engine.conversation import Conversation
from loquor.engine.generation_file import GenerationDefaults
from loquor.engine.hearing import Audio, as_codes, as_features, embedded, open_front_end, sound_of
from loquor.engine.hub import model_name
from loquor.engine.interleaved import InterleavedBatch
from loquor.engine.manner import Manner, choices
from loquor.engine.reply import Exchange, Mouth, Reply, ReplyBatch, ReplyStream
from loquor.engine.request import Chunk
from loquor.engine.speaker import require_text
from loquor.engine.speech import Speech
from loquor.engine.worker import Worker
from loquor.errors import ConfigError, InputError
from loquor.models.speech_tokens import SpeechTokens
from loquor.models.vita.checkpoint import load_vita
from loquor.models.vita.model import VitaModel
from loquor.models.vita.prompt import Heard, Message, Turn, to_speak, to_transcribe, write_prompt
from loquor.models.vita.schedule import VANILLA
from loquor.models.vita.speech_features import FrontEnd
from loquor.models.vita.vocabulary import Vocabulary, open_vocabulary
from loquor.text.timing import estimated_s

TEXT_PER_S = 12  # ids of a transcript: nobody says more than half as many syllables
LENGTH_TIMES = 3.0  # a text may take this many times longer than usual before its reading is a runaway
SPARE_TOKENS = 64
NO_LATENTS = torch.zeros(0, 0)  # these models speak in codes


class Converser:
    """Converses with one model. All methods may be called from any thread; they share the model and one batch."""

    def __init__(
        self,
        model: VitaModel,
        vocabulary: Vocabulary,
        folder: Path,
        audio_tokenizer: Place | None = None,
        from_hub: bool = False,
    ) -> None:
        """`folder` holds the model's settings; its audio tokenizer is opened when it is first needed."""
        if len(vocabulary) > model.config.vocab_size:
            raise ConfigError(
                f"text and audio have {len(vocabulary)} ids, the model {model.config.vocab_size}",
                hint=f"this model needs another vocabulary: is {folder / 'tokenizer_config.json'} missing?",
            )
        self.model, self.vocabulary, self.folder = model, vocabulary, folder
        self.watermark = True  # what listeners get is marked as made here
        self.defaults = GenerationDefaults.read(folder, model.config.modules)
        self._audio_tokenizer, self._from_hub = audio_tokenizer, from_hub
        self._opening = threading.Lock()
        self._codec: SpeechTokens | None = None
        self._eos = self.defaults.eos or vocabulary.eos
        self._audio_ids = AudioIds(
            vocabulary.begin_of_audio, vocabulary.end_of_audio, vocabulary.first_audio, vocabulary.audio.codes
        )
        self.batch = ReplyBatch(InterleavedBatch(model, self._eos, self._audio_ids), vocabulary)
        self._worker = Worker[ReplyStream](self.batch)

    @classmethod
    def open(
        cls,
        folder: Path,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        audio_tokenizer: Place | None = None,
        from_hub: bool = False,
    ) -> Converser:
        """The model in `folder`; `dtype` None is what its files hold, but on the CPU float32 for float16."""
        model = load_vita(folder, dtype)
        if dtype is None and device == "cpu" and model.embedding.weight.dtype == torch.float16:
            model = model.float()
        return cls(model.to(device), open_vocabulary(folder), folder, audio_tokenizer, from_hub)

    @property
    def name(self) -> str:
        """Of the model, as files of its speech give it: that of its folder."""
        return model_name(self.folder)

    @property
    def codec(self) -> SpeechTokens:
        """The audio tokenizer; CheckpointError, with what to do, if it is not here."""
        with self._opening:
            if self._codec is None:
                device = self.model.embedding.weight.device.type
                self._codec = open_audio_tokenizer(
                    self.vocabulary.audio, self.folder, self._audio_tokenizer, self._from_hub, device
                )
            return self._codec

    @property
    def sample_rate_hz(self) -> int:
        """Of what it says."""
        return self.codec.sample_rate_hz

    @cached_property
    def _front_end(self) -> FrontEnd:
        return open_front_end(self.folder, self._from_hub)

    def hear(self, audio: Audio, role: str = "user") -> Heard:
        """Sound as the model has it in a turn of that role; AudioError if it is empty or cannot be read."""
        if self.vocabulary.audio.hears_features and role != "assistant":
            return as_features(audio, self._front_end)
        return as_codes(audio, self.codec)

    def transcribe(self, audio: str | Audio, **manner: Unpack[Manner]) -> str:
        """The words of a recording; without a mode or temperature in `manner`, said by the backbone, greedily."""
        sound = sound_of(Path(audio) if isinstance(audio, str) else audio)
        question = to_transcribe(self.hear(sound))
        limit = int(TEXT_PER_S * len(sound[0]) / sound[1]) + SPARE_TOKENS
        usual: Manner = {"mode": VANILLA.numbers, "temperature": 0.0, "max_new_tokens": limit}
        reply = self._begin(self.request(question, aloud=False, **(usual | _given(manner))))
        for _ in reply:
            pass
        reply.tell_of_limits()
        return reply.text.strip()

    def chat(
        self,
        *question: str | Audio,
        history: Conversation | None = None,
        aloud: bool = True,
        **manner: Unpack[Manner],
    ) -> Reply:
        """The reply to a question of text and at most one audio, after a conversation, which it then belongs to.

        `aloud` False asks for text alone. InputError for an empty question or two audios in it, AudioError for audio
        that cannot be heard; a CapacityError, if conversation and question fill the context, comes with the first
        chunk.
        """
        return self.answer(self.asked(*question), Conversation() if history is None else history, aloud, **manner)

    def answer(self, question: Message, history: Conversation, aloud: bool = True, **manner: Unpack[Manner]) -> Reply:
        """As `chat`, to a turn of the user's that was heard before."""
        usual: Manner = {} if aloud else {"mode": VANILLA.numbers}
        stream = self.request(history.prompt_turns(question), aloud, **(usual | _given(manner)))
        return self._begin(stream, Exchange(question, history))

    def say(self, text: str, voice: str | Audio | None = None, **manner: Unpack[Manner]) -> Reply:
        """A text being read, as `stream`, in text and sound as the model says them."""
        require_text(text)
        spoken = None if voice is None else self.hear(Path(voice) if isinstance(voice, str) else voice)
        pace = LENGTH_TIMES * estimated_s(text) * self.codec.frame_rate_hz
        usual: Manner = {"max_new_tokens": int(pace) + 2 * len(self.vocabulary.ids(text)) + SPARE_TOKENS}
        return self._begin(self.request(to_speak(text.strip(), spoken), aloud=True, **(usual | _given(manner))))

    def stream(self, text: str, voice: str | Audio | None = None, **manner: Unpack[Manner]) -> Iterator[Chunk]:
        """A text as speech, chunk by chunk; `voice` is a recording to sound like. Closing it cancels the speech."""
        return _chunks(text, self.say(text, voice, **manner))

    def speak(self, text: str, voice: str | Audio | None = None, **manner: Unpack[Manner]) -> Speech:
        """A text as speech. InputError if there is nothing to say."""
        reply = self.say(text, voice, **manner)
        spoken = [chunk.waveform for chunk in reply if len(chunk.waveform)]
        if not spoken:
            raise InputError("the model ended before it said anything", hint="try another seed, or more text")
        reply.tell_of_limits()
        return Speech(
            waveform=torch.cat(spoken),
            sample_rate_hz=self.sample_rate_hz,
            latents=NO_LATENTS,
            text=text,
            voice="" if voice is None else str(voice) if isinstance(voice, str | Path) else "a recording",
            finish=reply.finish or "end",
            compute_s=reply.compute_s,
            first_audio_ms=reply.first_audio_ms or float("nan"),
            codes=tuple(reply.codes),
            model=self.name,
        )

    def asked(self, *question: str | Audio) -> Message:
        """A turn of the user's in the published form: what is written, then on a line of its own what is said.

        Raises as `chat`.
        """
        parts: list[str | Heard] = []
        for part in question:
            parts += [part] if isinstance(part, str) else ["\n", self.hear(part)]
        if not any(not isinstance(part, str) or part.strip() for part in parts):
            raise InputError("the question is empty", hint="give at least one word, or audio")
        return Message("user", tuple(parts))

    def request(self, turns: Sequence[Turn], aloud: bool, **manner: Unpack[Manner]) -> ReplyStream:
        """The answer to these turns as `batch` takes it, for callers that step it themselves.

        InputError for audio that no turn can have; ConfigError and InputError for a manner there is not.
        """
        chosen = choices(manner, self.defaults, self._audio_ids)
        prompt = write_prompt(self.vocabulary, turns)
        return ReplyStream(
            prompt.ids,
            chosen.schedule,
            chosen.sampling,
            chosen.grammar,
            chosen.is_verified,
            prompt.is_heard,
            embedded(self.model.listener, prompt.features),
            mouth=Mouth(self.codec, chosen.sampling.seed) if aloud else None,
        )

    def _begin(self, stream: ReplyStream, exchange: Exchange | None = None) -> Reply:
        reply = Reply(self._worker.open(), stream, self.vocabulary, self._eos, exchange)
        if self.watermark and stream.mouth:
            reply.watermark(stream.mouth.codec.sample_rate_hz)
        return reply


def _given(manner: Manner) -> Manner:
    return {name: value for name, value in manner.items() if value is not None}  # type: ignore[return-value]


def _chunks(text: str, reply: Reply) -> Iterator[Chunk]:
    """The sound of a reply, which ends with this iterator; models say the text they read as they read it."""
    try:
        for chunk in reply:
            if len(chunk.waveform):
                text_end = min(len(text), len(reply.text))
                yield Chunk(chunk.waveform, NO_LATENTS, chunk.start_s, chunk.end_s, text_end)
    finally:
        reply.cancel()
    reply.tell_of_limits()
