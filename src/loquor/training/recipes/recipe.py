"""A recipe: everything that decides what a training does, read strictly from YAML and `key=value`.

Shipped recipes state only what sets them apart from the defaults in `options`.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from loquor.configs import from_dict
from loquor.errors import ConfigError, InputError, MissingExtra
from loquor.training.recipes.options import (
    AudioOptions,
    BatchOptions,
    FeedingOptions,
    FrameBatchOptions,
    LongformOptions,
    LowRankOptions,
    OptimiserOptions,
    RealtimeOptions,
    RowBatchOptions,
    SpokenWatchOptions,
    VitaLossOptions,
    VitaOptimiserOptions,
    WatchOptions,
    require_one,
)

SHIPPED = Path(__file__).parent
MOST_MODULES = 100

Section = TypeVar("Section")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole training: what all families have. Paths are as the user wrote them."""

    strategies: ClassVar[tuple[str, ...]]

    family: str
    strategy: str
    data: str = ""  # to learn from
    out: str = ""  # folder to write
    model: str = ""  # to start from; nothing: the embedded voice
    seed: int = 0
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)
    batch: BatchOptions
    watch: WatchOptions = field(default_factory=WatchOptions)

    def __post_init__(self) -> None:
        require_one("strategy", self.strategy, self.strategies)

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Dotted keys in which `other`, a recipe's dictionary as JSON keeps it, would learn something else."""
        ours, theirs = _flat(json.loads(json.dumps(self.as_dict()))), _flat(other)
        return [k for k in sorted({*ours, *theirs}) if not _looks_only(k) and ours.get(k) != theirs.get(k)]


@dataclass(frozen=True, kw_only=True)
class VibeVoiceRecipe(Recipe):
    """A fine-tuning on what `loquor data prepare` has made."""

    strategies: ClassVar[tuple[str, ...]] = ("conservative", "lora", "full")

    loss: RealtimeOptions | LongformOptions
    voice: str = ""  # Realtime: whose prompt every example follows; nothing: the model's default
    lora: LowRankOptions = field(default_factory=LowRankOptions)
    batch: FrameBatchOptions = field(default_factory=FrameBatchOptions)
    watch: SpokenWatchOptions = field(default_factory=SpokenWatchOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.voice and self.family != "realtime":
            raise ConfigError("voice is of realtime recipes; long-form data brings its voices")


@dataclass(frozen=True, kw_only=True)
class VitaRecipe(Recipe):
    """A stage of VITA-Audio's training, on conversations."""

    strategies: ClassVar[tuple[str, ...]] = ("full", "modules")

    validation: str = ""  # conversations that are only looked at
    modules: int | None = None  # the model shall have; new ones begin as copies. Nothing: as many as it has
    loss: VitaLossOptions = field(default_factory=VitaLossOptions)
    optimiser: VitaOptimiserOptions = field(default_factory=VitaOptimiserOptions)
    batch: RowBatchOptions = field(default_factory=RowBatchOptions)
    feed: FeedingOptions = field(default_factory=FeedingOptions)
    audio: AudioOptions = field(default_factory=AudioOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.modules is not None:
            _require_int("modules", self.modules, MOST_MODULES)


FAMILIES: dict[str, type[Recipe]] = {
    "realtime": VibeVoiceRecipe,
    "longform": VibeVoiceRecipe,
    "vita": VitaRecipe,
}
SECTIONS: dict[str, dict[str, type]] = {
    "realtime": {
        "lora": LowRankOptions,
        "optimiser": OptimiserOptions,
        "batch": FrameBatchOptions,
        "watch": SpokenWatchOptions,
        "loss": RealtimeOptions,
    },
    "vita": {
        "optimiser": VitaOptimiserOptions,
        "batch": RowBatchOptions,
        "watch": WatchOptions,
        "loss": VitaLossOptions,
        "feed": FeedingOptions,
        "audio": AudioOptions,
    },
}
SECTIONS["longform"] = SECTIONS["realtime"] | {"loss": LongformOptions}


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def read_recipe(name: str, changes: Sequence[str] = ()) -> Recipe:
    """A shipped recipe or a YAML file, with `key=value` changes such as `lora.rank=8`.

    InputError if there is none or a change is no `key=value`; ConfigError names the key that is unknown, with the
    nearest that is not, or whose value does not fit.
    """
    path = SHIPPED / f"{name}.yaml" if name in shipped_recipes() else Path(name).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"there is no recipe {name}: {error}", hint=f"name a file, or one of {', '.join(shipped_recipes())}"
        ) from None
    values = _parse(text, str(path))
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no keys with values")
    for change in changes:
        change_value(values, change)
    return build_recipe(values, str(path))


def build_recipe(values: Mapping[str, Any], source: str) -> Recipe:
    """The recipe of plain values; errors name `source`."""
    family = values.get("family")
    if not isinstance(family, str) or family not in FAMILIES:
        raise ConfigError(f"{source}: family is {family!r}", hint=f"one of {', '.join(FAMILIES)}")
    kind, sections = FAMILIES[family], SECTIONS[family]
    require_known(values, kind, source)
    built: dict[str, Any] = {
        name: _section(section, values.get(name) or {}, name, source) for name, section in sections.items()
    }
    plain = {name: value for name, value in values.items() if name not in sections}
    for f in dataclasses.fields(kind):
        if f.name in plain and f.type == "str" and not isinstance(plain[f.name], str):
            plain[f.name] = "" if plain[f.name] is None else str(plain[f.name])  # a folder may be called 2026
    try:
        _require_int("seed", plain.get("seed", 0), 2**31 - 1)
        return kind(**plain, **built)
    except TypeError as error:
        raise ConfigError(f"{source}: {error}") from None


def _section(kind: type[Section], values: Any, name: str, source: str) -> Section:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{source}: {name} must have keys with values, got {values!r}")
    require_known(values, kind, source, f"{name}.")
    types = {f.name: str(f.type) for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return from_dict(kind, {k: _number(v) if "float" in types[k] else v for k, v in values.items()}, source, ())


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-4 as a word."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def require_known(values: Mapping[str, Any], kind: type, source: str, prefix: str = "") -> None:
    """ConfigError for a key that is no field of `kind`, with the nearest that is."""
    known = [f.name for f in dataclasses.fields(kind)]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"there is {', '.join(prefix + k for k in known)}"
            raise ConfigError(f"{source}: there is no key {prefix}{name}", hint=hint)


def change_value(values: dict[str, Any], change: str) -> None:
    """Put a `key=value` change, such as `lora.rank=8`, into plain values."""
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise InputError(f"{change!r} is no key=value", hint="such as data=./prepared or lora.rank=8")
    *parents, last = key.split(".")
    for parent in parents:
        below = values.setdefault(parent, {})
        if not isinstance(below, dict):
            raise ConfigError(f"{key}: {parent} has no keys below it")
        values = below
    values[last] = _parse(text, key)


def _parse(text: str, source: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise MissingExtra("recipes are read with PyYAML", hint="pip install 'loquor[train]'") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is no YAML: {' '.join(str(error).split())}") from None


def write_recipe(recipe: Recipe) -> str:
    """The recipe with all its values, as YAML that `read_recipe` reads."""
    return as_yaml(recipe.as_dict())


def as_yaml(values: Mapping[str, Any]) -> str:
    """Plain values, in sections or not, as YAML; tuples are lists there."""
    import yaml

    values = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    for section in values.values():
        if isinstance(section, dict):
            section |= {k: list(v) for k, v in section.items() if isinstance(v, tuple)}
    return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _looks_only(key: str) -> bool:
    """Whether a key says where things are or what is looked at, not what is learned."""
    return key == "out" or key.startswith("watch.")


def _require_int(name: str, value: object, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ConfigError(f"{name} must be a whole number from 0 to {most}, got {value!r}")
