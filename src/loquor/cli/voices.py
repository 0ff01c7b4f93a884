"""`loquor voices`: which voices there are, what is known of one, and bringing published presets in."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loquor.cli.console import MODEL_HELP, examples, in_words, print_json, print_table

if TYPE_CHECKING:
    from loquor.voices.voice import Card, Fingerprint, Voice

app = typer.Typer(
    help="List, look at and import voices.",
    no_args_is_help=True,
    epilog=examples(
        "loquor voices list",
        "loquor voices show en-Mike_man",
        "loquor voices import en-Mike_man.pt it-Spk0_woman.pt",
    ),
)

Model = Annotated[str | None, typer.Option("-m", "--model", help=MODEL_HELP)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="A name from `loquor voices list`, or a .safetensors or .pt file.")]
Files = Annotated[list[Path], typer.Argument(help="Published Realtime presets (.pt) or saved voices (.safetensors).")]
NewName = Annotated[str | None, typer.Option("--name", help="What to call it.  [default: the file's own name]")]
Consent = Annotated[str, typer.Option("--consent", help="Who agreed to what use of this voice, in words.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a voice of that name.")]


@app.command("list", epilog=examples("loquor voices list", "loquor voices list -m org/name --json"))
def list_voices(model: Model = None, as_json: Json = False) -> None:
    """List the voices of a model, and your own."""
    from loquor.engine.load import model_folder
    from loquor.voices.catalogue import catalogue

    folder = model_folder(model)
    fingerprint = _fingerprint(folder)
    rows = [_row(name, path, fingerprint) for name, path in catalogue(folder).items()]
    if as_json:
        print_json(rows)
    elif rows:
        header = ("name", "language", "fits", "source", "consent")
        print_table(header, [[in_words(row[key]) for key in header] for row in rows])
    else:
        typer.echo("no voice is installed; `loquor voices import FILE.pt` adds one", err=True)


@app.command(epilog=examples("loquor voices show en-Mike_man", "loquor voices show speaker.safetensors --json"))
def show(name: Name, model: Model = None, as_json: Json = False) -> None:
    """Show what is known of a voice.

    Its card, how long its prompt is, which model it belongs to, and whether that fits the model of -m.
    """
    from loquor.engine.load import model_folder
    from loquor.voices.catalogue import catalogue, find_voice

    folder = model_folder(model)
    path = Path(name) if Path(name).suffix in (".safetensors", ".pt") else find_voice(name, catalogue(folder))
    voice = _read(path)
    read, heard = voice.length("lm"), voice.length("tts_lm")
    facts: dict[str, Any] = {
        **_card(voice),
        "path": str(path),
        "fits": _fits(voice, _fingerprint(folder)),
        "prompt_tokens": read,
        "prompt_frames": heard - read,
        "model": {key: value for key, value in asdict(voice.model).items() if value != ""},
    }
    if as_json:
        print_json(facts)
        return
    model_facts = ", ".join(f"{key} {value}" for key, value in facts["model"].items())
    rows = [[key.replace("_", " "), in_words(value)] for key, value in (facts | {"model": model_facts}).items()]
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
    from loquor.errors import VoiceError
    from loquor.voices.catalogue import user_voices

    voices = {}
    for path in files:
        voice = _renamed(_read(path), name if name is None else _plain(name), consent)
        target = user_voices() / f"{_plain(voice.name)}.safetensors"
        if target.exists() and not force:
            raise VoiceError(f"{target} exists", hint="--force replaces it, --name gives the new one another name")
        if target in voices:
            raise VoiceError(f"two of the files are called {voice.name}", hint="import one of them with --name")
        voices[target] = voice
    for target, voice in voices.items():
        voice.save(target)
        typer.echo(f"{voice.name}: {target}")


def _read(path: Path) -> Voice:
    from loquor.voices.voice import Voice, import_preset

    return import_preset(path) if path.suffix == ".pt" else Voice.open(path)


def _renamed(voice: Voice, name: str | None, consent: str) -> Voice:
    from dataclasses import replace

    return replace(voice, name=voice.name if name is None else name, consent=consent or voice.consent)


def _plain(name: str) -> str:
    """A name that can be a file's; VoiceError if it cannot."""
    from loquor.errors import VoiceError

    if not name.isprintable() or not name.strip() or name.startswith((".", "-")) or set(name) & set('/\\:*?"<>|'):
        raise VoiceError(f"a voice cannot be called {name!r}", hint="use letters, digits, - and _: --name ada")
    if name == "default":
        raise VoiceError("a voice cannot be called 'default': that is the model's own choice", hint="give it a --name")
    return name


def _row(name: str, path: Path, fingerprint: Fingerprint) -> dict[str, Any]:
    """A line of the list; a file that cannot be read has one too."""
    from loquor.errors import VoiceError
    from loquor.voices.voice import read_card

    try:
        card = read_card(path)
    except VoiceError as error:
        empty = {"name": name, "language": "", "source": f"damaged: {error}", "consent": ""}
        return empty | {"path": str(path), "fits": False}
    return _card(card) | {"name": name, "path": str(path), "fits": _fits(card, fingerprint)}


def _card(card: Card) -> dict[str, Any]:
    return {"name": card.name, "language": card.language, "source": card.source, "consent": card.consent}


def _fits(card: Card, fingerprint: Fingerprint) -> bool:
    return not card.model.differences(fingerprint)


def _fingerprint(folder: Path) -> Fingerprint:
    from loquor.engine.speaker import fingerprint_of
    from loquor.models import family_of
    from loquor.models.realtime.checkpoint import read_config

    family_of(folder)
    return fingerprint_of(read_config(folder))
