"""`loquor chat`: a conversation with a model that listens and answers aloud: typed, recorded, or by microphone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loquor.cli.console import DeviceOption, WatermarkOption, examples, print_json
from loquor.cli.conversing import (
    MODEL_HELP,
    Decoding,
    DecodingOption,
    ModeOption,
    MostOption,
    TemperatureOption,
    TokenizerOption,
    mode_of,
    open_converser,
)

if TYPE_CHECKING:
    from loquor.engine.conversation import Conversation
    from loquor.engine.converser import Converser

DEFAULT_OUTPUT = "reply.wav"
EXAMPLES = examples(
    'loquor chat -m ./VITA-Audio-Boost "What is the capital of France?"',
    "loquor chat -m ./VITA-Audio-Boost @question.wav -o answer.wav",
    'loquor chat -m ./VITA-Audio-Boost "@song.wav Who sings this?" "And when was it?" --json',
    "loquor chat -m ./VITA-Audio-Boost --play",
    "loquor chat -m ./VITA-Audio-Boost --mic",
)
TURNS_HELP = (
    "What you say, turn by turn: text; @FILE, a recording; '@FILE TEXT', both.  "
    "[default: lines from standard input, as they come]"
)
Turns = Annotated[list[str] | None, typer.Argument(metavar="[TURN]...", help=TURNS_HELP, show_default=False)]
Model = Annotated[str, typer.Option("-m", "--model", help=MODEL_HELP)]
OUTPUT_HELP = (
    "File for the sound of the answer, of several answers numbered files: reply-1.wav; - streams 16-bit PCM to stdout, "
    f"and the text goes to stderr.  [default: {DEFAULT_OUTPUT}; with --play, --mic or --text-only, none]"
)
Output = Annotated[str | None, typer.Option("-o", "--output", help=OUTPUT_HELP)]
Play = Annotated[bool, typer.Option("--play", help="Play answers while they are made; with -o, write them too.")]
Mic = Annotated[bool, typer.Option("--mic", help="Listen to the microphone, and play answers, until Ctrl-C.")]
BARGE_IN_HELP = "With --mic: listen while answering, and stop when you speak. Use headphones, or it hears itself."
BargeIn = Annotated[bool, typer.Option("--barge-in", help=BARGE_IN_HELP)]
TextOnly = Annotated[bool, typer.Option("--text-only", help="Answers in text alone.")]
SYSTEM_HELP = "Who answers, and how.  [default: Luke, text and speech in turn, as published]"
System = Annotated[str | None, typer.Option("--system", metavar="TEXT", help=SYSTEM_HELP)]
HISTORY_HELP = 'What was said before: JSON as training data has it, {"messages": [...], "audios": [...]}.'
History = Annotated[Path | None, typer.Option("--history", metavar="FILE", help=HISTORY_HELP)]
Seed = Annotated[int, typer.Option("--seed", help="The same seed gives the same answers; 0 to 2^63 - 1.")]
Json = Annotated[bool, typer.Option("--json", help="Print answers and figures as JSON, at the end.")]


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLES)(chat)


def chat(  # noqa: PLR0913, PLR0917 - an argument for each thing a user may say
    model: Model,
    turns: Turns = None,
    audio_tokenizer: TokenizerOption = None,
    output: Output = None,
    play: Play = False,
    mic: Mic = False,
    barge_in: BargeIn = False,
    text_only: TextOnly = False,
    system: System = None,
    history: History = None,
    mode: ModeOption = None,
    decoding: DecodingOption = Decoding.trusting,
    temperature: TemperatureOption = None,
    max_tokens: MostOption = None,
    seed: Seed = 0,
    device: DeviceOption = "cpu",
    watermark: WatermarkOption = True,
    as_json: Json = False,
) -> None:
    """Converse with a VITA-Audio model.

    Answers are printed as they are made, and their sound is written or played. Every turn knows those before it.
    """
    _require_sense(turns, output, (mic, play, barge_in, text_only), as_json)
    from loquor.cli.answers import Answers, Outlet
    from loquor.cli.texts import typed_lines

    converser = open_converser(model, device, audio_tokenizer, watermark)
    conversation = _conversation(converser, system, history)
    manner: dict[str, Any] = {"temperature": temperature, "max_new_tokens": max_tokens, "seed": seed}
    manner |= {"mode": mode_of(mode), "decoding": decoding.value}
    target = output or (None if play or mic or text_only else DEFAULT_OUTPUT)
    outlet = Outlet(target, play or mic, is_numbered=len(turns or ()) != 1, prints=not as_json)
    answers = Answers(converser, conversation, manner, outlet, aloud=not text_only)
    if mic:
        from loquor.cli.spoken_turns import converse

        converse(answers, barge_in)
    else:
        for turn in turns or typed_lines():
            answers.answer(*question_of(turn))
    if as_json:
        print_json(answers.facts)


def _require_sense(
    turns: list[str] | None, output: str | None, ways: tuple[bool, bool, bool, bool], as_json: bool
) -> None:
    """BadParameter for options that exclude each other."""
    mic, play, barge_in, text_only = ways
    if mic and turns:
        raise typer.BadParameter("turns are spoken, not typed", param_hint="--mic")
    if barge_in and not mic:
        raise typer.BadParameter("it goes with --mic", param_hint="--barge-in")
    if text_only and (output or play or mic):
        raise typer.BadParameter("there is no sound to write or play", param_hint="--text-only")
    if as_json and output == "-":
        raise typer.BadParameter("stdout carries the sound already", param_hint="--json")


def question_of(turn: str) -> list[str | Path]:
    """What a turn asks: `text`, `@FILE` or `@FILE text`."""
    if not turn.startswith("@"):
        return [turn]
    whole = Path(turn[1:].strip())
    if whole.is_file():
        return [whole]
    file, _, text = turn[1:].partition(" ")
    return [text.strip(), Path(file)] if text.strip() else [Path(file)]


def _conversation(converser: Converser, system: str | None, history: Path | None) -> Conversation:
    """An empty one, or that of a file; a file may begin with its own system turn."""
    import json

    from loquor.engine.conversation import Conversation
    from loquor.errors import InputError

    conversation = Conversation() if system is None else Conversation(system)
    if history is None:
        return conversation
    from loquor.training.vita.conversations import read_conversation

    try:
        values = json.loads(history.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {history}: {error}", hint="--history wants a JSON file") from None
    try:
        turns = read_conversation(values, history.parent).turns
    except InputError as error:
        raise InputError(f"{history}: {error}", hint=error.hint) from None
    if turns[0].role == "system" and system is None:
        conversation.system = ""
    for turn in turns:
        parts = [part if isinstance(part, str) else converser.hear(part, turn.role) for part in turn.parts]
        conversation.add(turn.role, *parts)
    return conversation
