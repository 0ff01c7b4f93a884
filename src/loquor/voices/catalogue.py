"""Which voices there are: those in the user's folder, and those that came with a model."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import platformdirs

from loquor.errors import VoiceError

V = TypeVar("V")

SAVED, PRESET = ".safetensors", ".pt"
NEAREST = 5  # names shown when none fits


def user_voices() -> Path:
    """The folder of the user's own voices; $LOQUOR_VOICES, if set, else `voices` in the user's data folder."""
    chosen = os.environ.get("LOQUOR_VOICES")
    return Path(chosen) if chosen else Path(platformdirs.user_data_dir("loquor")) / "voices"


def catalogue(model: Path | None = None) -> dict[str, Path]:
    """Voice files by name (the file's stem), sorted: the user's, and those in `voices` of a model folder.

    Where both have a name, the user's is meant.
    """
    folders = [*([model / "voices"] if model else []), user_voices()]
    files = {file.stem: file for folder in folders for file in folder.glob(f"*{SAVED}")}
    return dict(sorted(files.items()))


def voice_file(voice: str, model: Path | None = None) -> Path:
    """The file of a voice given by name or as a path: a saved voice, a preset, or any recording.

    What looks like a path need not exist: opening it will tell. VoiceError for any other name that is not known.
    """
    known, path = catalogue(model), Path(voice)
    if voice in known:
        return known[voice]
    if path.suffix in (SAVED, PRESET) or path.name != voice or path.is_file():
        return path
    try:
        return find_voice(voice, known)
    except VoiceError:
        if path.suffix:
            return path
        raise


def new_voice_file(name: str, replace: bool = False) -> Path:
    """Where to save a voice of the user's called `name`; VoiceError if no file can have that name, or one has it."""
    if not name.isprintable() or not name.strip() or name.startswith((".", "-")) or set(name) & set('/\\:*?"<>|'):
        raise VoiceError(f"a voice cannot be called {name!r}", hint="use letters, digits, - and _, such as ada")
    if name == "default":
        raise VoiceError("a voice cannot be called 'default': that is the model's own choice", hint="name it otherwise")
    path = user_voices() / f"{name}{SAVED}"
    if path.exists() and not replace:
        raise VoiceError(f"{path} exists", hint="--force replaces it, another name keeps both")
    return path


def find_voice(name: str, voices: Mapping[str, V]) -> V:
    """The voice called `name`: exactly, else whatever the case of its letters, else the only one with `name` inside.

    VoiceError if none or several fit: a voice is never guessed.
    """
    if name in voices:
        return voices[name]
    wanted = name.casefold()
    same = [known for known in voices if known.casefold() == wanted]
    fitting = same or [known for known in voices if wanted and wanted in known.casefold()]
    if len(fitting) == 1:
        return voices[fitting[0]]
    if fitting:
        raise VoiceError(f"{name!r} may be any of {', '.join(sorted(fitting))}", hint="give more of the name")
    if not voices:
        raise VoiceError(f"there is no voice {name!r}: none is installed", hint=f"put voices into {user_voices()}")
    raise VoiceError(f"there is no voice {name!r}", hint=f"nearest: {', '.join(_nearest(wanted, list(voices)))}")


def _nearest(wanted: str, names: list[str]) -> list[str]:
    """Names by likeness, the whole name or any part between hyphens and underscores."""

    def likeness(known: str) -> float:
        folded = known.casefold()
        parts = [folded, *folded.replace("_", "-").split("-")]
        return max(difflib.SequenceMatcher(None, wanted, part).ratio() for part in parts)

    return sorted(names, key=lambda known: (-likeness(known), known))[:NEAREST]
