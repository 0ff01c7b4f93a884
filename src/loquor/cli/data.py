"""`loquor data`: recordings and their texts become a data set that recipes train on."""

from __future__ import annotations

import logging
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loquor.cli.bar import Part, terminal_bar
from loquor.cli.console import MODEL_HELP, JsonOption, examples, print_json, print_table

if TYPE_CHECKING:
    from loquor.audio.resample import Waveform
    from loquor.training.dataset.build import Runner
    from loquor.training.dataset.preparation import TranscriptCheck
    from loquor.training.dataset.report import Report

logger = logging.getLogger(__name__)

KEPT = "items, {task.fields[kept]} kept, {task.fields[hours]:.2f} h;"

app = typer.Typer(
    help="Prepare recordings and their texts for training.",
    no_args_is_help=True,
    epilog=examples(
        "loquor data prepare ./LJSpeech-1.1 ./prepared --language en --speaker linda --workers 8",
        "loquor data show ./prepared",
        "loquor data dropped ./prepared --reason pace",
    ),
)


class Layout(StrEnum):
    """What `--format` knows; the layouts themselves are in `loquor.training.dataset.sources`."""

    pairs = "pairs"
    jsonl = "jsonl"
    ljspeech = "ljspeech"
    common_voice = "common-voice"
    datasets = "datasets"


class SplitBy(StrEnum):
    """What `--split-by` knows."""

    text = "text"
    speaker = "speaker"


class Place(StrEnum):
    """What `--device` knows."""

    cpu = "cpu"
    cuda = "cuda"


SourceArgument = Annotated[Path, typer.Argument(metavar="SOURCE", help="A folder, or a .jsonl or .parquet file.")]
Target = Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write; what is there is gone on with.")]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="What `loquor data prepare` has written.")]
Model = Annotated[str | None, typer.Option("-m", "--model", help=f"Whose codec encodes. {MODEL_HELP}")]
Format = Annotated[Layout | None, typer.Option("--format", help="The source's layout.  [default: as its files show]")]
Language = Annotated[str, typer.Option("--language", help="Such as en or fa, of items that do not tell theirs.")]
Speaker = Annotated[str, typer.Option("--speaker", help="Who speaks, in items that do not tell.")]
AsWritten = Annotated[bool, typer.Option("--as-written", help="Leave texts as they are: do not normalise them.")]
Level = Annotated[str, typer.Option("--level", metavar="DBFS|keep", help="RMS of every item; keep: as recorded.")]
Shortest = Annotated[float, typer.Option("--shortest", help="Seconds of sound; less is dropped.")]
Longest = Annotated[float, typer.Option("--longest", help="Seconds of sound; more is split at sentences, or dropped.")]
Slowest = Annotated[float, typer.Option("--slowest", help="Times the usual pace of its text; slower is dropped.")]
Fastest = Annotated[float, typer.Option("--fastest", help="Times the usual pace of its text; faster is dropped.")]
Check = Annotated[bool, typer.Option("--check-transcript", help="Drop English items a recogniser hears otherwise.")]
MostWer = Annotated[float, typer.Option("--most-wer", help="Highest word error rate that passes the check.")]
Allow = Annotated[
    list[str] | None, typer.Option("--allow", metavar="REASON", help="Do not drop for clipped, or for script.")
]
Validation = Annotated[float, typer.Option("--validation", help="Share of the items that is kept for validation.")]
SplitByOption = Annotated[SplitBy, typer.Option("--split-by", help="What never stands in both splits.")]
KeepAudio = Annotated[bool, typer.Option("--keep-audio", help="Keep the sound too: 173 MB an hour.")]
ShardItems = Annotated[int, typer.Option("--shard-items", help="Items of the source in a file of the data set.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes, of one core each.")]
Ray = Annotated[bool, typer.Option("--ray", help="Workers on the Ray cluster at $RAY_ADDRESS, else on a local one.")]
Device = Annotated[Place, typer.Option("--device", help="Where the codec computes.")]
Restart = Annotated[bool, typer.Option("--restart", help="Delete what OUT holds of an earlier preparation.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Only what was dropped for this.")]


@app.command(
    epilog=examples(
        "loquor data prepare recordings.jsonl ./prepared --language fa",
        "loquor data prepare ./cv-corpus/de ./prepared --workers 8 --keep-audio",
        "loquor data prepare ./LJSpeech-1.1 ./prepared --language en --speaker linda --check-transcript",
        "RAY_ADDRESS=head:6379 loquor data prepare /shared/corpus ./prepared --ray --workers 64",
    )
)
def prepare(  # noqa: PLR0913, PLR0917 - a command's options
    source: SourceArgument,
    out: Target,
    layout: Format = None,
    model: Model = None,
    language: Language = "",
    speaker: Speaker = "",
    as_written: AsWritten = False,
    level: Level = "-25",
    shortest: Shortest = 0.3,
    longest: Longest = 15.0,
    slowest: Slowest = 0.3,
    fastest: Fastest = 2.0,
    check_transcript: Check = False,
    most_wer: MostWer = 0.5,
    allow: Allow = None,
    validation: Validation = 0.02,
    split_by: SplitByOption = SplitBy.text,
    keep_audio: KeepAudio = False,
    shard_items: ShardItems = 64,
    workers: Workers = 1,
    ray: Ray = False,
    device: Device = Place.cpu,
    restart: Restart = False,
    as_json: JsonOption = False,
) -> None:
    """Check, clean and encode recordings once, for all trainings to come.

    Sound becomes 24 kHz mono, trimmed and levelled, and is encoded by the codec of a model; texts are normalised. What
    cannot be used is dropped and listed with the reason. A run that is killed goes on where it was when it is repeated,
    and ends with the same bytes.
    """
    from loquor.engine.load import model_folder
    from loquor.training.dataset.build import Progress, prepare_dataset
    from loquor.training.dataset.settings import Settings
    from loquor.training.dataset.shards import Job
    from loquor.training.dataset.sources import open_source

    settings = Settings(
        language=language,
        speaker=speaker,
        as_written=as_written,
        level_dbfs=_level(level),
        shortest_s=shortest,
        longest_s=longest,
        slowest=slowest,
        fastest=fastest,
        check_transcript=check_transcript,
        most_wer=most_wer,
        validation=validation,
        split_by=split_by.value,
        keep_audio=keep_audio,
        allow=tuple(sorted(set(allow or ()))),
        shard_items=shard_items,
    )
    if check_transcript:
        _recogniser()  # what it lacks is told here, before any worker starts
    job = Job(model_folder(model), settings, device.value, _recogniser if check_transcript else None)
    opened = open_source(source, layout and layout.value)
    with terminal_bar(Part.bar, Part.count, KEPT, Part.time_left, "left") as bar:

        def draw(at: Progress) -> None:
            bar.show("", at.items, at.total, kept=at.kept, hours=at.audio_s / 3600)

        report = prepare_dataset(opened, out, job, _runner(workers, ray), restart, draw)
    _print(report, as_json)


@app.command(epilog=examples("loquor data show ./prepared", "loquor data show ./prepared --json"))
def show(folder: Folder, as_json: JsonOption = False) -> None:
    """Show what is in a data set: items, hours, speakers, and how many were dropped for what."""
    from loquor.training.dataset.indexing import read_report

    _print(read_report(folder), as_json)


@app.command(epilog=examples("loquor data dropped ./prepared", "loquor data dropped ./prepared --reason pace --json"))
def dropped(folder: Folder, reason: Reason = None, as_json: JsonOption = False) -> None:
    """List what is not in a data set, and why."""
    from dataclasses import asdict

    from loquor.training.dataset.indexing import read_dropped, require_finished
    from loquor.training.dataset.records import REASONS

    if reason is not None and reason not in REASONS:
        raise typer.BadParameter(f"nothing is dropped for {reason!r}, but for {', '.join(REASONS)}")
    require_finished(folder)
    rows = [one for one in read_dropped(folder) if reason in (None, one.reason)]
    if as_json:
        print_json([asdict(one) for one in rows])
    elif rows:
        print_table(("item", "reason", "detail"), [(one.id, one.reason, one.detail) for one in rows])


def _level(text: str) -> float | None:
    if text == "keep":
        return None
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no level; write -25 or keep", param_hint="--level") from None


def _runner(workers: int, ray: bool) -> Runner:
    from loquor.training.dataset.on_ray import on_ray
    from loquor.training.dataset.workers import in_processes, in_this_process

    if ray:
        return on_ray(workers)
    return in_processes(workers) if workers > 1 else in_this_process


def _recogniser() -> TranscriptCheck:
    """What compares a text with what is heard; made in each worker."""
    from loquor.evaluation import Moonshine, word_error_rate
    from loquor.models.codec import SAMPLE_RATE_HZ

    transcriber = Moonshine()

    def check(waveform: Waveform, text: str) -> tuple[float, str]:
        heard = transcriber.transcribe(waveform, SAMPLE_RATE_HZ)
        return word_error_rate([text], [heard]).wer, heard

    return check


def _print(report: Report, as_json: bool) -> None:
    if as_json:
        print_json(report.as_dict())
        return
    from loquor.cli.data_tables import print_report

    print_report(report)
    for warning in report.warnings:
        logger.warning("%s", warning)
