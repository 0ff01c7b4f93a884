"""`loquor distil`: train the encoder that a Realtime model was published without."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loquor.cli.bar import Part, terminal_bar
from loquor.cli.console import JsonOption, examples, print_json
from loquor.cli.train import Device, Place

if TYPE_CHECKING:
    from loquor.training.distillation import DistilProgress

Source = Annotated[str, typer.Argument(metavar="MODEL", help="A Realtime model folder, or a hub repository.")]
Out = Annotated[
    Path, typer.Argument(metavar="OUT", help="The folder of the run; the model with its encoder is OUT/model.")
]
TAKES_HELP = "How many sentences the model says to learn from, in all its voices; a tenth of them only measures."
TakeCount = Annotated[int, typer.Option("--takes", min=2, help=TAKES_HELP)]
TEXTS_HELP = "Sentences to say, one a line, over and over.  [default: English ones of everyday life]"
Texts = Annotated[Path | None, typer.Option("--texts", help=TEXTS_HELP)]
Steps = Annotated[int, typer.Option("--steps", min=1, help="Training steps of 8 excerpts of 16 frames.")]
RECORDINGS_HELP = (
    "A folder of recordings of many speakers to learn from as well: without it the encoder knows no other sounds than "
    "the model's own. A tenth of them, and a single file, only measure."
)
Recorded = Annotated[Path | None, typer.Option("--recordings", help=RECORDINGS_HELP)]
Seed = Annotated[int, typer.Option("--seed", help="Draws other weights and excerpts.")]


def register(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "loquor distil ./VibeVoice-Realtime-0.5B ./hearing --recordings ./recordings",
            "loquor distil ./VibeVoice-Realtime-0.5B ./hearing --texts sentences.txt --takes 500 --steps 5000",
            'loquor voices create ada --for realtime -m ./hearing/model --audio ada.wav --consent "Ada agreed, 3 May"',
        )
    )(distil)


def distil(  # noqa: PLR0913, PLR0917 - a command's options
    model: Source,
    out: Out,
    recordings: Recorded = None,
    takes: TakeCount = 128,
    texts: Texts = None,
    steps: Steps = 1000,
    seed: Seed = 0,
    device: Device = Place.auto,
    as_json: JsonOption = False,
) -> None:
    """Train an encoder for a Realtime model that came without one (experimental).

    The model says sentences; from what its decoder makes of them the encoder learns to tell their latents, and from
    recordings, to give latents that sound like them. With it the model makes voices of recordings and prepares data for
    training. All else stays as it is. A run that was killed goes on when the same command is repeated.
    """
    from dataclasses import asdict

    from loquor.engine.load import model_folder
    from loquor.training.distillation import DistilSettings
    from loquor.training.distillation import distil as distilled
    from loquor.training.export import MODEL

    sentences = _sentences(texts, takes, seed)
    settings = DistilSettings(sentences, recordings, steps, seed)
    with terminal_bar(Part.bar, Part.count, "{task.description}{task.fields[loss]};", Part.time_left, "left") as bar:

        def draw(at: DistilProgress) -> None:
            bar.show(at.work, at.done, at.total, loss="" if math.isnan(at.loss) else f", loss {at.loss:.4f}")

        training = distilled(model_folder(model), out, settings, device.value, draw)
    with training.averaged():
        figures = {name: value for name, value in asdict(training.figures()).items() if value is not None}
    if as_json:
        print_json({"model": str(out / MODEL)} | figures)
        return
    typer.echo(out / MODEL)
    for name, value in figures.items():
        typer.echo(f"{name.replace('_', ' ')}: {value:.3f}")


def _sentences(texts: Path | None, count: int, seed: int) -> tuple[str, ...]:
    """`count` sentences, drawn from our grammar or from a file, which begins anew at its end."""
    from itertools import cycle, islice

    from loquor.cli.texts import file_text
    from loquor.errors import InputError
    from loquor.training.sentences import everyday_sentences

    if texts is None:
        return tuple(islice(everyday_sentences(seed), count))
    lines = [line.strip() for line in file_text(str(texts)).splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{texts} holds no sentence", hint="write one on each line")
    return tuple(islice(cycle(lines), count))
