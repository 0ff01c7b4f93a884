"""What a voice file says of itself, and how such files are laid out.

A voice is saved as safetensors: its tensors, and everything else as one JSON object under the `loquor` key of the
header, so any tool can show whose voice a file is without reading a tensor. Two kinds of voice share this scheme and
are told apart by `kind`: the prefilled prompt of a Realtime model, and a recording that long-form models listen to.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import ClassVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from loquor.checkpoints import write_atomically
from loquor.configs import from_dict, require_int
from loquor.errors import CheckpointError, ConfigError, VoiceError

HEADER_KEY = "loquor"
FORMAT = 1


@dataclass(frozen=True)
class Fingerprint:
    """The model a voice was made by, as far as shapes tell; exactly, if both sides know `weights` (a hash)."""

    text_layers: int  # of the lower model
    speech_layers: int  # of the upper model
    kv_heads: int
    head_dim: int
    hidden_size: int
    weights: str = ""

    def __post_init__(self) -> None:
        shapes = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "weights"}
        require_int("fingerprint", **shapes)
        if not isinstance(self.weights, str):
            raise ConfigError(f"fingerprint.weights must be text, got {self.weights!r}")

    def differences(self, other: Fingerprint) -> list[str]:
        """What does not match, as "name ours, not theirs"; a missing hash matches any."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self)}
        return [
            f"{name} {ours}, not {theirs}"
            for name, (ours, theirs) in pairs.items()
            if ours != theirs and not (name == "weights" and "" in (ours, theirs))
        ]


@dataclass(frozen=True, kw_only=True)
class Card:
    """What every voice file says of itself."""

    kind: ClassVar[str]

    name: str
    language: str = ""  # such as "en"; empty if unknown
    consent: str = ""  # who agreed to what use, in words
    source: str = ""  # where the voice comes from

    def __post_init__(self) -> None:
        texts = {f: getattr(self, f) for f in ("name", "language", "consent", "source")}
        for f, text in texts.items():
            if not isinstance(text, str) or (f == "name" and not text):
                raise ConfigError(f"voice.{f} must be text, got {text!r}")


@dataclass(frozen=True, kw_only=True)
class PromptCard(Card):
    """The card of a prefilled prompt, which one Realtime model made and only such a model can continue."""

    kind: ClassVar[str] = "realtime prompt"

    model: Fingerprint
    created: str = ""  # the day it was made of a reference, ISO 8601; empty if it was imported

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.created != "":
            _require_date(self.created)

    def misfits(self, model: Fingerprint | None) -> list[str]:
        """What keeps a model from speaking with this voice; `model` is None for the long-form family."""
        return ["a long-form model needs a recording"] if model is None else self.model.differences(model)


@dataclass(frozen=True, kw_only=True)
class RecordingCard(Card):
    """The card of a recording, which any long-form model can listen to."""

    kind: ClassVar[str] = "recording"

    created: str  # the day it was made into a voice, ISO 8601

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_date(self.created)

    def misfits(self, model: Fingerprint | None) -> list[str]:
        """What keeps a model from speaking with this voice; `model` is None for the long-form family."""
        return [] if model is None else ["a Realtime model needs a prompt that it made itself"]


AnyCard = PromptCard | RecordingCard
KINDS: dict[str, type[AnyCard]] = {card.kind: card for card in (PromptCard, RecordingCard)}


def read_card(path: Path) -> AnyCard:
    """What the voice file at `path` says of itself; reads the header only. VoiceError if it is no voice, or damaged."""
    return _card(path, _read(path, with_tensors=False)[0])


def read_voice_file(path: Path) -> tuple[AnyCard, dict[str, Tensor]]:
    """Card and tensors of the voice file at `path`; VoiceError if it is no voice, or damaged."""
    header, tensors = _read(path, with_tensors=True)
    return _card(path, header), tensors


def save_voice_file(path: Path, card: AnyCard, tensors: Mapping[str, Tensor]) -> None:
    """Write `path` whole or not at all; VoiceError if it cannot be written.

    Of `card`, which may be a whole voice, only what belongs on a card is written to the header.
    """
    values = {f.name: getattr(card, f.name) for f in dataclasses.fields(KINDS[card.kind])}
    header = json.dumps({"format": FORMAT, "kind": card.kind, **values}, ensure_ascii=False, default=dataclasses.asdict)
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, {HEADER_KEY: header})

    def write(beside: Path) -> None:
        beside.write_bytes(data)

    try:
        write_atomically(path, write)
    except CheckpointError as error:
        raise VoiceError(str(error), hint=error.hint) from None


def language_of(name: str) -> str:
    """The language that the name of a published voice begins with: "en" for en-Davis_man; empty if none."""
    found = re.match(r"([a-z]{2,3})-", name)
    return found[1] if found else ""


def _require_date(created: str) -> None:
    try:
        date.fromisoformat(created)
    except (TypeError, ValueError):
        raise ConfigError(f"voice.created must be a date such as 2026-11-21, got {created!r}") from None


def _card(path: Path, header: str) -> AnyCard:
    """The header's JSON as a card, strictly; voices saved before there were two kinds are prompts."""
    try:
        values = json.loads(header)
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise ConfigError(f"is not in voice format {FORMAT}")
        kind = values.pop("kind", PromptCard.kind)
        if not isinstance(kind, str) or kind not in KINDS:
            raise ConfigError(f"is a voice of unknown kind {kind!r}")
        if kind == PromptCard.kind:
            model = values.get("model")
            values["model"] = from_dict(Fingerprint, model if isinstance(model, dict) else {}, "model", ignore=())
        return from_dict(KINDS[kind], values, "voice", ignore=())
    except (ValueError, ConfigError, RecursionError) as error:
        raise VoiceError(
            f"{path}: its header cannot be used: {error}", hint="was it saved by a newer Loquor?"
        ) from None


def _read(path: Path, with_tensors: bool) -> tuple[str, dict[str, Tensor]]:
    """The header's text and, if asked for, the tensors of a voice file."""
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(HEADER_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()} if with_tensors else {}  # noqa: SIM118
    except FileNotFoundError:
        raise VoiceError(f"{path} does not exist") from None
    except (SafetensorError, OSError) as error:
        hint = "import it first with `import_preset`" if path.suffix == ".pt" else "expected a .safetensors voice"
        raise VoiceError(f"{path} is no voice: {error}", hint=hint) from None
    if header is None:
        raise VoiceError(f"{path} is a safetensors file, but no voice", hint=f"its header has no {HEADER_KEY!r} entry")
    return header, tensors
