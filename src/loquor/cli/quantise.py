"""`loquor quantise`: fit codebooks to recordings, and so make a codec a discrete tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loquor.cli.bar import Part, terminal_bar
from loquor.cli.console import JsonOption, examples, print_json

if TYPE_CHECKING:
    from loquor.training.codebooks import FitProgress

Out = Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")]
DATA_HELP = "Conversations (.json, .jsonl, or a YAML that mixes several) whose recordings are to be said well."
Talks = Annotated[Path, typer.Option("--data", help=DATA_HELP)]
MODEL_HELP = "The Realtime model whose codec it is: a folder, or a hub repository.  [default: the embedded voice]"
Source = Annotated[str | None, typer.Option("--model", "-m", help=MODEL_HELP, show_default=False)]
Books = Annotated[
    int, typer.Option("--books", min=1, help="Codebooks: ids of a frame, of which there are 7.5 a second.")
]
Entries = Annotated[int, typer.Option("--entries", min=2, help="Entries of each.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Draws other entries to begin with.")]


def register(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "loquor quantise ./tokenizer --data ./talks.jsonl",
            "loquor quantise ./tokenizer --data ./talks.jsonl --books 4 --entries 1024",
        )
    )(quantise)


def quantise(  # noqa: PLR0913, PLR0917 - a command's options
    out: Out,
    data: Talks,
    model: Source = None,
    books: Books = 2,
    entries: Entries = 512,
    seed: Seed = 0,
    as_json: JsonOption = False,
) -> None:
    """Make the codec of a model a tokenizer that says speech in ids, fitted to the recordings of conversations.

    `loquor base --audio OUT` and `loquor train vita-alignment audio.folder=OUT` take it. The more books and entries,
    the closer to the recordings, and the more there is to say and to learn.
    """
    from loquor.engine.load import model_folder
    from loquor.models.speech_tokens.quantised import save_quantised
    from loquor.training.codebooks import codec_of, fit, recordings_of
    from loquor.training.vita.mixture import open_mixture

    recordings, codec = recordings_of(open_mixture(data, seed)), codec_of(model_folder(model))
    with terminal_bar(Part.bar, Part.count, "{task.description};", Part.time_left, "left") as bar:

        def draw(at: FitProgress) -> None:
            bar.show(at.work, at.done, at.total)

        fitted = fit(codec, recordings, books, entries, seed, draw)
    save_quantised(fitted.model, out)
    config = fitted.model.config
    facts = {
        "folder": str(out),
        "name": fitted.model.name,
        "ids": config.codebook_size,
        "ids_per_s": config.frame_rate_hz,
        "frames": fitted.frames,
        "variance_lost": fitted.left,
    }
    if as_json:
        print_json(facts)
    else:
        typer.echo(
            f"{out}: {config.codebook_size} ids, {config.frame_rate_hz:g} a second; of {fitted.frames} frames "
            f"{fitted.left:.1%} of the variance is lost"
        )
