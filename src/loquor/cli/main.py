"""The verbs of `loquor`, and what every command shares: errors in two lines, exit codes, logging.

Nothing heavy is imported here or at the top of a command's module, so that `--help` answers at once.
"""

from __future__ import annotations

import gc
import logging
import sys
from typing import Annotated

import typer

from loquor.cli import (
    bench,
    chat,
    data,
    distil,
    evaluate,
    interruption,
    keys,
    listen,
    operate,
    optimize,
    podcast,
    quantise,
    serve,
    speak,
    talk,
    train,
    transcribe,
    verify,
    vita_base,
    voices,
    watermark,
)
from loquor.cli.console import examples
from loquor.errors import LoquorError

START_OBJECTS = 250_000  # more than torch and we are made of

app = typer.Typer(
    name="loquor",
    help="Speech language models that speak, on your machine.",
    epilog=examples(
        'loquor speak "Good morning."',
        "loquor voices list",
        "loquor doctor",
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain text: the same with and without colour, and no slow import
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
speak.register(app)
talk.register(app)
chat.register(app)
transcribe.register(app)
podcast.register(app)
serve.register(app)
app.add_typer(keys.app, name="keys")
app.add_typer(voices.app, name="voices")
app.add_typer(data.app, name="data")
app.add_typer(watermark.app, name="watermark")
train.register(app)
quantise.register(app)
vita_base.register(app)
distil.register(app)
evaluate.register(app)
listen.register(app)
operate.register(app)
optimize.register(app)
bench.register(app)
verify.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        import loquor

        typer.echo(f"loquor {loquor.__version__}")
        raise typer.Exit


@app.callback()
def common(
    verbose: Annotated[
        int,
        typer.Option("-v", "--verbose", count=True, show_default=False, help="Say more on stderr; -vv, everything."),
    ] = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only errors on stderr, no progress bar.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    levels = [logging.WARNING, logging.INFO, logging.DEBUG]
    level = logging.ERROR if quiet else levels[min(verbose, 2)]
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines("%(levelname)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))  # other libraries are quieter than we
    logging.getLogger("loquor").setLevel(level)


class _Lines(logging.Formatter):
    """`warning: message`, as errors are printed."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return super().formatMessage(record).replace(record.levelname, record.levelname.lower(), 1)


def run() -> None:
    """The `loquor` command. Exit codes: 0 done, 1 our error or a failed check, 2 usage, 128 + n ended by signal n."""
    gc.set_threshold(START_OBJECTS)  # what starting makes stays: searching it for garbage takes a tenth of the start
    interruption.listen()
    try:
        app(prog_name="loquor")
    except LoquorError as error:
        if not interruption.told:
            print(f"error: {error}", file=sys.stderr)
            if error.hint:
                print(f"hint: {error.hint}", file=sys.stderr)
            sys.exit(1)
    except Exception:
        if not interruption.told:
            raise
    if interruption.told:
        sys.exit(interruption.exit_code())
