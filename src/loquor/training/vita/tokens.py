"""A conversation as ids and labels: what the model reads, and which of it it learns to say.

Each turn is `<|im_start|>role`, newline, content, `<|im_end|>`, newline, its pieces of text tokenized each alone; only
what the assistant says is learned, the mark that ends it and the newline behind included (as published).

Three habits of the published preparation are mended. A text to be spoken is put before the speech of the answer to that
request, where generation expects it, but not before later answers too, and not where the answer has its own text; an
audio of no codes is an error instead of a shorter text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from loquor.models.vita.prompt import SPEAK, Features, Message, answer_ids, audio_of, heard_span
from loquor.models.vita.vocabulary import Vocabulary

IGNORED = -100  # a label nobody learns


@dataclass(frozen=True, eq=False)
class Example:
    """One conversation; `features` take the places of `is_heard`, one audio after the other."""

    ids: Tensor  # [T] int64
    labels: Tensor  # [T] int64, the id itself where it is learned, else IGNORED
    is_heard: Tensor  # [T] bool
    features: tuple[Tensor, ...] = ()  # [N, F] each

    def __len__(self) -> int:
        return len(self.ids)


def with_spoken_text(messages: Sequence[Message]) -> list[Message]:
    """The messages, where speech that a user asked for begins with its text: models say both, woven together."""
    out: list[Message] = []
    for message in messages:
        asked = out[-1].parts[0] if out and out[-1].parts else ""
        if message.role == "assistant" and isinstance(asked, str) and asked.startswith(SPEAK):
            has_text = any(isinstance(part, str) and part.strip() for part in message.parts)
            if audio_of(message) is not None and not has_text:
                message = Message(message.role, (asked.removeprefix(SPEAK).strip(), *message.parts))  # noqa: PLW2901
        out.append(message)
    return out


def tokenize(vocabulary: Vocabulary, messages: Sequence[Message], ratio: Sequence[int]) -> Example:
    """The example of a conversation, in which answers with audio are woven by `ratio`.

    InputError for a turn with several audios, or audio that is empty or in a form the model does not know.
    """
    ids: list[int] = []
    is_learned: list[bool] = []
    places: list[int] = []
    features: list[Tensor] = []
    for message in with_spoken_text(messages):
        header = [vocabulary.turn_start, *vocabulary.ids(f"{message.role}\n")]
        content = _content(vocabulary, message, ratio)
        audio = audio_of(message)
        if isinstance(audio, Features):
            first = len(ids) + len(header)
            places += [first + i for i, token in enumerate(content) if token == vocabulary.context_of_audio]
            features.append(audio.rows)
        says = [*content, vocabulary.turn_end, *vocabulary.ids("\n")]
        ids += header + says
        is_learned += [False] * len(header) + [message.role == "assistant"] * len(says)
    tokens, is_heard = torch.tensor(ids), torch.zeros(len(ids), dtype=torch.bool)
    is_heard[places] = True
    labels = tokens.masked_fill(~torch.tensor(is_learned), IGNORED)
    return Example(tokens, labels, is_heard, tuple(features))


def _content(vocabulary: Vocabulary, message: Message, ratio: Sequence[int]) -> list[int]:
    if message.role == "assistant":
        return answer_ids(vocabulary, message, ratio)
    pieces = [vocabulary.ids(p) if isinstance(p, str) else heard_span(vocabulary, p) for p in message.parts]
    return [i for piece in pieces for i in piece]
