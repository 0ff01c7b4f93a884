"""`loquor speak`: text from the command line, a file or a pipe, to a file, a pipe or the loudspeaker, as it is made."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loquor.cli.bar import Part, terminal_bar
from loquor.cli.checking import CheckOption, SelfCheck, TriesOption
from loquor.cli.console import AdapterOption, DeviceOption, ModelOption, WatermarkOption, examples, print_json
from loquor.cli.conversing import TokenizerOption
from loquor.cli.optimize import Backend, BackendOption, load_speaker

if TYPE_CHECKING:
    from loquor.audio import Sink
    from loquor.engine.load import AnySpeaker
    from loquor.engine.request import Chunk

    Say = Callable[[AnySpeaker, "str | Iterator[str]", str, dict[str, Any]], Iterator[Chunk]]  # as `spoken` does

DEFAULT_OUTPUT = "speech.wav"
SPOKEN = "{task.fields[seconds]:.1f} s spoken, real-time factor {task.fields[rtf]:.2f}"
EXAMPLES = examples(
    'loquor speak "Good morning."',
    "loquor speak -f chapter.txt -o chapter.mp3",
    "some-language-model | loquor speak - --play",
    'loquor speak "Hello." -o - | aplay -f S16_LE -r 24000',
    "loquor speak -f chapter.txt --check",
)

OUTPUT_HELP = (
    "File to write: .wav, .flac, .mp3, .ogg or .opus, mono, at the model's rate, which is mostly 24 kHz; - streams "
    "16-bit little-endian PCM to stdout.  "
    f"[default: {DEFAULT_OUTPUT}; with --play, none]"
)
VOICE_HELP = (
    "A name from `loquor voices list`, or a voice's file; a long-form model takes any recording of 3 to 60 s, and so "
    "does a VITA-Audio model, which has a voice of its own too."
)
GUIDANCE_HELP = "Classifier-free guidance scale, 0 to 20; 1.0 is off.  [default: the model's own, else 1.5 or 1.3]"
SPEED_HELP = "Times the voice's own speed, at its own pitch, 0.25 to 4; needs loquor[tempo]."
STEPS_HELP = "Solver steps per frame, 1 to 200.  [default: the model's own, else 5 or 10]"

Text = Annotated[
    str | None, typer.Argument(metavar="TEXT", help="What to say; - reads stdin and speaks as text arrives.")
]
File = Annotated[str | None, typer.Option("-f", "--file", help="Read the text from a UTF-8 file.")]
VoiceName = Annotated[str, typer.Option("--voice", help=VOICE_HELP)]
Output = Annotated[str | None, typer.Option("-o", "--output", help=OUTPUT_HELP)]
Play = Annotated[bool, typer.Option("--play", help="Play it while it is made; with -o, write it too.")]
Guidance = Annotated[float | None, typer.Option("--guidance", help=GUIDANCE_HELP)]
Steps = Annotated[int | None, typer.Option("--steps", help=STEPS_HELP)]
Seed = Annotated[int, typer.Option("--seed", help="The same seed says it the same way; 0 to 2^63 - 1.")]
Speed = Annotated[float, typer.Option("--speed", help=SPEED_HELP)]
Json = Annotated[bool, typer.Option("--json", help="Print the figures as JSON on stdout.")]


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLES)(speak)


def speak(  # noqa: PLR0913, PLR0917 - an argument for each thing a user may say
    text: Text = None,
    file: File = None,
    model: ModelOption = None,
    adapter: AdapterOption = None,
    audio_tokenizer: TokenizerOption = None,
    voice: VoiceName = "default",
    output: Output = None,
    play: Play = False,
    guidance: Guidance = None,
    steps: Steps = None,
    seed: Seed = 0,
    speed: Speed = 1.0,
    device: DeviceOption = "cpu",
    backend: BackendOption = Backend.auto,
    check: CheckOption = False,
    check_tries: TriesOption = 3,
    watermark: WatermarkOption = True,
    as_json: Json = False,
) -> None:
    """Say a text.

    At the end one line tells the seconds of speech, the compute time (from the first text to the last sample), the
    real-time factor (compute time / seconds of speech, below 1 is faster than real time) and the wait for first audio.
    """
    from loquor.audio.tempo import require_tempo

    if (text is None) == (file is None):
        raise typer.BadParameter("give either TEXT or -f FILE", param_hint="TEXT")
    if as_json and output == "-":
        raise typer.BadParameter("stdout carries the sound already", param_hint="--json")
    require_tempo(speed)
    source = _text(text, file)
    listener = SelfCheck.open(check_tries) if check else None  # what is missing is told before the model is loaded

    target = output or (None if play else DEFAULT_OUTPUT)
    sampling = {"guidance": guidance, "steps": steps, "seed": seed}
    speaker = load_speaker(model, device, adapter, audio_tokenizer, watermark, backend)
    say: Say = listener.stream if listener else spoken
    say = say if speed == 1 else _at(speed, say)
    report = _say(speaker, source, Outlets(target, play), voice, sampling, say)
    if as_json:
        print_json(asdict(report) | ({"check": listener.as_dict()} if listener else {}))
        return
    for line in [report.line(), *([listener.line()] if listener else [])]:
        if output != "-":
            typer.echo(line)
        elif logging.getLogger("loquor").isEnabledFor(logging.WARNING):
            typer.echo(line, err=True)


@dataclass(frozen=True)
class Outlets:
    """Where the sound goes."""

    target: str | None  # a file, - for stdout, or nowhere
    play: bool

    def open(self, stack: ExitStack, sample_rate_hz: int, comment: str) -> list[Sink]:
        """Sinks, a file with a comment, that `stack` ends: all complete, or none leaves a trace."""
        from loquor.audio import open_sink
        from loquor.cli.player import open_player

        sinks = [stack.enter_context(open_sink(self.target, sample_rate_hz, comment=comment))] if self.target else []
        return [*sinks, stack.enter_context(open_player(sample_rate_hz))] if self.play else sinks


@dataclass(frozen=True)
class Report:
    """What `--json` prints."""

    file: str | None
    voice: str
    seed: int
    sample_rate_hz: int
    seconds: float  # of speech
    compute_s: float
    rtf: float
    first_audio_ms: float

    def line(self) -> str:
        where = f"{self.file}: " if self.file else ""
        return (
            f"{where}{self.seconds:.2f} s of speech, computed in {self.compute_s:.2f} s "
            f"(real-time factor {self.rtf:.2f}, first audio after {self.first_audio_ms:.0f} ms)"
        )


class Watch:
    """Runs from the moment there is text."""

    def __init__(self) -> None:
        self._started = 0.0

    def started_by(self, text: str | Iterator[str]) -> str | Iterator[str]:
        """The same text; the watch starts now, or with the first piece that arrives."""
        if isinstance(text, str):
            self._started = time.perf_counter()
            return text
        return self._pieces(text)

    def _pieces(self, pieces: Iterator[str]) -> Iterator[str]:
        for piece in pieces:
            self._started = self._started or time.perf_counter()
            yield piece

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self._started


def _text(text: str | None, file: str | None) -> str | Iterator[str]:
    from loquor.cli.texts import argument_text, file_text, piped_text

    if "-" in (text, file):
        return piped_text()
    return file_text(file) if file is not None else argument_text(text or "")


def spoken(speaker: AnySpeaker, text: str | Iterator[str], voice: str, sampling: dict[str, Any]) -> Iterator[Chunk]:
    """Chunks of speech; only a Realtime model speaks while the text is still coming."""
    from loquor.engine.dialogue import DialogueSpeaker
    from loquor.engine.speaker import Speaker
    from loquor.errors import InputError

    if isinstance(speaker, Speaker):
        return speaker.stream(text, voice=voice, **sampling)
    own = None if voice == "default" else voice
    if isinstance(speaker, DialogueSpeaker):
        return speaker.stream("".join(text), own, **sampling)
    if sampling["guidance"] is not None or sampling["steps"] is not None:
        raise InputError("a VITA-Audio model draws tokens: it knows no --guidance and no --steps", hint="leave it out")
    return speaker.stream("".join(text), own, seed=sampling["seed"])


def _at(speed: float, say: Say) -> Say:
    """The same, faster or slower."""
    from loquor.engine.pace import Paced, at_pace

    def paced(speaker: AnySpeaker, text: str | Iterator[str], voice: str, sampling: dict[str, Any]) -> Iterator[Chunk]:
        is_marked, speaker.watermark = speaker.watermark, False  # not before it has its speed
        return at_pace(say(speaker, text, voice, sampling), Paced(speed, speaker.sample_rate_hz, is_marked))

    return paced


def comment(speaker: AnySpeaker, voice: str) -> str:
    """What a file of this speech says of itself."""
    from loquor.audio.provenance import Provenance

    name = voice_name(speaker, voice)
    return Provenance(speaker.name, "" if name == "default" else name).comment


def voice_name(speaker: AnySpeaker, voice: str) -> str:
    """Who speaks; of a Realtime model the voice itself also for "default", of others what was asked for."""
    from loquor.engine.speaker import Speaker

    return speaker.voice_path(voice).stem if isinstance(speaker, Speaker) else voice


def _say(
    speaker: AnySpeaker,
    text: str | Iterator[str],
    outlets: Outlets,
    voice: str,
    sampling: dict[str, Any],
    say: Say,
) -> Report:
    from loquor.errors import InputError

    watch, frames, seconds, elapsed, first_ms = Watch(), 0, 0.0, 0.0, 0.0
    characters = len(text) if isinstance(text, str) else None
    with ExitStack() as stack:
        sinks = outlets.open(stack, speaker.sample_rate_hz, comment(speaker, voice))
        bar = stack.enter_context(terminal_bar(Part.bar, SPOKEN))
        bar.show("", 0, characters, seconds=0.0, rtf=0.0)
        stream = say(speaker, watch.started_by(text), voice, sampling)
        for chunk in stack.enter_context(closing(stream)):  # type: ignore[type-var]
            frames, seconds, elapsed = frames + 1, chunk.end_s, watch.elapsed_s
            first_ms = first_ms or 1000 * elapsed
            for sink in sinks:
                sink.write(chunk.waveform.cpu().numpy())
            bar.show("", chunk.text_end, characters, seconds=seconds, rtf=elapsed / seconds)
        if not frames:
            raise InputError("the text holds nothing that can be spoken", hint="give at least one word")
    return Report(
        file=outlets.target if outlets.target != "-" else None,
        voice=voice_name(speaker, voice),
        seed=sampling["seed"],
        sample_rate_hz=speaker.sample_rate_hz,
        seconds=seconds,
        compute_s=elapsed,
        rtf=elapsed / seconds,
        first_audio_ms=first_ms,
    )
