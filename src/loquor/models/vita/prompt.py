"""What VITA-Audio reads before it answers: turns of a conversation, in which audio stands among text.

The frame of a turn is Qwen2.5's (ChatML), without the system turn that Qwen2.5 adds of itself. Audio is heard as codes
of the audio tokenizer, or, in the Plus models, as rows of features for which the prompt keeps places. The wording of
tasks is that of the published scripts; the models know no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from loquor.errors import InputError
from loquor.models.vita.interleaving import BOOST, interleave
from loquor.models.vita.vocabulary import Vocabulary

QUERIES = 4  # rows the encoder of features puts before them
ROLES = ("system", "user", "assistant")

TRANSCRIBE = "Convert the speech to text.\n"
SPEAK = "Convert the text to speech.\n"
VOICE = "Speaker Metadata:\nAudio: "
LUKE = "Your Name: Luke\nYour Gender: male\n\nRespond in a text-audio interleaved manner."
OMNI = "Your Name: Omni\nYour Gender: female\nRespond in a text-audio interleaved manner."


@dataclass(frozen=True)
class Codes:
    """Audio as ids of the audio tokenizer."""

    codes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Features:
    """Audio as what the encoder of a Plus model reads."""

    rows: Tensor  # [N, F], a row every 60 ms


Heard = Codes | Features
Part = str | Heard


@dataclass(frozen=True, eq=False)
class Message:
    """One turn: text and audio in the order they stand in. InputError for a role nobody has."""

    role: str  # one of ROLES
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise InputError(f"{self.role!r} is no role", hint=f"use one of {', '.join(ROLES)}")


@dataclass(frozen=True)
class Said:
    """An answer as it was said, id by id, without the mark that ends it."""

    ids: tuple[int, ...]


Turn = Message | Said


@dataclass(frozen=True, eq=False)
class Prompt:
    """Ids [T] int64, where among them features stand [T] bool, and the features, one audio after the other."""

    ids: Tensor
    is_heard: Tensor
    features: tuple[Tensor, ...] = ()  # [N, F] each, for N + QUERIES places

    def __len__(self) -> int:
        return len(self.ids)


def to_transcribe(heard: Heard) -> list[Message]:
    """Write down what is said."""
    return [Message("user", (TRANSCRIBE, heard))]


def to_speak(text: str, voice: Heard | None = None) -> list[Message]:
    """Read a text, in a voice if one is given. InputError if there is nothing to read."""
    if not text.strip():
        raise InputError("there is no text to speak")
    system = [] if voice is None else [Message("system", (VOICE, voice, "\n"))]
    return [*system, Message("user", (SPEAK + text,))]


def to_answer(question: str | Heard, system: str = LUKE, history: Sequence[Turn] = ()) -> list[Turn]:
    """Answer what is asked, in words or aloud, after what was said before."""
    return [Message("system", (system,)), *history, Message("user", (question,))]


def answered(text: str) -> Message:
    """An answer as history keeps it: as the published demonstration does, only its text."""
    return Message("assistant", (text,))


def write_prompt(vocabulary: Vocabulary, messages: Sequence[Turn], ratio: Sequence[int] = BOOST) -> Prompt:
    """The prompt that asks for the next answer. An answer in it that has audio is woven as the model would say it.

    InputError for a turn with several audios, or audio that is empty or in a form that the model does not know.
    """
    writer = PromptWriter(vocabulary, ratio)
    for message in messages:
        writer.write(message)
    writer.open_turn("assistant")
    return writer.prompt()


class PromptWriter:
    """Puts ids together; text that touches is tokenized as one piece, as the published prompts have it."""

    def __init__(self, vocabulary: Vocabulary, ratio: Sequence[int]) -> None:
        self.vocabulary, self.ratio = vocabulary, ratio
        self.ids: list[int] = []
        self.places: list[int] = []  # of features
        self.features: list[Tensor] = []
        self._text = ""

    def write(self, message: Turn) -> None:
        """A turn, with its frame."""
        if isinstance(message, Said):
            self.open_turn("assistant")
            self._special(list(message.ids))
        else:
            self.open_turn(message.role)
            self.add(message)
        self._special([self.vocabulary.turn_end])
        self._text = "\n"

    def open_turn(self, role: str) -> None:
        self._special([self.vocabulary.turn_start])
        self._text = f"{role}\n"

    def add(self, message: Message) -> None:
        """What a turn says."""
        audio = audio_of(message)
        if message.role == "assistant" and audio is not None:
            self._special(answer_ids(self.vocabulary, message, self.ratio))
            return
        for part in message.parts:
            if isinstance(part, str):
                self._text += part
            else:
                self._hear(part)

    def prompt(self) -> Prompt:
        self._special([])
        is_heard = torch.zeros(len(self.ids), dtype=torch.bool)
        is_heard[self.places] = True
        return Prompt(torch.tensor(self.ids), is_heard, tuple(self.features))

    def _special(self, ids: list[int]) -> None:
        """Ids that are no text, after the text before them."""
        self.ids += self.vocabulary.ids(self._text) + ids
        self._text = ""

    def _hear(self, heard: Heard) -> None:
        span = heard_span(self.vocabulary, heard)
        self._special(span)
        if isinstance(heard, Features):
            self.places += range(len(self.ids) - len(span) + 1, len(self.ids) - 1)
            self.features.append(heard.rows)


def audio_of(message: Message) -> Heard | None:
    """The audio of a turn; InputError if there are several, which no model has learned to hear or say in one turn."""
    audios = [part for part in message.parts if not isinstance(part, str)]
    if len(audios) > 1:
        raise InputError(f"a turn of {message.role!r} has {len(audios)} audios", hint="give each a turn of its own")
    return audios[0] if audios else None


def answer_ids(vocabulary: Vocabulary, message: Message, ratio: Sequence[int]) -> list[int]:
    """What an assistant says: text before and after its audio joined, and audio woven into it.

    InputError as `audio_of`, and for audio that is empty, outside the codebook or not in codes.
    """
    audio = audio_of(message)
    text = [i for part in message.parts if isinstance(part, str) for i in vocabulary.ids(part)]
    if audio is None:
        return text
    if isinstance(audio, Features):
        raise InputError("an answer has features for audio", hint="models say codes: encode it with their tokenizer")
    span = codes_span(vocabulary, audio)
    return interleave(text, span[1:-1], ratio, (vocabulary.begin_of_audio, vocabulary.end_of_audio))


def heard_span(vocabulary: Vocabulary, heard: Heard) -> list[int]:
    """The ids of what is heard, marks included: its codes, or a place for each row the encoder makes of features.

    InputError if it is empty, outside the codebook, or not in the form this model hears.
    """
    if isinstance(heard, Features) != vocabulary.audio.hears_features:
        knows, given = ("features", "codes") if vocabulary.audio.hears_features else ("codes", "features")
        raise InputError(f"a model of {vocabulary.audio.name} hears {knows}, it was given {given}")
    if isinstance(heard, Codes):
        return codes_span(vocabulary, heard)
    if not len(heard.rows):
        raise InputError("an audio is empty: it has no features", hint="leave it out, or record it again")
    assert vocabulary.context_of_audio is not None
    places = [vocabulary.context_of_audio] * (len(heard.rows) + QUERIES)
    return [vocabulary.begin_of_audio, *places, vocabulary.end_of_audio]


def codes_span(vocabulary: Vocabulary, heard: Codes) -> list[int]:
    """Codes between marks; InputError if there are none, or one is outside the codebook."""
    if not heard.codes:
        raise InputError("an audio is empty: it has no codes", hint="leave it out, or record it again")
    return vocabulary.audio_span(heard.codes)
