"""Answers as `loquor chat` gives them: text as it comes, sound into a file, a pipe or the loudspeaker, and figures."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from loquor.audio import Sink, open_sink
from loquor.audio.provenance import Provenance
from loquor.audio.sink import require_writable
from loquor.cli.player import Player, open_player

if TYPE_CHECKING:
    from loquor.engine.conversation import Conversation
    from loquor.engine.converser import Converser
    from loquor.engine.hearing import Audio
    from loquor.engine.reply import Reply


@dataclass(frozen=True)
class Outlet:
    """Where answers go."""

    target: str | None  # a file, - for stdout, or nowhere
    plays: bool
    is_numbered: bool  # a file for each answer
    prints: bool

    def file(self, number: int) -> str | None:
        """Of the answer of that number, the first being 1."""
        if self.target in (None, "-") or not self.is_numbered:
            return self.target
        path = Path(str(self.target))
        return str(path.with_stem(f"{path.stem}-{number}"))

    def print(self, text: str) -> None:
        """Some characters of an answer, at once; to stderr where stdout carries the sound."""
        if self.prints:
            print(text, end="", flush=True, file=sys.stderr if self.target == "-" else sys.stdout)


class Answers:
    """Asks one question after the other, and hands the answers out."""

    def __init__(
        self,
        converser: Converser,
        conversation: Conversation,
        manner: Mapping[str, Any],
        outlet: Outlet,
        aloud: bool,
    ) -> None:
        """Raises at once what would make every answer fail: no audio tokenizer, a file that cannot be written."""
        self.converser, self.conversation, self.manner = converser, conversation, manner
        self.outlet, self.aloud = outlet, aloud
        self.facts: list[dict[str, Any]] = []
        first = outlet.file(1)
        if aloud and first not in (None, "-"):
            require_writable(str(first), converser.sample_rate_hz)

    def ask(self, *question: str | Audio) -> Reply:
        """The reply to a question, which the conversation then holds."""
        return self.converser.chat(*question, history=self.conversation, aloud=self.aloud, **self.manner)

    def answer(self, *question: str | Audio) -> None:
        """A whole answer, to its last sample."""
        reply = self.ask(*question)
        file = self.outlet.file(len(self.facts) + 1) if self.aloud else None
        with ExitStack() as stack:
            sinks: list[Sink] = []
            for chunk in reply:
                self.outlet.print(chunk.text)
                if len(chunk.waveform) and not sinks:  # a text answer leaves no file
                    sinks = self._open(stack, file)
                for sink in sinks:
                    sink.write(chunk.waveform.cpu().numpy())
            self.outlet.print("\n")
        self.report(reply, file if sinks else None)

    def _open(self, stack: ExitStack, file: str | None) -> list[Sink]:
        rate_hz, comment = self.converser.sample_rate_hz, Provenance(self.converser.name).comment
        sinks: list[Sink] = [stack.enter_context(open_sink(file, rate_hz, comment=comment))] if file else []
        player: list[Player] = [stack.enter_context(open_player(rate_hz))] if self.outlet.plays else []
        return [*sinks, *player]

    def report(self, reply: Reply, file: str | None) -> None:
        """Note the figures of a reply that is over."""
        reply.tell_of_limits()
        stream = reply.stream
        self.facts.append(
            {
                "text": reply.text,
                "finish": reply.finish,
                "file": None if file == "-" else file,
                "sample_rate_hz": self.converser.sample_rate_hz if self.aloud else None,
                "seconds": reply.seconds,
                "first_audio_ms": reply.first_audio_ms,
                "compute_s": reply.compute_s,
                "tokens": len(stream.tokens),
                "main_passes": stream.main_passes,
                "module_passes": stream.module_passes,
            }
        )
        if self.outlet.prints and file not in (None, "-"):
            first_ms = reply.first_audio_ms or 0.0
            typer.echo(f"{file}: {reply.seconds:.2f} s of speech, first audio after {first_ms:.0f} ms", err=True)
