"""`loquor voices create`: a recording of a person becomes a voice, with their consent, cleaned and looked at."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loquor.cli.console import examples, print_json

if TYPE_CHECKING:
    from loquor.evaluation.fitness import Findings
    from loquor.voices.cleaning import Cleaned
    from loquor.voices.recording import RecordedVoice

logger = logging.getLogger(__name__)

Name = Annotated[str, typer.Argument(help="What to call the voice.")]
Audio = Annotated[Path, typer.Option("--audio", help="The recording: 3 to 60 s of one person speaking.")]
Consent = Annotated[str, typer.Option("--consent", help="Who speaks, what use they agreed to, and when, in words.")]
Language = Annotated[str | None, typer.Option("--language", help="Such as en.  [default: as the file's name begins]")]
Start = Annotated[float, typer.Option("--start", min=0, help="Second of the recording to start at.")]
End = Annotated[float | None, typer.Option("--end", min=0, help="Second to end at.  [default: the end]")]
Force = Annotated[bool, typer.Option("--force", help="Replace a voice of that name.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            'loquor voices create ada --audio ada.wav --consent "Ada agreed to audiobooks, 3 May"',
            'loquor voices create ada --audio talk.mp3 --start 62 --end 90 --consent "Ada agreed to demos, 3 May"',
        )
    )(create)


def create(  # noqa: PLR0913, PLR0917 - a command's options
    name: Name,
    audio: Audio,
    consent: Consent = "",
    language: Language = None,
    start: Start = 0.0,
    end: End = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make a voice of a recording, for long-form models.

    It is brought to 24 kHz mono, trimmed of silence at both ends and levelled to -25 dBFS, then looked at for noise,
    music and other speakers, and saved into your own folder: $LOQUOR_VOICES, else `voices` in the user's data folder.
    """
    from loquor.audio.io import Section
    from loquor.evaluation.fitness import examine
    from loquor.voices.catalogue import new_voice_file
    from loquor.voices.recording import record

    _require_consent(consent)
    target = new_voice_file(name, replace=force)
    voice, cleaned = record(audio, name, consent.strip(), language, Section(start, end))
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
