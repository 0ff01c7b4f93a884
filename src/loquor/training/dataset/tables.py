"""Rows of the tables that the `datasets` library saves: Arrow streams, mapped into memory, and Parquet files.

They are read with pyarrow alone, row by row, so a set may be larger than memory, and no code of the set is run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from loquor.audio.resample import Waveform
from loquor.configs import read_json
from loquor.errors import InputError, MissingExtra

STATE, SPLITS = "state.json", "dataset_dict.json"  # beside the files of a saved set, and of several


@dataclass(frozen=True)
class Cell:
    """A place in a table; `element` counts inside a list, if the cell holds one."""

    file: Path
    block: int
    row: int
    column: str
    element: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}: {self.column} of row {self.row} in block {self.block}"
        return place if self.element is None else f"{place}, number {self.element}"


@dataclass(frozen=True)
class TableAudio:
    """What a cell holds, one of three; the path may also be only the name of the bytes."""

    path: str | None = None
    data: bytes | None = None
    samples: Waveform | None = None
    rate_hz: int = 0


def table_files(path: Path) -> list[Path]:
    """The files of a saved set: a Parquet file or a folder of them, or what `save_to_disk` wrote."""
    if path.is_file():
        return [path]
    if (path / SPLITS).is_file():
        names = read_json(path / SPLITS).get("splits", [])
        hint = f"name one: {', '.join(str(path / str(name)) for name in names)}"
        raise InputError(f"{path} holds several sets", hint)
    if not (path / STATE).is_file():
        return sorted(path.glob("*.parquet"))
    state = read_json(path / STATE)
    if state.get("_indices_data_files"):
        hint = "flatten_indices() and save it again"
        raise InputError(f"{path} is a selection of the rows of another set", hint)
    return [path / str(entry["filename"]) for entry in state.get("_data_files", [])]


def columns(file: Path) -> list[str]:
    """The names of a table's columns."""
    return list(_opened(file).schema_arrow.names if _is_parquet(file) else _opened(file).schema.names)


def rows(file: Path, wanted: list[str]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Block, row within it, and the values of the wanted columns, none of which should be sound."""
    for block in range(_block_count(file)):
        values = _block(file, block, tuple(wanted)).to_pylist()
        for row, value in enumerate(values):
            yield block, row, value


def element_count(file: Path, block: int, row: int, column: str) -> int | None:
    """How many elements a cell's list has; None if it holds no list."""
    import pyarrow as pa

    scalar = _kept_block(file, block, (column,)).column(column)[row]
    is_list = isinstance(scalar, pa.ListScalar)
    return (len(scalar) if scalar.is_valid else 0) if is_list else None


def is_empty(cell: Cell) -> bool:
    return not _scalar(cell).is_valid


def sound_of(cell: Cell) -> TableAudio:
    """The recording in a cell; InputError if its type is none that holds one."""
    import pyarrow as pa

    scalar = _scalar(cell)
    if not scalar.is_valid:
        return TableAudio()
    if isinstance(scalar, pa.StringScalar | pa.LargeStringScalar):
        return TableAudio(path=scalar.as_py())
    if isinstance(scalar, pa.BinaryScalar | pa.LargeBinaryScalar):
        return TableAudio(data=scalar.as_py())
    if isinstance(scalar, pa.StructScalar):
        names = {field.name for field in scalar.type}
        path = scalar["path"].as_py() if "path" in names else None
        if {"array", "sampling_rate"} <= names and scalar["array"].is_valid:
            return TableAudio(path, None, _samples(scalar["array"]), int(scalar["sampling_rate"].as_py() or 0))
        if "bytes" in names or "path" in names:
            return TableAudio(path, scalar["bytes"].as_py() if "bytes" in names else None)
    raise InputError(
        f"{cell} is of type {scalar.type}, which is no sound", hint="save the column as Audio, or as paths"
    )


def _samples(scalar: Any) -> Waveform:
    import pyarrow as pa

    nested = isinstance(scalar.type.value_type, pa.ListType | pa.LargeListType)
    return np.asarray(scalar.as_py() if nested else scalar.values.to_numpy(zero_copy_only=False), dtype=np.float32)


def _scalar(cell: Cell) -> Any:
    scalar = _kept_block(cell.file, cell.block, (cell.column,)).column(cell.column)[cell.row]
    return scalar if cell.element is None else scalar.values[cell.element]


def _is_parquet(file: Path) -> bool:
    return file.suffix == ".parquet"


def _block_count(file: Path) -> int:
    opened = _opened(file)
    return int(opened.num_row_groups) if _is_parquet(file) else len(_batches(file))


def _block(file: Path, block: int, wanted: tuple[str, ...]) -> Any:
    if _is_parquet(file):
        return _opened(file).read_row_group(block, columns=list(wanted))
    return _batches(file)[block].select(list(wanted))


@lru_cache(maxsize=2)
def _kept_block(file: Path, block: int, wanted: tuple[str, ...]) -> Any:
    """Rows are asked for one by one; a row group of Parquet is decoded as a whole."""
    return _block(file, block, wanted)


@lru_cache(maxsize=1024)
def _batches(file: Path) -> list[Any]:
    """Of an Arrow stream: views of the mapping, not copies."""
    return list(_opened(file).to_batches())


@lru_cache(maxsize=1024)
def _opened(file: Path) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra(f"{file} is read with pyarrow", hint="pip install 'loquor[data]'") from None
    try:
        if _is_parquet(file):
            return pa.parquet.ParquetFile(file, memory_map=True)
        return pa.ipc.open_stream(pa.memory_map(str(file))).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{file} cannot be read: {error}", hint="save the set again") from None
