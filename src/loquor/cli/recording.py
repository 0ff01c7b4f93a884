"""`loquor voices create`: a recording of a person becomes a voice, with their consent, cleaned and looked at.

Long-form models take the recording as it is; what Realtime models need beyond that is in `realtime_voices`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loquor.cli.console import MODEL_HELP, JsonOption, examples, print_json

if TYPE_CHECKING:
    from loquor.evaluation.fitness import Findings
    from loquor.voices.cleaning import Cleaned
    from loquor.voices.recording import RecordedVoice

logger = logging.getLogger(__name__)


class Family(StrEnum):
    """Which models a voice is for."""

    LONGFORM = "longform"
    REALTIME = "realtime"


REALTIME_ONLY = "With --for realtime (experimental)"
Name = Annotated[str, typer.Argument(help="What to call the voice.")]
Audio = Annotated[Path | None, typer.Option("--audio", help="The recording: 3 to 60 s of one person speaking.")]
For = Annotated[Family, typer.Option("--for", help="Which models it is for; a Realtime voice fits one model only.")]
Consent = Annotated[str, typer.Option("--consent", help="Who speaks, what use they agreed to, and when, in words.")]
Language = Annotated[str | None, typer.Option("--language", help="Such as en.  [default: as the file's name begins]")]
Start = Annotated[float, typer.Option("--start", min=0, help="Second of the recording to start at.")]
End = Annotated[float | None, typer.Option("--end", min=0, help="Second to end at.  [default: the end]")]
Force = Annotated[bool, typer.Option("--force", help="Replace a voice of that name.")]
Model = Annotated[str | None, typer.Option("-m", "--model", help=MODEL_HELP, rich_help_panel=REALTIME_ONLY)]
TEXT_HELP = "What is said in the recording.  [default: what the recogniser hears, English only]"
Text = Annotated[str | None, typer.Option("--text", help=TEXT_HELP, rich_help_panel=REALTIME_ONLY)]
INVERT_HELP = "Search for sounds the model makes that are like the recording: slow, for models without an encoder."
Invert = Annotated[bool, typer.Option("--invert", help=INVERT_HELP, rich_help_panel=REALTIME_ONLY)]
TAKE_HELP = "Instead of --audio: freeze how the model says this, as `loquor speak TEXT --voice V --seed N` does."
TakeText = Annotated[str | None, typer.Option("--take", metavar="TEXT", help=TAKE_HELP, rich_help_panel=REALTIME_ONLY)]
VOICE_HELP = "Voice of the take.  [default: the model's own]"
TakeVoice = Annotated[str | None, typer.Option("--voice", help=VOICE_HELP, rich_help_panel=REALTIME_ONLY)]
SEED_HELP = "Seed of the take.  [default: 0]"
TakeSeed = Annotated[int | None, typer.Option("--seed", help=SEED_HELP, rich_help_panel=REALTIME_ONLY)]
ACCEPT_HELP = "Save the voice even if it is unlike the recording, or hard to understand."
Accept = Annotated[bool, typer.Option("--accept-anyway", help=ACCEPT_HELP, rich_help_panel=REALTIME_ONLY)]


def register(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            'loquor voices create ada --audio ada.wav --consent "Ada agreed to audiobooks, 3 May"',
            'loquor voices create ada --audio talk.mp3 --start 62 --end 90 --consent "Ada agreed to demos, 3 May"',
            'loquor voices create ada --for realtime --audio ada.wav --consent "Ada agreed to demos, 3 May"',
            'loquor voices create calm --for realtime --take "Good evening." --seed 7 --consent "a synthetic voice"',
        )
    )(create)


def create(  # noqa: PLR0913, PLR0917 - a command's options
    name: Name,
    audio: Audio = None,
    consent: Consent = "",
    family: For = Family.LONGFORM,
    language: Language = None,
    start: Start = 0.0,
    end: End = None,
    force: Force = False,
    as_json: JsonOption = False,
    model: Model = None,
    text: Text = None,
    invert: Invert = False,
    take: TakeText = None,
    voice: TakeVoice = None,
    seed: TakeSeed = None,
    accept_anyway: Accept = False,
) -> None:
    """Make a voice of a recording.

    It is brought to 24 kHz mono, trimmed of silence at both ends and levelled to -25 dBFS, then looked at for noise,
    music and other speakers, and saved into your own folder: $LOQUOR_VOICES, else `voices` in the user's data folder.

    A Realtime voice then speaks test sentences, and is refused if they are unlike the recording or hard to understand.
    """
    _require_either(audio, take)
    if family is not Family.REALTIME:
        options = {"-m": model, "--text": text, "--invert": invert, "--take": take, "--accept-anyway": accept_anyway}
        _require_none(options, "it goes with --for realtime")
    if take is None:
        _require_none({"--voice": voice, "--seed": seed}, "it goes with --take")
    else:
        heard = {"--text": text, "--invert": invert, "--start": start, "--end": end}
        _require_none(heard, "it goes with --audio")
    from loquor.audio.io import Section
    from loquor.voices.catalogue import new_voice_file
    from loquor.voices.recording import record

    _require_consent(consent)
    target, section = new_voice_file(name, replace=force), Section(start, end)
    if family is Family.REALTIME:
        from loquor.cli.realtime_voices import Sound, Take, Wish, create_realtime

        wish = Wish(name, consent.strip(), language, model, accept_anyway)
        if audio is None:
            assert take is not None, "there is either a recording or a take"
            create_realtime(wish, Take(take, voice or "default", seed or 0), target, as_json)
        else:
            create_realtime(wish, Sound(audio, section, text, invert), target, as_json)
        return
    assert audio is not None, "a take goes with --for realtime"
    recorded, cleaned = record(audio, name, consent.strip(), language, section)
    _keep(recorded, cleaned, audio, target, as_json)


def _keep(voice: RecordedVoice, cleaned: Cleaned, audio: Path, target: Path, as_json: bool) -> None:
    """Look at a recording, save it, and tell what was done and found."""
    from loquor.evaluation.fitness import examine

    findings = examine(cleaned.waveform)
    voice.save(target)
    if as_json:
        print_json(_facts(voice, target, cleaned, findings))
        return
    typer.echo(f"{voice.name}: {target}")
    typer.echo(_what_was_done(voice, cleaned))
    if findings.measures:
        typer.echo("measured: " + ", ".join(f"{key.replace('_', ' ')} {v:.2f}" for key, v in findings.measures.items()))
    for warning in (*cleaned.warnings, *findings.warnings):
        logger.warning("%s: %s", audio, warning)
    for missing in findings.unchecked:
        logger.warning("not checked for %s: %s", missing.subject, missing.reason)
    for hint in {missing.hint for missing in findings.unchecked}:
        typer.echo(f"hint: {hint}", err=True)


def _require_either(audio: Path | None, take: str | None) -> None:
    if (audio is None) == (take is None):
        raise typer.BadParameter("give either a recording or, for Realtime models, --take", param_hint="--audio")


def _require_none(options: Mapping[str, object], reason: str) -> None:
    """BadParameter if any option was given."""
    for name, value in options.items():
        if value not in (None, False, 0.0):
            raise typer.BadParameter(reason, param_hint=name)


def _require_consent(consent: str) -> None:
    from loquor.errors import VoiceError

    if not consent.strip():
        raise VoiceError(
            "a voice is a person's: it needs their consent, which is saved with it",
            hint='say who agreed to what, and when: --consent "Ada Smith agreed to audiobooks, 3 May 2026"',
        )


def _what_was_done(voice: RecordedVoice, cleaned: Cleaned) -> str:
    kept = f"kept {voice.seconds:.1f} of {cleaned.read_s:.1f} s"
    trimmed = f"{cleaned.start_s:.1f} s trimmed before and {cleaned.read_s - cleaned.end_s:.1f} s after"
    return f"{kept} ({trimmed}), level {cleaned.before_dbfs:.1f} to {cleaned.after_dbfs:.1f} dBFS"


def _facts(voice: RecordedVoice, path: Path, cleaned: Cleaned, findings: Findings) -> dict[str, Any]:
    card = ("name", "kind", "language", "source", "consent", "created", "seconds")
    done = ("read_s", "start_s", "end_s", "before_dbfs", "after_dbfs")
    facts = {key: getattr(voice, key) for key in card} | {"path": str(path)}
    facts |= {key: getattr(cleaned, key) for key in done} | asdict(findings)
    return facts | {"warnings": [*cleaned.warnings, *findings.warnings]}
