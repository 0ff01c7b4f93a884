"""The layouts in which every recording is a file: pairs, JSON lines, LJSpeech, Common Voice."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from loquor.errors import InputError
from loquor.training.dataset.records import Dropped, RawItem
from loquor.training.dataset.sounds import SUFFIXES, SoundFile

METADATA, WAVS = "metadata.csv", "wavs"  # LJSpeech
CLIPS, TABLES = "clips", ("validated.tsv", "train.tsv")  # Common Voice; the first there is
KEYS = ("id", "text", "audio", "voice_prompts", "speaker", "language")  # of a JSON line; text and audio are needed


def pairs(folder: Path) -> Iterator[RawItem | Dropped]:
    """`x.wav` beside `x.txt`, here and in all folders below; the first folder on the way is the speaker."""
    for place, below, names in os.walk(folder, followlinks=True):
        below.sort()
        here = Path(place)
        sounds = [here / name for name in sorted(names) if Path(name).suffix.lower() in SUFFIXES]
        stems = {sound.with_suffix("") for sound in sounds}
        parts = here.relative_to(folder).parts
        for sound in sounds:
            name = sound.with_suffix("").relative_to(folder).as_posix()
            text = _beside(sound, name)
            yield text if isinstance(text, Dropped) else RawItem(name, text, SoundFile(sound), "".join(parts[:1]))
        for text_file in sorted(here / name for name in names if name.endswith(".txt")):
            if text_file.with_suffix("") not in stems:
                name = text_file.with_suffix("").relative_to(folder).as_posix()
                yield Dropped(name, "no-sound", f"there is no recording beside {text_file}")


def _beside(sound: Path, name: str) -> str | Dropped:
    path = sound.with_suffix(".txt")
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        fault = f"there is no {path.name} beside {sound}"
    except (OSError, UnicodeDecodeError) as error:
        fault = f"{path} cannot be read as UTF-8: {error}"
    return Dropped(name, "no-text", fault)


def jsonl(path: Path) -> Iterator[RawItem]:
    """A JSON object a line, with the keys in KEYS; paths are relative to the file."""
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            yield _json_item(line, path.parent, f"{path}:{number}")


def _json_item(line: str, folder: Path, place: str) -> RawItem:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: this is no JSON: {error}", hint="write one object a line") from None
    if not isinstance(values, dict):
        raise InputError(f"{place}: this is no object: {line.strip()[:40]}", hint=f"its keys are {', '.join(KEYS)}")
    unknown = sorted(values.keys() - set(KEYS))
    missing = [key for key in ("text", "audio") if key not in values]
    if unknown or missing:
        fault = f"unknown key {unknown[0]!r}" if unknown else f"there is no {missing[0]!r}"
        raise InputError(f"{place}: {fault}", hint=f"the keys are {', '.join(KEYS)}; text and audio are needed")
    voices = values.get("voice_prompts")
    listed = [] if voices is None else voices if isinstance(voices, list) else [voices]
    texts = {key: value for key, value in values.items() if value is not None and key != "voice_prompts"}
    for key, value in [*texts.items(), *(("voice_prompts", voice) for voice in listed)]:
        if not isinstance(value, str):
            raise InputError(f"{place}: {key} is {value!r}", hint="write a text in quotes")
    return _item(texts, [folder / voice for voice in listed], folder)


def _item(texts: Mapping[str, str], voices: list[Path], folder: Path) -> RawItem:
    audio = texts.get("audio", "")
    return RawItem(
        id=texts.get("id") or os.path.splitext(audio)[0],
        text=texts.get("text", ""),
        sound=SoundFile(folder / audio),
        speaker=texts.get("speaker", ""),
        language=texts.get("language", ""),
        voices=tuple(SoundFile(voice) for voice in voices),
    )


def ljspeech(folder: Path) -> Iterator[RawItem]:
    """metadata.csv of `id|text` or `id|text|text in words`, without a header; the recordings in wavs/."""
    path = folder / METADATA
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split("|")]
        if len(fields) not in (2, 3) or not fields[0]:
            hint = "a line is id|text or id|text|text in words"
            raise InputError(f"{path}:{number}: {len(fields)} fields", hint)
        yield RawItem(fields[0], fields[-1] or fields[1], _sound_in(folder / WAVS, fields[0]))


def common_voice(folder: Path) -> Iterator[RawItem]:
    """validated.tsv, else train.tsv, with a header; the recordings in clips/."""
    path = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    if path is None:
        raise InputError(f"{folder} has neither {' nor '.join(TABLES)}", hint="unpack the whole archive")
    rows = csv.DictReader(_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    if not {"path", "sentence"} <= set(rows.fieldnames or ()):
        raise InputError(f"{path}:1: there are no columns path and sentence", hint="its first line names the columns")
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise InputError(f"{path}:{number}: not {len(rows.fieldnames or ())} fields", hint="part them with tabs")
        yield RawItem(
            id=Path(row["path"]).stem,
            text=row["sentence"],
            sound=_sound_in(folder / CLIPS, row["path"]),
            speaker=row.get("client_id", ""),
            language=row.get("locale", ""),
        )


def _sound_in(folder: Path, name: str) -> SoundFile:
    """The file called so, with or without its suffix; a .wav that is not there if there is none."""
    if (folder / name).suffix.lower() in SUFFIXES:
        return SoundFile(folder / name)
    candidates = (folder / f"{name}{suffix}" for suffix in sorted(SUFFIXES))
    return SoundFile(next((path for path in candidates if path.is_file()), folder / f"{name}.wav"))


def _lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file; InputError with the line that is none."""
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, 1):  # noqa: B007 - counted for the error
                yield line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        hint = "save it as UTF-8, or convert it: iconv -f latin1 -t utf-8"
        raise InputError(f"{path}: something after line {number} is not UTF-8: {error.reason}", hint) from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
