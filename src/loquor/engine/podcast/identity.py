"""What tells one production from another: short names for everything that shapes its takes.

Pauses and chapters are none of it, as they come in when the episode is put together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import torch
from torch import Tensor, nn

from loquor.engine.podcast.health import Ears
from loquor.engine.podcast.production import Production
from loquor.models.longform.model import LongformModel

SAMPLES = 64  # numbers of a tensor that are looked at


@dataclass(frozen=True)
class Identity:
    """What an episode is made of: `parts` must be the same to go on, `surroundings` should be."""

    parts: Mapping[str, str]
    surroundings: Mapping[str, str]  # a difference may change the last bits of what is still to come


def identity_of(production: Production, model: LongformModel, ears: Ears) -> Identity:
    """The identity of a production by a model, with takes that `ears` judge."""
    settings = production.settings
    sampling = {name: str(value) for name, value in asdict(settings.sampling).items()}
    words = [(take.turn, take.piece, take.scene, take.speaker, take.text) for take in production.plan.takes]
    voices = {f"voice of {name}": hash_of(voice.waveform) for name, voice in production.voices.items()}
    judged = [field.name for field in fields(ears) if getattr(ears, field.name)]
    rules = {
        "retakes": str(settings.retakes),
        "seconds carried": f"{settings.carry_s:g}",
        "limits of health": hash_of(settings.limits),
        "judged by ear": ", ".join(judged) or "nothing",
    }
    parts = {"script": hash_of(words), **voices, "model": hash_of(model.config, hash_of_model(model))}
    device = model.embedding.weight.device.type
    surroundings = {"torch": torch.__version__, "threads": str(torch.get_num_threads()), "device": device}
    return Identity(parts | sampling | rules, surroundings)


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What is not the same, as "seed was 0, is 1"."""
    return [
        f"{name} was {before.get(name, 'nothing')}, is {now.get(name, 'nothing')}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


def hash_of(*values: object) -> str:
    """A short name for texts, numbers, dataclasses and tensors, in order."""
    digest = hashlib.sha256()
    for value in values:
        data = value.detach().cpu().numpy().tobytes() if isinstance(value, Tensor) else repr(value).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:16]


def hash_of_model(model: nn.Module) -> str:
    """A short name for the weights of a model, whatever was merged into them: samples of every tensor."""
    samples = []
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.reshape(-1)[:: max(1, tensor.numel() // SAMPLES)].float()
        samples += [name, tuple(tensor.shape), str(tensor.dtype), values]
    return hash_of(*samples)
