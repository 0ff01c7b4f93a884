"""`loquor talk`: speak what a language model writes, while it writes it; or what arrives on standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from loquor.cli import interruption
from loquor.cli.console import MODEL_HELP, DeviceOption, WatermarkOption, examples
from loquor.cli.conversing import TokenizerOption
from loquor.cli.optimize import Backend, BackendOption, load_speaker
from loquor.cli.speak import OUTPUT_HELP as SPEAK_OUTPUT_HELP
from loquor.cli.speak import VOICE_HELP, comment, spoken

if TYPE_CHECKING:
    from loquor.audio import Sink
    from loquor.cli.answers import Outlet
    from loquor.cli.language_model import LanguageModel, Message
    from loquor.cli.telling import Telling
    from loquor.engine.load import AnySpeaker

EXAMPLES = examples(
    "some-language-model | loquor talk",
    'loquor talk --llm http://localhost:11434/v1 --model llama3.2 "Why is the sky blue?"',
    "loquor talk --llm http://localhost:11434/v1 --model llama3.2",
    'loquor talk --llm https://api.openai.com/v1 --model gpt-5-mini -o answer.mp3 "Tell me a story."',
)
PLAIN = (
    "Your answer is read aloud while you write it. Answer in short plain sentences, as one speaks: no headings, no "
    "lists, no tables, no code, no symbols and no emojis."
)
PROMPT_HELP = "What to ask.  [default: lines from standard input, each a turn that knows those before it]"
LLM_HELP = (
    "Where the language model is: a server with OpenAI's chat interface, such as http://localhost:11434/v1 (Ollama). "
    "Its key, if it wants one, is taken from $OPENAI_API_KEY.  [default: standard input is spoken as it arrives]"
)
SYSTEM_HELP = "What the language model is told first.  [default: to write as one speaks]"
OUTPUT_HELP = SPEAK_OUTPUT_HELP.partition("  [default")[0] + (
    " Of several answers there are numbered files: reply-1.wav.  [default: none, it is played]"
)

Prompt = Annotated[str | None, typer.Argument(metavar="[PROMPT]", help=PROMPT_HELP, show_default=False)]
Llm = Annotated[str | None, typer.Option("--llm", metavar="URL", help=LLM_HELP)]
ModelName = Annotated[str | None, typer.Option("--model", metavar="NAME", help="Which of the server's models.")]
System = Annotated[str | None, typer.Option("--system", metavar="TEXT", help=SYSTEM_HELP)]
SpeechModel = Annotated[str | None, typer.Option("-m", "--speech-model", help=MODEL_HELP)]
VoiceName = Annotated[str, typer.Option("--voice", help=VOICE_HELP)]
Output = Annotated[str | None, typer.Option("-o", "--output", help=OUTPUT_HELP)]
Play = Annotated[bool, typer.Option("--play", help="With -o: play it too.")]
Seed = Annotated[int, typer.Option("--seed", help="The same seed says it the same way; 0 to 2^63 - 1.")]


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLES)(talk)


def talk(  # noqa: PLR0913, PLR0917 - an argument for each thing a user may say
    prompt: Prompt = None,
    llm: Llm = None,
    model: ModelName = None,
    system: System = None,
    speech_model: SpeechModel = None,
    audio_tokenizer: TokenizerOption = None,
    voice: VoiceName = "default",
    output: Output = None,
    play: Play = False,
    seed: Seed = 0,
    device: DeviceOption = "cpu",
    backend: BackendOption = Backend.auto,
    watermark: WatermarkOption = True,
) -> None:
    """Speak what a language model writes, while it writes it.

    Words are shown as they are heard. Ctrl-C stops an answer at once; in a conversation the next turn begins, and what
    was not heard is forgotten: the language model knows what you heard of it.
    """
    _require_sense(prompt, llm, model, system)
    from loquor.cli.answers import Outlet
    from loquor.cli.language_model import LanguageModel
    from loquor.cli.texts import argument_text, piped_text, typed_lines

    asked = LanguageModel(llm, model or "") if llm else None
    speaker = load_speaker(speech_model, device, None, audio_tokenizer, watermark, backend)
    outlet = Outlet(output, play or output is None, is_numbered=bool(llm) and prompt is None, prints=True)
    mouth = Mouth(speaker, voice, seed, outlet)
    if asked is None:
        mouth.say(piped_text(), mouth.telling())
        return
    conversation = Conversation(asked, mouth, PLAIN if system is None else system)
    if prompt is not None:
        conversation.answer(argument_text(prompt))
        return
    for line in typed_lines():
        conversation.turn(line)


def _require_sense(prompt: str | None, llm: str | None, model: str | None, system: str | None) -> None:
    if llm and model is None:
        raise typer.BadParameter("which of the server's models?", param_hint="--model")
    for value, name in ((prompt, "PROMPT"), (model, "--model"), (system, "--system")):
        if value is not None and llm is None:
            raise typer.BadParameter("it goes with --llm", param_hint=name)


@dataclass
class Mouth:
    """Says one text after the other."""

    speaker: AnySpeaker
    voice: str
    seed: int
    outlet: Outlet
    said: int = 0

    def __post_init__(self) -> None:
        """Raises at once what would make every answer fail: a file that cannot be written."""
        from loquor.audio.sink import require_writable

        first = self.outlet.file(1)
        if first not in (None, "-"):
            require_writable(str(first), self.speaker.sample_rate_hz)

    def telling(self) -> Telling:
        """Knows what becomes of a text that is given to `say` with it."""
        from loquor.cli.telling import Telling

        return Telling(self.speaker.sample_rate_hz, self.outlet.print)

    def say(self, pieces: Iterable[str], telling: Telling) -> None:
        """A text to its last sample; InputError if it holds nothing that can be spoken."""
        from loquor.errors import InputError

        file = self.outlet.file(self.said + 1)
        with ExitStack() as stack:
            stack.enter_context(telling.following())
            sinks = self._loudspeaker(stack, telling)
            settings = {"guidance": None, "steps": None, "seed": self.seed}
            stream = spoken(self.speaker, telling.noted(pieces), self.voice, settings)
            for chunk in stack.enter_context(closing(stream)):  # type: ignore[type-var]
                if not telling.seconds and file:  # an answer without a word leaves no file
                    sinks = [*sinks, self._file(stack, file)]
                telling.hear(chunk)
                for sink in sinks:
                    sink.write(chunk.waveform.cpu().numpy())
            if not telling.seconds:
                raise InputError("there was nothing that can be spoken", hint="was it empty?")
        self.said += 1
        self.outlet.print("" if telling.text.endswith("\n") else "\n")
        if file not in (None, "-"):
            typer.echo(f"{file}: {telling.seconds:.2f} s of speech", err=True)

    def _loudspeaker(self, stack: ExitStack, telling: Telling) -> list[Sink]:
        from loquor.cli.player import open_player

        if self.outlet.plays:
            telling.player = stack.enter_context(open_player(self.speaker.sample_rate_hz))
        return [telling.player] if telling.player else []

    def _file(self, stack: ExitStack, file: str) -> Sink:
        from loquor.audio import open_sink

        note = comment(self.speaker, self.voice)
        return stack.enter_context(open_sink(file, self.speaker.sample_rate_hz, comment=note))


@dataclass
class Conversation:
    """Questions to a language model, and its answers as far as they were heard."""

    model: LanguageModel
    mouth: Mouth
    system: str
    turns: list[Message] = field(default_factory=list)

    def turn(self, question: str) -> None:
        """An answer in a conversation: on a terminal neither Ctrl-C nor a mistake ends it."""
        from loquor.errors import LoquorError

        if not sys.stdin.isatty():
            self.answer(question)
            return
        try:
            with interruption.forgiven(lambda: self.mouth.outlet.print(" ...\n")):
                self.answer(question)
        except LoquorError as error:
            typer.echo(f"error: {error}" + (f"\nhint: {error.hint}" if error.hint else ""), err=True)

    def answer(self, question: str) -> None:
        """One answer, aloud. A question of whose answer nothing was heard is forgotten."""
        asked = {"role": "user", "content": question}
        told = [{"role": "system", "content": self.system}] if self.system else []
        reply = self.model.ask([*told, *self.turns, asked])
        telling = self.mouth.telling()
        is_whole = False
        try:
            self.mouth.say(reply, telling)
            is_whole = True
        finally:
            reply.stop()
            heard = telling.text if is_whole else telling.heard
            if heard.strip():
                self.turns += [asked, {"role": "assistant", "content": heard}]
