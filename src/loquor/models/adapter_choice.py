"""Adapters as users name them: one or several, each `path` or `path@strength`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loquor.errors import InputError

Adapters = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class AdapterChoice:
    """An adapter and how much of it."""

    folder: Path
    strength: float = 1.0

    @classmethod
    def parse(cls, text: str | Path) -> AdapterChoice:
        """InputError if what follows the @ is no number and the whole is no folder."""
        folder, at, strength = str(text).rpartition("@")
        if not at or Path(text).is_dir():
            return cls(Path(text).expanduser())
        try:
            return cls(Path(folder).expanduser(), float(strength))
        except ValueError:
            raise InputError(f"{strength!r} is no strength", hint=f"such as {folder}@0.8") from None


def adapter_choices(adapters: Adapters) -> list[AdapterChoice]:
    """What a user chose; InputError if a strength is no number."""
    return [AdapterChoice.parse(text) for text in ([adapters] if isinstance(adapters, str | Path) else adapters)]
