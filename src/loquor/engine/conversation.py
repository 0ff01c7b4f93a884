"""What was said so far by both sides, and what of an answer was heard by somebody who interrupted it."""

from __future__ import annotations

from collections.abc import Sequence

from loquor.models.vita.prompt import LUKE, Heard, Message, Said, Turn, answered, audio_of
from loquor.models.vita.vocabulary import Vocabulary


class Conversation:
    """Turns that a `Converser` goes on from, and adds its own to. One reply at a time."""

    def __init__(self, system: str = LUKE, remembers_speech: bool = True) -> None:
        """`system` says who answers and how. Without `remembers_speech` answers are kept as text alone, as the
        published demonstration does: that takes less of the context, but then the model reads each answer anew."""
        self.system, self.remembers_speech = system, remembers_speech
        self.turns: list[Turn] = []

    def __len__(self) -> int:
        return len(self.turns)

    def add(self, role: str, *parts: str | Heard) -> None:
        """A turn that was said elsewhere; audio in it as `Converser.hear` gives it.

        InputError for a role nobody has, or several audios.
        """
        message = Message(role, parts)
        audio_of(message)
        self.turns.append(message)

    def prompt_turns(self, question: Message) -> list[Turn]:
        """All that the next answer is made from."""
        system = [Message("system", (self.system,))] if self.system else []
        return [*system, *self.turns, question]

    def conclude(self, vocabulary: Vocabulary, question: Message, ids: Sequence[int]) -> None:
        """Keep a question, and of its answer what `ids` say, which replaces what was kept of it before.

        An answer of which nothing was heard is no turn.
        """
        at = next((place for place, turn in enumerate(self.turns) if turn is question), len(self.turns))
        is_answered = at + 1 < len(self.turns) and _is_answer(self.turns[at + 1])
        answer = Said(tuple(ids)) if self.remembers_speech else answered(vocabulary.text(ids))
        self.turns[at : at + 1 + is_answered] = [question, answer] if ids else [question]


def _is_answer(turn: Turn) -> bool:
    return isinstance(turn, Said) or turn.role == "assistant"


def heard_ids(vocabulary: Vocabulary, ids: Sequence[int], codes: int) -> list[int]:
    """The ids of an answer up to its `codes`-th code, the span it stands in ended; all of it if it has fewer.

    Text stands before the audio it is spoken in and runs ahead of it: the last words kept may not have sounded yet.
    """
    if codes <= 0:
        return []
    is_open, left = False, codes
    for place, i in enumerate(ids):
        if vocabulary.is_audio(i):
            left -= 1
        elif i in (vocabulary.begin_of_audio, vocabulary.end_of_audio):
            is_open = i == vocabulary.begin_of_audio
        if not left:
            return [*ids[: place + 1], *([vocabulary.end_of_audio] if is_open else [])]
    return list(ids)
