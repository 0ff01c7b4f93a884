"""`loquor speak --check`: every sentence is listened to, and said again if it came out badly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from loquor.engine.checked import CheckedPiece, Say
    from loquor.engine.converser import Converser
    from loquor.engine.dialogue import DialogueSpeaker
    from loquor.engine.podcast.health import Ears
    from loquor.engine.request import Chunk
    from loquor.engine.speaker import Speaker

CHECK_HELP = (
    "Listen to every sentence (silence, clipping, loops, length, misheard words) and say a bad one again with another "
    "seed; the best is kept. English words only."
)
CheckOption = Annotated[bool, typer.Option("--check", help=CHECK_HELP)]
TriesOption = Annotated[
    int, typer.Option("--check-tries", min=0, max=100, help="Times that --check says a bad sentence again.")
]


@dataclass
class SelfCheck:
    """What listens, and what came of it; MissingExtra on opening if a recogniser is not installed."""

    ears: Ears
    tries: int
    kept: list[CheckedPiece] = field(default_factory=list)

    @classmethod
    def open(cls, tries: int) -> SelfCheck:
        from loquor.evaluation.self_check import listening_ears

        return cls(listening_ears(), tries)

    def stream(
        self,
        speaker: Speaker | DialogueSpeaker | Converser,
        text: str | Iterator[str],
        voice: str,
        sampling: dict[str, Any],
    ) -> Iterator[Chunk]:
        """A chunk for each piece of the text, which is read to its end first."""
        from loquor.engine.checked import chunks_of, say_checked

        whole = _plain("".join(text), speaker)
        say = _say(speaker, voice, sampling)
        return chunks_of(say_checked(say, whole, self.ears, self.tries, sampling["seed"]), self.kept)

    def as_dict(self) -> dict[str, Any]:
        """What `--json` adds."""
        again = sum(piece.attempts - 1 for piece in self.kept)
        faulty = sum(not piece.is_sound for piece in self.kept)
        return {"again": again, "faulty": faulty, "pieces": [piece.as_dict() for piece in self.kept]}

    def line(self) -> str:
        """What is printed for people."""
        facts = self.as_dict()
        count = len(self.kept)
        return (
            f"checked {count} piece{'s' * (count != 1)}: {facts['again']} said again, "
            f"{facts['faulty']} still with a fault"
        )


def _plain(text: str, speaker: Speaker | DialogueSpeaker | Converser) -> str:
    """What is to be said; of a script its words, if all are one speaker's."""
    from loquor.engine.dialogue import DialogueSpeaker
    from loquor.errors import InputError
    from loquor.text.script import parse_script

    if not isinstance(speaker, DialogueSpeaker) or not text.strip():
        return text
    script = parse_script(text)
    if len(script.speakers) > 1:
        raise InputError(
            "--check says one speaker's sentences again, and the script has several",
            hint="`loquor podcast --judge-words` checks every take of a script",
        )
    return "\n\n".join(turn.text for turn in script.turns)


def _say(speaker: Speaker | DialogueSpeaker | Converser, voice: str, sampling: dict[str, Any]) -> Say:
    """How the speaker says a piece."""
    from loquor.engine.dialogue import DialogueSpeaker
    from loquor.engine.speaker import Speaker
    from loquor.errors import InputError

    own = None if voice == "default" else voice
    manner = {name: sampling[name] for name in ("guidance", "steps")}
    if isinstance(speaker, Speaker):
        return lambda text, seed: speaker.speak(text, voice, **manner, seed=seed)
    if isinstance(speaker, DialogueSpeaker):
        return lambda text, seed: speaker.speak(text, own, **manner, seed=seed)
    if any(value is not None for value in manner.values()):
        raise InputError("a VITA-Audio model draws tokens: it knows no --guidance and no --steps", hint="leave it out")
    return lambda text, seed: speaker.speak(text, own, seed=seed)
