"""A Realtime voice: the prefilled memory of a speaker, and which model it belongs to.

Its tensors are named as `presets.read_preset` names them; `card` says how the file around them is laid out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from loquor.errors import VoiceError
from loquor.voices.card import Fingerprint, PromptCard, language_of, read_voice_file, save_voice_file
from loquor.voices.presets import BRANCHES, read_preset


@dataclass(frozen=True, kw_only=True, eq=False)
class Voice(PromptCard):
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
        save_voice_file(path, self, self.tensors)

    @classmethod
    def open(cls, path: Path) -> Voice:
        """The voice saved at `path`; VoiceError if there is none, it is damaged, or it is a recording."""
        card, tensors = read_voice_file(path)
        if not isinstance(card, PromptCard):
            raise VoiceError(
                f"{path} is a {card.kind}, and a Realtime model needs a prompt that it made itself",
                hint="long-form models speak with recordings; see `loquor voices list`",
            )
        fields = {f.name: getattr(card, f.name) for f in dataclasses.fields(card)}
        try:
            return cls(**fields, tensors=tensors)
        except VoiceError as error:
            raise VoiceError(f"{path}: {error}", hint=error.hint) from None


def import_preset(path: Path, consent: str = "") -> Voice:
    """A published Realtime preset (.pt) as a Voice: named by its file, `en-Davis_man.pt` is an English voice."""
    tensors = read_preset(path)
    try:
        model = fingerprint(tensors)
    except VoiceError as error:
        raise VoiceError(f"{path}: {error}") from None
    return Voice(
        name=path.stem,
        language=language_of(path.stem),
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
