"""`loquor bench`: how fast a model is on this machine."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loquor.cli.console import JsonOption, examples, print_json, print_table
from loquor.cli.operate import DtypeOption

if TYPE_CHECKING:
    from loquor.evaluation.speed.bench import Bench, Options
    from loquor.evaluation.speed.protocol import Measurement, Round, Subject

logger = logging.getLogger(__name__)

EXAMPLES = examples(
    "loquor bench --shape realtime-0.5b --threads 1 --threads 2 --memory",
    "loquor bench embedded --against ./my-voice --streams 1",
    "loquor bench ./VITA-Audio-Boost --rounds 9 --threads 1 --threads 2",
    "loquor bench --shape longform-1.5b --length 10",
    "loquor bench --shape realtime-0.5b --trace frame.json --plot frame.svg",
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
        "realtime-0.5b, longform-1.5b, vita-0.5b, vita-7b, or realtime-toy, longform-toy and vita-toy to try the "
        "command itself.",
    ),
]
Against = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="MODEL|JSON",
        help="Another model, or a shape, of the same family, which takes turns with it; or what --json printed "
        "earlier, of which only ratios are shown: times of another day are no comparison.",
    ),
]
Rounds = Annotated[int, typer.Option("--rounds", min=1, help="Quiet rounds to count; at most twice as many are tried.")]
Threads = Annotated[
    list[int] | None,
    typer.Option("--threads", min=1, help="Threads to compute with; may be given again.  [default: as torch has it]"),
]
Length = Annotated[
    int, typer.Option("--length", min=1, help="Tokens, or frames of each stream, that are counted of a go, at least.")
]
Backends = Annotated[
    list[str] | None,
    typer.Option(
        "--backend",
        help="Of Realtime models: torch or openvino; may be given again, the first is what others are compared with.  "
        "[default: all that are installed]",
    ),
]
Streams = Annotated[
    list[int] | None,
    typer.Option(
        "--streams",
        min=1,
        help="Streams that share the model at once; may be given again.  [default: of Realtime models 1, 2, 4 and 8, "
        "of others 1]",
    ),
]
Memory = Annotated[
    bool, typer.Option("--memory", help="Also the most memory of each subject, in a process of its own.")
]
Plot = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", help="Also draw parts, waits and throughput (svg, png, pdf)."),
]

TraceOption = Annotated[
    Path | None,
    typer.Option(
        "--trace",
        metavar="FILE.json",
        help="Of Realtime models, instead of rounds: what a frame is made of, operator by operator, as a trace for "
        "Chrome or Perfetto, with what reading the weights alone would take. --plot draws that.",
    ),
]


def register(app: typer.Typer) -> None:
    app.command("bench", epilog=EXAMPLES)(bench)


def bench(  # noqa: PLR0913, PLR0917 - a command's options
    model: Checkpoint = None,
    shape: ShapeOption = None,
    against: Against = None,
    rounds: Rounds = 5,
    threads: Threads = None,
    dtype: DtypeOption = None,
    length: Length = 56,
    backend: Backends = None,
    streams: Streams = None,
    memory: Memory = False,
    as_json: JsonOption = False,
    plot: Plot = None,
    trace: TraceOption = None,
) -> None:
    """Measure a model's speed.

    What is compared takes turns in one process, round after round: a figure is the median over rounds, a comparison
    the median of the ratios within each, with its range. Rounds that other programs disturbed are not counted. Of
    Realtime models: each backend, a stream alone and several at once. Of VITA-Audio: each schedule, only rows of audio
    computed where audio is said, and with all rows, against plain decoding.
    """
    name = model or shape
    if name is None or (model and shape):
        raise typer.BadParameter("name a model, or a --shape, not both", param_hint="MODEL")
    import torch

    from loquor.evaluation.speed.bench import Options
    from loquor.evaluation.speed.machine import facts
    from loquor.evaluation.speed.plot import plot as draw
    from loquor.evaluation.speed.protocol import measure
    from loquor.models import DTYPES

    chosen = DTYPES[dtype.value] if dtype else None
    options = Options(chosen, length, tuple(backend or ()), tuple(sorted(set(streams or ()))))
    if trace:
        _trace(name, options, (trace, plot), (threads or [1])[0], as_json)
        return
    then = _then(against)
    models = [name, against] if against and then is None else [name]
    found, alone = _found(models, options, is_shape=shape is not None)
    counts = threads or [torch.get_num_threads()]
    peaks = _peaks(found, alone, options, max(counts)) if memory else {}
    measurements = [measure(found.subjects, rounds, n, _tell) for n in counts]
    if plot:
        draw(found, measurements, plot)
    settings = {"machine": facts(), "settings": found.settings}
    if as_json:
        rest = {"claim": found.claim, "peak MiB": peaks} | ({"then": then} if then else {})
        print_json({**settings, **rest, "measurements": [m.as_dict() for m in measurements]})
        return
    typer.echo(", ".join(f"{key} {value}" for part in settings.values() for key, value in part.items()))
    for measurement in measurements:
        _print(found, measurement, peaks, _ratios(then, found.claim, measurement))


def _trace(name: str, options: Options, paths: tuple[Path, Path | None], threads: int, as_json: bool) -> None:
    """Trace a frame into a file, and perhaps a picture, and tell what it is made of."""
    from loquor import workers
    from loquor.checkpoints import write_text
    from loquor.evaluation.speed.trace import PARTS, chrome
    from loquor.evaluation.speed.trace_plot import draw
    from loquor.evaluation.speed.trace_realtime import traces_of

    with workers.threads(threads):
        traces = traces_of(name, options)
    found = chrome(traces)
    path, picture = paths
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(found) + "\n")
    if picture:
        draw(traces, picture)
    if as_json:
        print_json(found["frames"])
        return
    for trace in traces:
        typer.echo(f"\n{trace.title}, {trace.frames} frames, memory read at {trace.bandwidth / 1e9:.1f} GB/s")
        rows = []
        for part in PARTS:
            ms, bound, kinds = trace.ms(part), trace.bound_ms(part), trace.kinds(part)
            most = ", ".join(f"{kind} {kind_ms:.2f}" for kind, kind_ms in list(kinds.items())[:4])
            rest = [f"{trace.megabytes(part):.1f}", f"{bound:.2f}", f"{ms / bound:.1f}"]
            rows.append([part, f"{ms:.2f}", *rest, most, f"{list(kinds.values())[-1]:.2f}"])
        header = ["", "ms/frame", "weights, MB", "bound, ms", "times", "operators, ms", "between them, ms"]
        print_table(header, rows, numbers=(1, 2, 3, 4, 6))


def _found(models: Sequence[str], options: Options, is_shape: bool) -> tuple[Bench, list[tuple[str, Subject]]]:
    """What is measured, and each of its subjects as it is called alone, with its model."""
    from loquor.evaluation.speed.models import bench_of, bench_of_shape

    first, *others = models
    found = bench_of_shape(first, options) if is_shape else bench_of(first, options)
    alone = [(first, subject) for subject in found.subjects]
    for other in others:
        compared = bench_of(other, options)
        alone += [(other, subject) for subject in compared.subjects]
        found = found.against(compared, (first, other))
    return found, alone


def _peaks(
    found: Bench, alone: Sequence[tuple[str, Subject]], options: Options, threads: int
) -> dict[str, float | None]:
    """The most memory of each subject, in MiB."""
    from loquor.evaluation.speed.memory import peak_mib

    return {
        subject.name: peak_mib(model, options, own, threads)
        for subject, (model, own) in zip(found.subjects, alone, strict=True)
    }


def _then(against: str | None) -> dict[str, Any] | None:
    """An earlier measurement, if that is what is compared with; InputError if the file holds none."""
    if against is None or not against.endswith(".json"):
        return None
    from loquor.configs import read_json
    from loquor.errors import InputError

    found = read_json(Path(against))
    if "measurements" not in found:
        raise InputError(f"{against} holds no measurement", hint="give what `loquor bench --json` printed")
    return dict(found)


def _ratios(then: dict[str, Any] | None, claim: str, measurement: Measurement) -> dict[str, float]:
    """What the ratios of subjects were in an earlier measurement of as many threads."""
    threads = measurement.rounds[0].threads
    same = [m for m in then["measurements"] if m["threads"] == threads] if then else []
    return {
        subject: facts["ratios"][claim]["median"]
        for one in same
        for subject, facts in one["subjects"].items()
        if claim in facts["ratios"]
    }


def _tell(one: Round) -> None:
    """Somebody who waits hears of each round, with -v."""
    shares = "" if one.core_share is None else f", cores side by side do {one.core_share:.0%}"
    logger.info("%s round at load %s%s", "a quiet" if one.is_quiet else "a disturbed", one.load, shares)


def _print(
    found: Bench, measurement: Measurement, peaks: Mapping[str, float | None], then: Mapping[str, float]
) -> None:
    at = found.columns.index(found.claim) + 1
    times = [
        "times the other's" if measurement.than else f"times {measurement.subjects[0]}",
        *(["then"] if then else []),
    ]
    header = ["", *found.columns[:at], *times, *found.columns[at:], *(["peak, MiB"] if peaks else [])]
    rows = []
    for subject in measurement.subjects:
        cells = [f"{measurement.figure(subject, name).median:.4g}" for name in found.columns]
        ratio = measurement.ratio(subject, found.claim)
        shown = [f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})" if ratio else ""]
        shown += [f"{then[subject]:.2f}" if subject in then else ""] if then else []
        peak = [f"{value:.0f}" if (value := peaks[subject]) else ""] if peaks else []
        rows.append([subject, *cells[:at], *shown, *cells[at:], *peak])
    typer.echo(f"\n{_conditions(measurement)}")
    print_table(header, rows, numbers=range(1, len(header)))
    _print_percentiles(measurement)


def _print_percentiles(measurement: Measurement) -> None:
    """Of waits, if there are any."""
    rows = [
        [f"{subject}, {name}", *(f"{value:.4g}" for value in percentiles.values())]
        for subject, facts in measurement.as_dict()["subjects"].items()
        for name, percentiles in facts["percentiles"].items()
    ]
    if rows:
        typer.echo("")
        print_table(["", "p50", "p95", "p99", "count"], rows, numbers=range(1, 5))


def _conditions(measurement: Measurement) -> str:
    threads, counted = measurement.rounds[0].threads, len(measurement.counted)
    discarded = len(measurement.rounds) - counted
    loads: Sequence[float] = [r.load for r in measurement.counted if r.load is not None]
    text = f"{threads} thread{'s' * (threads > 1)}, {counted} round{'s' * (counted > 1)}, {discarded} not counted"
    if loads:
        text += f", load {min(loads):.1f} to {max(loads):.1f}"
    return text if measurement.quiet else f"{text}; none was quiet: close other programs"
