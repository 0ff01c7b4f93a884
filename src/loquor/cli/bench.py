"""`loquor bench`: how fast a model is on this machine."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loquor.cli.console import examples, print_json, print_table
from loquor.cli.operate import DtypeOption

if TYPE_CHECKING:
    from loquor.evaluation.speed.bench import Bench
    from loquor.evaluation.speed.protocol import Measurement, Round

logger = logging.getLogger(__name__)

EXAMPLES = examples(
    "loquor bench --shape realtime-0.5b --threads 1 --threads 2",
    "loquor bench --shape vita-0.5b",
    "loquor bench ./VITA-Audio-Boost --rounds 9 --threads 1 --threads 2",
    "loquor bench --shape vita-0.5b --json --plot bench.svg > bench.json",
)

Checkpoint = Annotated[
    str | None, typer.Argument(metavar="[MODEL]", help="A model folder, or a hub repository org/name[@rev].")
]
ShapeOption = Annotated[
    str | None,
    typer.Option(
        "--shape",
        metavar="NAME",
        help="Instead of a model, one of this shape with random weights, the same arithmetic without a download: "
        "realtime-0.5b, vita-0.5b, vita-7b, or realtime-toy and vita-toy to try the command itself.",
    ),
]
Rounds = Annotated[int, typer.Option("--rounds", min=1, help="Quiet rounds to count; at most twice as many are tried.")]
Threads = Annotated[
    list[int] | None,
    typer.Option("--threads", min=1, help="Threads to compute with; may be given again.  [default: as torch has it]"),
]
Length = Annotated[int, typer.Option("--length", min=1, help="Tokens, or frames, that are counted of a go, at least.")]
Backends = Annotated[
    list[str] | None,
    typer.Option(
        "--backend",
        help="Of Realtime models: torch or openvino; may be given again, the first is what others are compared with.  "
        "[default: all that are installed]",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, every round in it.")]
Plot = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Also draw the parts as stacked bars (svg, png, pdf).")
]


def register(app: typer.Typer) -> None:
    app.command("bench", epilog=EXAMPLES)(bench)


def bench(  # noqa: PLR0913, PLR0917 - a command's options
    model: Checkpoint = None,
    shape: ShapeOption = None,
    rounds: Rounds = 5,
    threads: Threads = None,
    dtype: DtypeOption = None,
    length: Length = 56,
    backend: Backends = None,
    as_json: Json = False,
    plot: Plot = None,
) -> None:
    """Measure a model's speed.

    What is compared takes turns in one process, round after round: a figure is the median over rounds, a comparison
    the median of the ratios within each, with its range. Rounds that other programs disturbed are not counted. Of
    Realtime models: each backend, a stream alone and eight at once. Of VITA-Audio: each schedule, only rows of audio
    computed where audio is said, and with all rows, against plain decoding.
    """
    if (model is None) == (shape is None):
        raise typer.BadParameter("name a model, or a --shape, not both", param_hint="MODEL")
    import torch

    from loquor.engine.load import model_folder
    from loquor.evaluation.speed.machine import facts
    from loquor.evaluation.speed.models import bench_of_folder, bench_of_shape
    from loquor.evaluation.speed.plot import plot as draw
    from loquor.evaluation.speed.protocol import measure

    chosen = dtype and dtype.value
    found = (
        bench_of_shape(shape, chosen, length, backend or ())
        if shape
        else bench_of_folder(model_folder(model), chosen, length, backend or ())
    )
    measurements = [measure(found.subjects, rounds, n, _tell) for n in threads or [torch.get_num_threads()]]
    if plot:
        draw(found, measurements, plot)
    if as_json:
        print_json(
            {"machine": facts(), "settings": found.settings, "measurements": [m.as_dict() for m in measurements]}
        )
        return
    typer.echo(", ".join(f"{name} {value}" for name, value in {**facts(), **found.settings}.items()))
    for measurement in measurements:
        _print(found, measurement)


def _tell(one: Round) -> None:
    """Somebody who waits hears of each round, with -v."""
    shares = "" if one.core_share is None else f", cores side by side do {one.core_share:.0%}"
    logger.info("%s round at load %s%s", "a quiet" if one.is_quiet else "a disturbed", one.load, shares)


def _print(found: Bench, measurement: Measurement) -> None:
    first, at = measurement.subjects[0], found.columns.index(found.claim) + 1
    header = ["", *found.columns[:at], f"times {first}", *found.columns[at:]]
    rows = []
    for subject in measurement.subjects:
        cells = [f"{measurement.figure(subject, name).median:.4g}" for name in found.columns]
        ratio = measurement.ratio(subject, found.claim)
        times = f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})" if ratio else ""
        rows.append([subject, *cells[:at], times, *cells[at:]])
    typer.echo(f"\n{_conditions(measurement)}")
    print_table(header, rows, numbers=range(1, len(header)))


def _conditions(measurement: Measurement) -> str:
    threads, counted = measurement.rounds[0].threads, len(measurement.counted)
    discarded = len(measurement.rounds) - counted
    loads: Sequence[float] = [r.load for r in measurement.counted if r.load is not None]
    text = f"{threads} thread{'s' * (threads > 1)}, {counted} round{'s' * (counted > 1)}, {discarded} not counted"
    if loads:
        text += f", load {min(loads):.1f} to {max(loads):.1f}"
    return text if measurement.quiet else f"{text}; none was quiet: close other programs"
