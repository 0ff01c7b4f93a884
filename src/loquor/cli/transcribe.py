"""`loquor transcribe`: recordings to text, by a VITA-Audio model or by the recogniser that comes in a package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from loquor.cli.console import DeviceOption, JsonOption, ModelOption, examples, print_json
from loquor.cli.conversing import TokenizerOption, open_converser

EXAMPLES = examples(
    "loquor transcribe interview.mp3",
    "loquor transcribe *.wav --json",
    "loquor transcribe question.wav -m ./VITA-Audio-Boost",
)
Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recordings, of any format that can be read.")]
MODEL_HELP = "A VITA-Audio model: a folder, or a hub repository.  [default: Moonshine tiny, English only]"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLES)(transcribe)


def transcribe(
    files: Files,
    model: ModelOption = None,
    audio_tokenizer: TokenizerOption = None,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Write down what is said in recordings, a line for each; with several, the file's name stands before it."""
    if audio_tokenizer and not model:
        raise typer.BadParameter("it goes with -m MODEL", param_hint="--audio-tokenizer")
    write_down = _converser(model, device, audio_tokenizer) if model else _moonshine()
    done = []
    for file in files:
        transcript = Transcript(str(file), write_down(file))
        done.append(transcript)
        if not as_json:
            typer.echo(f"{file}: {transcript.text}" if len(files) > 1 else transcript.text)
    if as_json:
        print_json([asdict(transcript) for transcript in done])


@dataclass(frozen=True)
class Transcript:
    """What `--json` prints of a file."""

    file: str
    text: str


def _converser(model: str, device: str, audio_tokenizer: str | None) -> Callable[[Path], str]:
    return open_converser(model, device, audio_tokenizer).transcribe


def _moonshine() -> Callable[[Path], str]:
    from loquor.audio import read
    from loquor.evaluation.long_recordings import InPieces
    from loquor.evaluation.transcriber import Moonshine

    transcriber, rate_hz = InPieces(Moonshine()), Moonshine.SAMPLE_RATE_HZ
    return lambda file: transcriber.transcribe(read(file, rate_hz), rate_hz)
