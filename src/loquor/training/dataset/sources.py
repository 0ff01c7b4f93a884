"""Where recordings and texts come from: the layouts that corpora are published in, told apart by their files.

A source can be gone through more than once, always in the same order, and reads no sound. What is wrong with the
listing itself (an unknown key, a line with too many fields) is an InputError with file and line, before anything is
encoded; what is wrong with one recording or text only drops that item.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from loquor.errors import InputError
from loquor.training.dataset import layouts, tables
from loquor.training.dataset.records import Dropped, RawItem
from loquor.training.dataset.sounds import SUFFIXES, SoundFile, TableSound

Listed = RawItem | Dropped

TEXT_COLUMNS = ("text", "sentence", "transcription", "transcript")
SPEAKER_COLUMNS = ("speaker", "speaker_id", "client_id")
LANGUAGE_COLUMNS = ("language", "locale")


class Source(Protocol):
    """Items in a fixed order."""

    @property
    def layout(self) -> str:
        """One of LAYOUTS."""

    @property
    def path(self) -> Path: ...

    def stamp(self) -> str:
        """What changes when the source does, beyond what its items tell."""

    def __iter__(self) -> Iterator[Listed]: ...


@dataclass(frozen=True)
class FileSource:
    """A layout in which every recording is a file."""

    layout: str
    path: Path
    items: Callable[[Path], Iterator[Listed]]

    def stamp(self) -> str:
        return ""

    def __iter__(self) -> Iterator[Listed]:
        return self.items(self.path)


@dataclass(frozen=True)
class TableSource:
    """What the `datasets` library saves: columns `audio` and a text, perhaps speaker, language and voice prompts."""

    path: Path
    layout: str = "datasets"

    def files(self) -> list[Path]:
        files = tables.table_files(self.path)
        if not files:
            raise InputError(f"{self.path} holds no table", hint="give a folder of save_to_disk, or of .parquet files")
        return files

    def stamp(self) -> str:
        return " ".join(f"{file.name} {SoundFile(file).stamp()}" for file in self.files())

    def __iter__(self) -> Iterator[Listed]:
        folder = self.path if self.path.is_dir() else self.path.parent
        number = 0
        for file in self.files():
            names = tables.columns(file)
            text = _column(file, names, TEXT_COLUMNS)
            if "audio" not in names:
                raise InputError(f"{file} has no column audio, only {', '.join(names)}", hint="rename the column")
            speaker, language = _optional(names, SPEAKER_COLUMNS), _optional(names, LANGUAGE_COLUMNS)
            own = [name for name in (text, speaker, language, "id" if "id" in names else None) if name]
            for block, row, values in tables.rows(file, own):
                at = (file, block, row)
                yield RawItem(
                    id=str(values.get("id") or f"{number:08}"),
                    text=str(values[text] or ""),
                    sound=TableSound(tables.Cell(*at, "audio"), folder),
                    speaker=_word(values, speaker),
                    language=_word(values, language),
                    voices=_voices(at, folder) if "voice_prompts" in names else (),
                )
                number += 1


def _voices(at: tuple[Path, int, int], folder: Path) -> tuple[TableSound, ...]:
    count = tables.element_count(*at, "voice_prompts")
    if count is None:
        cells = [tables.Cell(*at, "voice_prompts")]
        return tuple(TableSound(cell, folder) for cell in cells if not tables.is_empty(cell))
    return tuple(TableSound(tables.Cell(*at, "voice_prompts", i), folder) for i in range(count))


def _word(values: dict[str, object], column: str | None) -> str:
    value = values.get(column) if column else None
    return "" if value is None else str(value)


def _optional(names: list[str], wanted: tuple[str, ...]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _column(file: Path, names: list[str], wanted: tuple[str, ...]) -> str:
    found = _optional(names, wanted)
    if found is None:
        raise InputError(f"{file} has no text, only {', '.join(names)}", hint=f"name a column {' or '.join(wanted)}")
    return found


LAYOUTS: dict[str, Callable[[Path], Source]] = {
    "pairs": lambda path: FileSource("pairs", path, layouts.pairs),
    "jsonl": lambda path: FileSource("jsonl", path, layouts.jsonl),
    "ljspeech": lambda path: FileSource("ljspeech", path, layouts.ljspeech),
    "common-voice": lambda path: FileSource("common-voice", path, layouts.common_voice),
    "datasets": TableSource,
}


def open_source(path: Path, layout: str | None = None) -> Source:
    """The source at `path`, in the layout named or the one its files show. InputError if there is none."""
    if not path.exists():
        raise InputError(f"{path} does not exist", hint="give a folder of recordings, or a .jsonl or .parquet file")
    if layout is not None and layout not in LAYOUTS:
        raise InputError(f"{layout!r} is no layout of recordings", hint=f"known are {', '.join(LAYOUTS)}")
    path = Path(os.path.abspath(path))  # an item is called the same from wherever it is prepared
    return LAYOUTS[layout or recognised(path)](path)


def recognised(path: Path) -> str:
    """The layout of what is at `path`; InputError if it shows none."""
    if path.is_file():
        layout = {".jsonl": "jsonl", ".parquet": "datasets"}.get(path.suffix)
        if layout is None:
            raise InputError(f"{path} is in no known layout", hint="give a folder, or a .jsonl or .parquet file")
        return layout
    if (path / layouts.METADATA).is_file():
        return "ljspeech"
    if (path / layouts.CLIPS).is_dir():
        return "common-voice"
    if (path / tables.STATE).is_file() or (path / tables.SPLITS).is_file() or any(path.glob("*.parquet")):
        return "datasets"
    if any(file.suffix == ".txt" or file.suffix.lower() in SUFFIXES for file in path.rglob("*")):
        return "pairs"
    raise InputError(f"{path} holds no recordings in a known layout", hint=f"known are {', '.join(LAYOUTS)}")
