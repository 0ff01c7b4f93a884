"""A voice: the prefilled memory of a speaker, with a name, where it comes from, and which model it belongs to.

Saved as safetensors: tensors as `presets.read_preset` names them, and everything else as one JSON object under the
`loquor` key of the header, so any tool can show whose voice a file is without reading a tensor.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from loquor.checkpoints import write_atomically
from loquor.configs import from_dict, require_int
from loquor.errors import CheckpointError, ConfigError, VoiceError
from loquor.voices.presets import BRANCHES, read_preset

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
    """What a voice file says of itself."""

    name: str
    language: str = ""  # such as "en"; empty if unknown
    consent: str = ""  # who agreed to what use, in words
    source: str = ""  # where the voice comes from
    model: Fingerprint

    def __post_init__(self) -> None:
        texts = {f: getattr(self, f) for f in ("name", "language", "consent", "source")}
        for f, text in texts.items():
            if not isinstance(text, str) or (f == "name" and not text):
                raise ConfigError(f"voice.{f} must be text, got {text!r}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Voice(Card):
    """A card and the prompt's tensors: caches [1, kv_heads, P, head_dim] and hidden states [1, P, H] of four branches.

    Read-only: an engine copies the caches for each request.
    """

    tensors: dict[str, Tensor] = field(repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        different = dataclasses.replace(self.model, weights="").differences(fingerprint(self.tensors))
        if different:
            raise VoiceError(f"voice {self.name!r} does not hold the tensors it declares: {'; '.join(different)}")

    def length(self, branch: str) -> int:
        """Positions P that the prompt takes in a branch."""
        return self.tensors[f"{branch}.last_hidden_state"].shape[1]

    def layers(self, branch: str) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of each layer, [1, kv_heads, P, head_dim]; keys are stored after rotation at 0, 1, ..."""
        count = self.model.speech_layers if branch.endswith("tts_lm") else self.model.text_layers
        return [(self.tensors[f"{branch}.key.{i}"], self.tensors[f"{branch}.value.{i}"]) for i in range(count)]

    def require_model(self, model: Fingerprint) -> None:
        """VoiceError unless this voice was made by a model of that fingerprint."""
        different = self.model.differences(model)
        if different:
            raise VoiceError(
                f"voice {self.name!r} was made by another model: {'; '.join(different)}",
                hint="pick a voice that belongs to this model: see `loquor voices`",
            )

    def save(self, path: Path) -> None:
        """Write `path` whole or not at all; VoiceError if it cannot be written."""
        card = {f.name: getattr(self, f.name) for f in dataclasses.fields(Card)}
        header = {"format": FORMAT, **card, "model": dataclasses.asdict(self.model)}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        data = save(tensors, {HEADER_KEY: json.dumps(header, ensure_ascii=False)})

        def write(beside: Path) -> None:
            beside.write_bytes(data)

        try:
            write_atomically(path, write)
        except CheckpointError as error:
            raise VoiceError(str(error), hint=error.hint) from None

    @classmethod
    def open(cls, path: Path) -> Voice:
        """The voice saved at `path`; VoiceError if there is none, or it is damaged."""
        header, tensors = _read(path, with_tensors=True)
        card = _card(path, header)
        fields = {f.name: getattr(card, f.name) for f in dataclasses.fields(Card)}
        try:
            return cls(**fields, tensors=tensors)
        except VoiceError as error:
            raise VoiceError(f"{path}: {error}", hint=error.hint) from None


def read_card(path: Path) -> Card:
    """What the voice file at `path` says of itself; reads the header only."""
    return _card(path, _read(path, with_tensors=False)[0])


def import_preset(path: Path, consent: str = "") -> Voice:
    """A published Realtime preset (.pt) as a Voice: named by its file, `en-Davis_man.pt` is an English voice."""
    tensors = read_preset(path)
    language = re.match(r"([a-z]{2,3})-", path.stem)
    try:
        model = fingerprint(tensors)
    except VoiceError as error:
        raise VoiceError(f"{path}: {error}") from None
    return Voice(
        name=path.stem,
        language=language[1] if language else "",
        consent=consent,
        source=f"imported from the preset {path.name}",
        model=model,
        tensors=tensors,
    )


def fingerprint(tensors: Mapping[str, Tensor]) -> Fingerprint:
    """The shapes of the model that made these tensors; VoiceError if some are missing or contradict each other."""
    shapes = [_branch_shape(branch, tensors) for branch in BRANCHES]
    layers, sizes = [counted for counted, _ in shapes], {shape for _, shape in shapes}
    if layers[:2] != layers[2:] or len(sizes) != 1:
        raise VoiceError("the branches of a voice differ in heads or width, or the negative ones in layers")
    known = 2 * sum(layers) + len(BRANCHES)
    if len(tensors) != known:
        raise VoiceError(f"a voice of these shapes has {known} tensors, got {len(tensors)}")
    kv_heads, head_dim, hidden_size = sizes.pop()
    return Fingerprint(layers[0], layers[1], kv_heads, head_dim, hidden_size)


def _branch_shape(branch: str, tensors: Mapping[str, Tensor]) -> tuple[int, tuple[int, int, int]]:
    """The layers of one branch, and its kv_heads, head_dim and hidden_size."""
    layers = 0
    while f"{branch}.key.{layers}" in tensors:
        layers += 1
    hidden = tensors.get(f"{branch}.last_hidden_state")
    if not layers or hidden is None or hidden.dim() != 3 or hidden.shape[0] != 1:
        raise VoiceError(f"branch {branch} of a voice needs hidden states [1, P, H] and at least one layer")
    first = tensors[f"{branch}.key.0"].shape
    for i in range(layers):
        for name in (f"{branch}.key.{i}", f"{branch}.value.{i}"):
            tensor = tensors.get(name)
            if tensor is None or tensor.shape != first or len(first) != 4 or (first[0], first[2]) != hidden.shape[:2]:
                raise VoiceError(
                    f"{name} of a voice should be [1, kv_heads, {hidden.shape[1]}, head_dim] as its siblings"
                )
    if not all(t.is_floating_point() for name, t in tensors.items() if name.startswith(f"{branch}.")):
        raise VoiceError(f"branch {branch} of a voice holds something else than floating-point numbers")
    return layers, (first[1], first[3], hidden.shape[2])


def _card(path: Path, header: str) -> Card:
    """The header's JSON as a card, strictly."""
    try:
        values = json.loads(header)
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise ConfigError(f"is not in voice format {FORMAT}")
        model = values.get("model")
        values["model"] = from_dict(Fingerprint, model if isinstance(model, dict) else {}, "model", ignore=())
        return from_dict(Card, values, "voice", ignore=())
    except (ValueError, ConfigError) as error:
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
