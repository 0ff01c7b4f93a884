"""`loquor podcast`: a script and its voices to an episode, take by take, so that nothing finished is ever lost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loquor.cli.console import (
    ADAPTER_HELP,
    DeviceOption,
    ModelOption,
    WatermarkOption,
    examples,
    print_json,
    print_table,
)
from loquor.cli.operate import Dtype

if TYPE_CHECKING:
    from loquor.engine.podcast.episode import Episode
    from loquor.text.script import Script

EXAMPLES = examples(
    'loquor podcast talk.txt --cast "Alice=alice.wav,Bob=carter" --check',
    'loquor podcast talk.txt --cast "Alice=alice.wav,Bob=carter" -m ./VibeVoice-1.5B -o episode.mp3 --srt --chapters',
    'loquor podcast talk.txt --cast "alice.wav,bob.wav" -m org/name -o episode.wav --master --stems',
)
DEFAULT_OUTPUT = Path("episode.wav")
MODEL_HELP = "A long-form model: a folder, or a hub repository org/name[@revision]."
CAST_HELP = (
    'Voices by speaker ("Alice=alice.wav,Bob=carter"; 1= is Speaker 1), or alone in order of appearance: names from '
    "`loquor voices list`, saved voices, or recordings of 3 to 60 s."
)

ScriptFile = Annotated[
    Path, typer.Argument(metavar="SCRIPT", help="Lines such as `Alice: Hello.`, or JSON, SRT, VTT; or plain text.")
]
CastOption = Annotated[list[str] | None, typer.Option("--cast", metavar="CAST", help=CAST_HELP)]
Output = Annotated[Path, typer.Option("-o", "--output", help=".wav, .flac, .mp3, .ogg or .opus, 24 kHz mono.")]
Check = Annotated[bool, typer.Option("--check", help="Only show who speaks how much; no model is loaded.")]
Stems = Annotated[
    bool, typer.Option("--stems", help="Also a file for each speaker, as long as the episode; not mastered.")
]
Srt = Annotated[bool, typer.Option("--srt", help="Also subtitles, SubRip.")]
Vtt = Annotated[bool, typer.Option("--vtt", help="Also subtitles, WebVTT.")]
Transcript = Annotated[bool, typer.Option("--transcript", help="Also who says what when, in JSON.")]
Chapters = Annotated[bool, typer.Option("--chapters", help="The script's chapters in the file, and in JSON beside it.")]
Master = Annotated[bool, typer.Option("--master", help="Bring the episode to --loudness, with true peaks below -1 dB.")]
Loudness = Annotated[float, typer.Option("--loudness", help="LUFS for --master; -23 is broadcast's.")]
Report = Annotated[Path | None, typer.Option("--report", help="Write what is known of every take, in JSON.")]
Title = Annotated[str | None, typer.Option("--title", help="Of the episode.  [default: the script's own]")]
Date = Annotated[str, typer.Option("--date", help="Of the episode, such as 2026-11-21.", show_default=False)]
Retakes = Annotated[int, typer.Option("--retakes", min=0, max=20, help="Times to repeat a take with a fault.")]
Carry = Annotated[float, typer.Option("--carry", min=0, help="Seconds of speech that a take carries on from.")]
JudgeVoices = Annotated[
    bool | None,
    typer.Option(
        "--judge-voices/--no-judge-voices",
        help="A voice unlike its recording is a fault too.  [default: if what judges it is installed]",
    ),
]
JudgeWords = Annotated[bool, typer.Option("--judge-words", help="Misheard words are a fault too; English only.")]
Guidance = Annotated[float | None, typer.Option("--guidance", help="0 to 20; 1.0 is off.  [default: the model's own]")]
Steps = Annotated[int | None, typer.Option("--steps", help="Solver steps, 1 to 200.  [default: the model's own]")]
Seed = Annotated[int, typer.Option("--seed", help="The same seed says it the same way; 0 to 2^63 - 1.")]
DtypeOption = Annotated[Dtype | None, typer.Option("--dtype", help="Compute in it.  [default: as the weights are]")]
Adapters = Annotated[list[str] | None, typer.Option("--adapter", metavar="FOLDER[@STRENGTH]", help=ADAPTER_HELP)]
Restart = Annotated[bool, typer.Option("--restart", help="Throw away the takes of an earlier run.")]
KeepTakes = Annotated[bool, typer.Option("--keep-takes", help="Leave the finished takes beside the episode.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLES)(podcast)


def podcast(  # noqa: PLR0913, PLR0917 - an argument for each thing a user may say
    script: ScriptFile,
    cast: CastOption = None,
    model: ModelOption = None,
    output: Output = DEFAULT_OUTPUT,
    check: Check = False,
    stems: Stems = False,
    srt: Srt = False,
    vtt: Vtt = False,
    transcript: Transcript = False,
    chapters: Chapters = False,
    master: Master = False,
    loudness: Loudness = -16.0,
    report: Report = None,
    title: Title = None,
    date: Date = "",
    retakes: Retakes = 2,
    carry: Carry = 60.0,
    judge_voices: JudgeVoices = None,
    judge_words: JudgeWords = False,
    guidance: Guidance = None,
    steps: Steps = None,
    seed: Seed = 0,
    device: DeviceOption = "cpu",
    dtype: DtypeOption = None,
    adapter: Adapters = None,
    restart: Restart = False,
    keep_takes: KeepTakes = False,
    watermark: WatermarkOption = True,
    as_json: Json = False,
) -> None:
    """Speak a script with a cast, of any length and any number of speakers.

    Every turn is a take of its own (a long one, several): it is looked at for known faults, repeated if it has one, and
    kept on disk beside the output. A run that was stopped or killed goes on with the same command, to the same bytes.
    """
    from loquor.cli.cast import assign, cast_names, parse_cast
    from loquor.text.script import read_script

    parsed = parse_cast(cast or [])
    read = read_script(script, cast_names=cast_names(parsed))
    voices = assign(parsed, read.speakers) if cast or not check else {}
    if check:
        _show(read, voices, model, as_json)
        return
    from loquor.audio.chapters import Tags
    from loquor.audio.master import Target
    from loquor.cli.production import Order, produce
    from loquor.engine.podcast.episode import Outputs

    subtitles = {".srt": srt, ".vtt": vtt, ".json": transcript}
    outputs = Outputs(
        sound=output,
        stems=stems,
        subtitles=tuple(suffix for suffix, wanted in subtitles.items() if wanted),
        chapters=chapters,
        loudness=Target(loudness) if master else None,
        report=report,
        tags=Tags(title=title or read.title or "", artist=", ".join(read.speakers), date=date),
        keep_takes=keep_takes,
        watermark=watermark,
    )
    order = Order(
        script=read,
        voices=voices,
        model=model,
        outputs=outputs,
        sampling={"guidance": guidance, "steps": steps, "seed": seed},
        retakes=retakes,
        carry_s=carry,
        judge_voices=judge_voices,
        judge_words=judge_words,
        device=device,
        dtype=dtype and dtype.value,
        adapters=tuple(adapter or ()),
        restart=restart,
    )
    began = time.perf_counter()
    episode = produce(order)
    if as_json:
        print_json(episode.as_dict())
    else:
        typer.echo(_line(episode, len(read.speakers), time.perf_counter() - began))


def _line(episode: Episode, speakers: int, elapsed_s: float) -> str:
    seconds = episode.when.seconds
    line = (
        f"{episode.files[0]}: {seconds:.1f} s of speech by {speakers} speaker{'s' * (speakers != 1)} in "
        f"{len(episode.facts)} takes, made in {elapsed_s:.1f} s (real-time factor {elapsed_s / seconds:.2f})"
    )
    return line + (f"; {episode.faulty} of them still have a fault, --report tells which" if episode.faulty else "")


def _show(script: Script, voices: Mapping[str, str], model: str | None, as_json: bool) -> None:
    """What `--check` prints; a voice that cannot be found is an error here too."""
    from loquor.cli.podcast_progress import short_clock
    from loquor.engine.load import model_folder
    from loquor.engine.podcast.plan import summary
    from loquor.voices.catalogue import voice_file
    from loquor.voices.recording import open_voice

    folder = model_folder(model) if model else None
    for voice in voices.values():
        open_voice(voice_file(voice, folder))
    found = summary(script, voices)
    if as_json:
        print_json(found.as_dict())
        return
    rows = [
        [one.name, one.voice or "-", str(one.turns), str(one.words), short_clock(one.estimated_s)]
        for one in found.speakers
    ]
    print_table(("speaker", "voice", "turns", "words", "about"), rows, numbers=(2, 3, 4))
    for chapter in found.chapters:
        typer.echo(f"chapter at about {short_clock(chapter.start_s)}: {chapter.title}")
    for number, scene in enumerate(found.scenes if len(found.scenes) > 1 else (), 1):
        typer.echo(f"scene {number}: {', '.join(scene)}")
    typer.echo(f"{found.turns} turns in {found.takes} takes, about {short_clock(found.estimated_s)} in all")
