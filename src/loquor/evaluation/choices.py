"""Which system is evaluated, and how it is to speak: in words that another process understands, and as a hash."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from loquor.configs import read_json
from loquor.engine.load import model_folder
from loquor.engine.request import MAX_SEED
from loquor.engine.speaker import DEFAULTS_FILE
from loquor.errors import InputError
from loquor.evaluation.performance import hash_of, hash_of_file, release_of
from loquor.evaluation.sets import SOUNDS, TASKS, Item, Task
from loquor.evaluation.transcribers import MOONSHINE, WHISPER
from loquor.models import VITA, adapter_choices, family_of
from loquor.voices.catalogue import catalogue

LISTENERS = (MOONSHINE, f"{WHISPER}:", "http://", "https://")  # beginnings of a transcriber's name
FILES = (".json", ".safetensors", ".pt", ".onnx", ".yaml")  # of a model, and of an audio tokenizer within it
VOICES = "voices"  # a folder in a model's, of which only the voice that speaks counts


@dataclass(frozen=True)
class Choices:
    """Which system, and how it is to speak; None is the model's own default."""

    model: str | None = None
    voice: str = "default"
    guidance: float | None = None
    steps: int | None = None
    seed: int = 0
    device: str = "cpu"
    dtype: str | None = None
    adapter: tuple[str, ...] = ()
    backend: str = "torch"  # or openvino, of Realtime models

    @property
    def is_listener(self) -> bool:
        return (self.model or "").startswith(LISTENERS)

    @property
    def recorded(self) -> Path | None:
        """Where another system left what it did: a folder without a model in it, or a .jsonl."""
        path = Path(self.model) if self.model else Path()
        is_folder = bool(self.model) and path.is_dir() and not (path / "config.json").exists()
        return path if is_folder or path.suffix == ".jsonl" else None

    @property
    def name(self) -> str:
        return self.model or "embedded"

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What the system can be asked."""
        if self.recorded:
            return TASKS
        if self.is_listener:
            return ("transcribe",)
        return TASKS if family_of(model_folder(self.model)) is VITA else ("speak",)

    def seed_of(self, item: Item) -> int:
        """An item's own, so that it sounds the same in every set: by its text and the seed."""
        return (self.seed * (1 << 32) + zlib.crc32(item.text.encode())) % (MAX_SEED + 1)

    def keys_of(self, items: Sequence[Item]) -> list[str]:
        """For each item a hash of all that its performance follows from."""
        if self.recorded:
            texts = predictions_in(self.recorded)
            paths = [recording_of(self.recorded, item) for item in items]
            pairs = zip(items, paths, strict=True)
            return [hash_of(path and hash_of_file(path), texts.get(i.id), i.prompt is not None) for i, path in pairs]
        identity, keys = self.identity(), []
        for item in items:
            files = [path and hash_of_file(path) for path in (item.prompt, item.heard)]
            keys.append(hash_of(identity, item.task, item.text, files, self.seed_of(item)))
        return keys

    def identity(self) -> str:
        """A hash of the system: the content of its files, how it is to speak, and the release of this package."""
        if self.is_listener or self.recorded:
            return hash_of(self.name, release_of("loquor"))
        folders = [model_folder(self.model), *(choice.folder for choice in adapter_choices(self.adapter))]
        paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix in FILES]
        paths = [path for path in paths if path.parent.name != VOICES]
        paths += self._voices(folders[0])
        contents = [(path.name, hash_of_file(path)) for path in paths]
        options = {name: value for name, value in asdict(self).items() if name not in ("model", "seed")}
        return hash_of(contents, options, release_of("loquor"))

    def _voices(self, folder: Path) -> list[Path]:
        """The files that the voice may come from: without a default of the model's own, any it has may be it."""
        known, defaults, name = catalogue(folder), folder / DEFAULTS_FILE, self.voice
        if name == "default" and defaults.is_file():
            name = str(read_json(defaults).get("voice", name))
        if name in known:
            return [known[name]]
        return [Path(name)] if Path(name).is_file() else sorted(known.values())


def recording_of(path: Path, item: Item) -> Path | None:
    """The recording of an item, by any of the suffixes."""
    if not path.is_dir():
        return None
    return next((found for suffix in sorted(SOUNDS) if (found := path / f"{item.id}{suffix}").is_file()), None)


def predictions_in(path: Path) -> dict[str, str]:
    """Written answers by id."""
    if path.is_dir():
        return {text.stem: text.read_text(encoding="utf-8").strip() for text in path.glob("*.txt")}
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {str(row.get("index", row.get("id"))): str(row["prediction"]) for row in rows}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        hint = "a line is {'index': ..., 'prediction': ...}"
        raise InputError(f"{path} has no predictions: {type(error).__name__} {error}", hint) from error
