"""`loquor voices`: which voices there are, what is known of one, and bringing presets and recordings in."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loquor.cli import recording
from loquor.cli.console import JsonOption, ModelOption, examples, in_words, print_json, print_table

if TYPE_CHECKING:
    from loquor.voices.card import AnyCard, Fingerprint
    from loquor.voices.recording import RecordedVoice
    from loquor.voices.voice import Voice

app = typer.Typer(
    help="List, look at, make and import voices.",
    no_args_is_help=True,
    epilog=examples(
        "loquor voices list",
        "loquor voices show en-Mike_man",
        'loquor voices create ada --audio ada.wav --consent "Ada agreed to audiobooks, 3 May"',
        'loquor voices create ada --for realtime --audio ada.wav --consent "Ada agreed to demos, 3 May"',
        "loquor voices import en-Mike_man.pt it-Spk0_woman.pt",
    ),
)
recording.register(app)

Name = Annotated[str, typer.Argument(help="A name from `loquor voices list`, or a .safetensors or .pt file.")]
Files = Annotated[list[Path], typer.Argument(help="Published Realtime presets (.pt) or saved voices (.safetensors).")]
NewName = Annotated[str | None, typer.Option("--name", help="What to call it.  [default: the file's own name]")]
Consent = Annotated[str, typer.Option("--consent", help="Who agreed to what use of this voice, in words.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a voice of that name.")]


@app.command("list", epilog=examples("loquor voices list", "loquor voices list -m org/name --json"))
def list_voices(model: ModelOption = None, as_json: JsonOption = False) -> None:
    """List the voices of a model, and your own."""
    from loquor.engine.load import model_folder
    from loquor.voices.catalogue import catalogue

    folder = model_folder(model)
    fitting = _model_of(folder)
    rows = [_row(name, path, fitting) for name, path in catalogue(folder).items()]
    if as_json:
        print_json(rows)
    elif rows:
        header = ("name", "kind", "language", "fits", "source", "consent")
        print_table(header, [[in_words(row[key]) for key in header] for row in rows])
    else:
        typer.echo("no voice is installed; `loquor voices import FILE.pt` adds one", err=True)


@app.command(epilog=examples("loquor voices show en-Mike_man", "loquor voices show speaker.safetensors --json"))
def show(name: Name, model: ModelOption = None, as_json: JsonOption = False) -> None:
    """Show what is known of a voice.

    Its card, how long it is, and whether the model of -m can speak with it.
    """
    from loquor.engine.load import model_folder
    from loquor.voices.catalogue import PRESET, SAVED, catalogue, find_voice
    from loquor.voices.recording import open_voice

    folder = model_folder(model)
    path = Path(name) if Path(name).suffix in (SAVED, PRESET) else find_voice(name, catalogue(folder))
    voice = open_voice(path)
    fits = not voice.misfits(_model_of(folder))
    facts = _card(voice) | {"path": str(path), "fits": fits} | _contents(voice)
    if as_json:
        print_json(facts)
        return
    rows = [[key.replace("_", " "), _in_a_row(value)] for key, value in facts.items()]
    print_table(rows[0], rows[1:])


@app.command(
    "import",
    epilog=examples(
        "loquor voices import en-Mike_man.pt",
        'loquor voices import take.safetensors --name ada --consent "Ada agreed to audiobooks, 3 May"',
    ),
)
def import_voices(files: Files, name: NewName = None, consent: Consent = "", force: Force = False) -> None:
    """Bring voices into your own folder.

    That is $LOQUOR_VOICES, else `voices` in the user's data folder. Presets are read as plain data, never run.
    """
    if name is not None and len(files) > 1:
        raise typer.BadParameter("one name is for one file", param_hint="--name")
    from dataclasses import replace

    from loquor.errors import VoiceError
    from loquor.voices.catalogue import new_voice_file

    voices: dict[Path, Voice | RecordedVoice] = {}
    for path in files:
        voice = _saved(path)
        called = voice.name if name is None else name
        target = new_voice_file(called, replace=force)
        if target in voices:
            raise VoiceError(f"two of the files are called {called}", hint="import one of them with --name")
        voices[target] = replace(voice, name=called, consent=consent or voice.consent)
    for target, voice in voices.items():
        voice.save(target)
        typer.echo(f"{voice.name}: {target}")


def _saved(path: Path) -> Voice | RecordedVoice:
    from loquor.errors import VoiceError
    from loquor.voices.catalogue import PRESET, SAVED
    from loquor.voices.recording import open_voice

    if path.suffix not in (SAVED, PRESET):
        raise VoiceError(
            f"{path} is no saved voice",
            hint=f'make one of a recording: loquor voices create NAME --audio {path} --consent "..."',
        )
    return open_voice(path)


def _row(name: str, path: Path, model: Fingerprint | None) -> dict[str, Any]:
    """A line of the list; a file that cannot be read has one too."""
    from loquor.errors import VoiceError
    from loquor.voices.card import read_card

    try:
        card = read_card(path)
    except VoiceError as error:
        empty = {"name": name, "kind": "", "language": "", "source": f"damaged: {error}", "consent": ""}
        return empty | {"path": str(path), "fits": False}
    return _card(card) | {"name": name, "path": str(path), "fits": not card.misfits(model)}


def _card(card: AnyCard) -> dict[str, Any]:
    keys = ("name", "kind", "language", "source", "consent")
    return {key: getattr(card, key) for key in keys}


def _contents(voice: Voice | RecordedVoice) -> dict[str, Any]:
    """What only voices of its kind have."""
    from loquor.voices.recording import RecordedVoice

    if isinstance(voice, RecordedVoice):
        sound = {"seconds": round(voice.seconds, 3), "level_dbfs": round(voice.level_dbfs, 1)}
        return {"created": voice.created, **sound}
    read, heard = voice.length("lm"), voice.length("tts_lm")
    model = {key: value for key, value in asdict(voice.model).items() if value != ""}
    created = {"created": voice.created} if voice.created else {}
    return created | {"prompt_tokens": read, "prompt_frames": heard - read, "model": model}


def _in_a_row(value: Any) -> str:
    return ", ".join(f"{key} {v}" for key, v in value.items()) if isinstance(value, dict) else in_words(value)


def _model_of(folder: Path) -> Fingerprint | None:
    """What a Realtime voice must say to fit the model in `folder`; None if that is no Realtime model."""
    from loquor.engine.speaker import fingerprint_of
    from loquor.models import REALTIME, family_of
    from loquor.models.realtime.checkpoint import read_config

    return fingerprint_of(read_config(folder)) if family_of(folder) is REALTIME else None
