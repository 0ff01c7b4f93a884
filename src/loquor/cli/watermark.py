"""`loquor watermark`: whether a recording was made here, by its sound and by what its file says."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loquor.cli.console import examples, print_json

if TYPE_CHECKING:
    from loquor.audio.watermark import Detection

NOT_FOUND = 3  # the exit code; 1 and 2 are errors
EXAMPLES = examples(
    "loquor watermark detect speech.mp3",
    "loquor watermark detect episode.wav --json",
)
File = Annotated[Path, typer.Argument(metavar="FILE", help="A recording, of any format that can be read.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]

app = typer.Typer(help="Find the mark in speech that was made here.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """A callback keeps the verb `detect`, which would else be the whole command."""


@app.command(epilog=EXAMPLES)
def detect(file: File, as_json: Json = False) -> None:
    """Tell whether a recording has Loquor's watermark, and where; 5 s of it suffice.

    Exit code 0: it has; 3: it was not found; 1: the file cannot be read. No mark is no proof that nobody generated it:
    it can be switched off, and other programs have other marks, or none.
    """
    from loquor.audio import read
    from loquor.audio.provenance import comment_of
    from loquor.audio.watermark import RATE_HZ, detect

    found, comment = detect(read(file, RATE_HZ), RATE_HZ), comment_of(file)
    if as_json:
        print_json({"file": str(file), **asdict(found), "comment": comment})
    else:
        typer.echo(f"{file}: {_line(found)}")
        typer.echo(f"its file says: {comment}" if comment else "its file says nothing")
    if not found.present:
        raise typer.Exit(NOT_FOUND)


def _line(found: Detection) -> str:
    if not found.present:
        return f"no watermark found (score {found.score:.1f})"
    where = ", ".join(f"{start:.1f} to {stop:.1f} s" for start, stop in found.spans_s)
    return f"has Loquor's watermark: it is generated speech (score {found.score:.1f}; {where})"
