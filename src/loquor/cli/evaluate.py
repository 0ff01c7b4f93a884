"""`loquor eval` and `loquor eval compare`: a system on test sets, and two systems on the same."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loquor.cli.bar import Part, terminal_bar
from loquor.cli.console import AdapterOption, JsonOption, examples, print_json, print_table
from loquor.cli.group import DefaultCommand, with_default

if TYPE_CHECKING:
    from loquor.evaluation.report import Figure
    from loquor.evaluation.sets import Item

EVAL_EXAMPLES = examples(
    "loquor eval --set sentences.txt",
    "loquor eval ./my-model --set seedtts_testset/en/meta.lst --workers 2 -o my-model-en",
    "loquor eval ./other-systems-wavs --set sentences.txt -o other",
    "loquor eval moonshine --set LibriSpeech/test-clean --task transcribe",
    "loquor eval predictions.jsonl --set llama_questions.jsonl",
    "loquor eval compare my-model-en/report.json other/report.json",
)
COMPARE_EXAMPLES = examples(
    "loquor eval compare before/report.json after/report.json",
    "loquor eval compare before/report.json after/report.json --json",
)
SYSTEM_HELP = (
    "What is evaluated: a model folder or hub repository org/name[@revision]; a folder of recordings that another "
    "system made, named by the items' ids; a .jsonl of {index, prediction}; a transcriber.  "
    "[default: the embedded voice]"
)
SET_HELP = (
    "A test set; may be given again. A text file of one sentence a line, a seed-tts-eval .lst, a folder in the layout "
    "of LibriSpeech, of LibriTTS or of recordings with a .txt beside each, or a .jsonl of VITA-Audio or Kimi-Audio."
)
TRANSCRIBER_HELP = "Who listens: moonshine, whisper:MODEL, or http://HOST:PORT/v1#MODEL."


class TaskName(StrEnum):
    """What `--task` knows."""

    speak = "speak"
    transcribe = "transcribe"
    answer = "answer"


class RuleName(StrEnum):
    """What `--rule` knows."""

    usual = "usual"
    wenet = "wenet"


SystemArgument = Annotated[str | None, typer.Argument(metavar="SYSTEM", help=SYSTEM_HELP, show_default=False)]
SetOption = Annotated[list[Path], typer.Option("--set", metavar="LIST", help=SET_HELP)]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="Gets report.json and report.html.")]
CacheOption = Annotated[
    Path | None, typer.Option("--cache", help="What is done is kept here.  [default: FOLDER/cache]", show_default=False)
]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes; latencies are fair with one.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Threads of each process.")]
TranscriberOption = Annotated[str, typer.Option("--transcriber", metavar="NAME", help=TRANSCRIBER_HELP)]
Like = Annotated[
    list[Path] | None, typer.Option("--like", metavar="FILE", help="A recording of whom it should sound like; again.")
]
Rule = Annotated[
    RuleName, typer.Option("--rule", help="How errors are counted; wenet: as in published tables of recognition.")
]
Language = Annotated[str, typer.Option("--language", help="Of the sets, such as en or fa.  [default: by its letters]")]
TaskOption = Annotated[
    TaskName | None, typer.Option("--task", help="What is asked of a set that leaves it open.  [default: speak]")
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first items of each set.")]
Voice = Annotated[str, typer.Option("--voice", help="A name from `loquor voices list`, or a voice's file.")]
Guidance = Annotated[float | None, typer.Option("--guidance", help="Guidance scale.  [default: the model's own]")]
Steps = Annotated[int | None, typer.Option("--steps", help="Solver steps per frame.  [default: the model's own]")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="Another seed is another take of each item.")]
Device = Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda, or auto.")]
Dtype = Annotated[str | None, typer.Option("--dtype", help="float32, bfloat16 or float16.  [default: the model's own]")]
Players = Annotated[int, typer.Option("--players", min=0, help="How many cases of the page can be heard, the worst.")]
First = Annotated[Path, typer.Argument(metavar="A", help="The report.json of a system.")]
Second = Annotated[Path, typer.Argument(metavar="B", help="That of another, on the same set.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(cls=with_default("run"), help="Evaluate a system on test sets.", add_help_option=False)
    group.command("run", cls=DefaultCommand, epilog=EVAL_EXAMPLES)(run)
    group.command("compare", epilog=COMPARE_EXAMPLES)(compare)
    app.add_typer(group, name="eval")


def run(  # noqa: PLR0913, PLR0917 - a command's options
    sets: SetOption,
    system: SystemArgument = None,
    output: Output = Path("evaluation"),
    cache: CacheOption = None,
    workers: Workers = 1,
    threads: Threads = 1,
    transcriber: TranscriberOption = "moonshine",
    rule: Rule = RuleName.usual,
    like: Like = None,
    language: Language = "",
    task: TaskOption = None,
    limit: Limit = None,
    voice: Voice = "default",
    guidance: Guidance = None,
    steps: Steps = None,
    seed: Seed = 0,
    device: Device = "cpu",
    dtype: Dtype = None,
    adapter: AdapterOption = None,
    players: Players = 30,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a system on test sets: is it understood, whose voice is it, how does it sound, how fast is it?

    Writes a page for people and a report for machines. What is done is kept: a run that was ended goes on, and one that
    is repeated takes no time. `loquor eval compare A B` compares two reports.
    """
    from loquor.evaluation.choices import Choices
    from loquor.evaluation.page import write_page
    from loquor.evaluation.run import Options, Progress, evaluate

    choices = Choices(system, voice, guidance, steps, seed, device, dtype, tuple(adapter or ()))
    options = Options(cache or output / "cache", workers, threads, transcriber, tuple(like or ()), rule.value)
    items = _items(sets, language, task, limit)
    with terminal_bar("{task.description:10}", Part.bar, Part.count, Part.time_left) as bar:

        def draw(at: Progress) -> None:
            bar.show(at.stage, at.done, at.total)

        report = evaluate(choices, items, options, draw)
    report.options["sets"] = [str(path) for path in sets]
    report.save(output / "report.json")
    write_page(report, output / "report.html", players)
    if as_json:
        print_json({name: value for name, value in report.as_dict().items() if name != "cases"})
        return
    print_table(("", "", "95 % interval", "items"), [_row(name, f) for name, f in report.figures.items()], (1, 3))
    typer.echo(f"{output / 'report.html'}")


def _items(sets: list[Path], language: str, task: TaskName | None, limit: int | None) -> list[Item]:
    """The items of all sets; of several, each is named by its set as well."""
    from dataclasses import replace

    from loquor.evaluation.sets import read_set

    items: list[Item] = []
    for number, path in enumerate(sets, start=1):
        found = read_set(path, language, task.value if task else None, limit)
        items += found if len(sets) == 1 else [replace(item, id=f"{number}-{item.id}") for item in found]
    return items


def _row(name: str, figure: Figure) -> tuple[str, str, str, str]:
    from loquor.evaluation.report import in_words, measure_of

    measure, share = measure_of(name)
    between = ""
    if figure.low is not None and figure.high is not None:
        between = f"{in_words(name, figure.low)} to {in_words(name, figure.high)}"
    label = f"{measure.label}, {share}" if share else measure.label
    unit = f" {measure.unit}" if measure.unit else ""
    return (label, in_words(name, figure.value) + unit, between, str(figure.count))


def compare(first: First, second: Second, as_json: JsonOption = False) -> None:
    """Compare two systems on the items that both were given.

    Differences are B less A, with 95 % intervals. p is the chance of a difference so large if the systems were alike,
    by a randomisation test over items, adjusted for the number of lines (Holm). A * stands where it is below 5 %.
    """
    from loquor.evaluation.comparison import compare as compared
    from loquor.evaluation.report import Report

    found = compared(Report.read(first), Report.read(second))
    if as_json:
        print_json(found.as_dict())
        return
    from loquor.evaluation.report import in_words, measure_of

    rows = []
    for contrast in found.contrasts:
        measure, _ = measure_of(contrast.name)
        numbers = (contrast.first, contrast.second, contrast.difference)
        a, b, apart = (in_words(contrast.name, number) for number in numbers)
        between = f"{in_words(contrast.name, contrast.low)} to {in_words(contrast.name, contrast.high)}"
        label = f"{measure.label} [{measure.unit}]" if measure.unit else measure.label
        mark = " *" if contrast.is_significant else ""
        rows.append((label, a, b, apart, between, f"{contrast.p:.3f}{mark}", str(contrast.count)))
    print_table(("", "A", "B", "B - A", "95 % interval", "p", "items"), rows, (1, 2, 3, 6))
    for note in found.notes:
        typer.echo(f"note: {note}")
