"""Gives a Realtime model the encoder that its checkpoint came without: takes, training, and a folder with all of it.

Killed and repeated, it goes on where it was: takes are files of their own, training resumes exactly.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from loquor.checkpoints import write_text
from loquor.configs import read_json
from loquor.engine.load import device_of, load
from loquor.engine.speaker import Speaker
from loquor.errors import CheckpointError, ConfigError
from loquor.models import REALTIME, family_of
from loquor.models.realtime.checkpoint import export_realtime, load_realtime
from loquor.models.realtime.model import RealtimeModel
from loquor.training.beside import copy_beside
from loquor.training.dataset.encoding import weights_fingerprint
from loquor.training.distilled_encoder import Distillation, Material
from loquor.training.excerpts import read_recordings
from loquor.training.export import MODEL
from loquor.training.takes import missing_takes, read_takes, say_takes
from loquor.training.trainer import Optimisation

RUN, TAKES = "run.json", "takes"


@dataclass(frozen=True)
class DistilSettings:
    """What an encoder learns from."""

    texts: tuple[str, ...]  # one take each
    recordings: Path | None = None  # a folder, or one file, which then only measures
    steps: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class DistilProgress:
    """How far a distillation is."""

    work: str  # takes, then steps
    done: int
    total: int
    loss: float = math.nan


def distil(
    folder: Path, out: Path, settings: DistilSettings, device: str, progress: Callable[[DistilProgress], None]
) -> Distillation:
    """Train an encoder for the Realtime model in `folder` and write the model with it to `out`/model.

    All other tensors keep their bytes; what lies beside them is copied. `device` is as `engine.load` has it. Gives the
    trained encoder with what measures it. ConfigError if the model needs no encoder, CheckpointError if `out` holds
    another run.
    """
    model = _without_encoder(folder)
    assert model.codec.decoder is not None, "every Realtime model has one"
    dtype = model.codec.decoder.stem.weight.dtype
    recordings = read_recordings(settings.recordings) if settings.recordings else []
    _begin_run(out, settings, recordings, weights_fingerprint([model.codec.decoder]))
    count = len(settings.texts)
    if missing_takes(out / TAKES, count):
        speaker = load(folder, device, backend="torch")
        assert isinstance(speaker, Speaker), "the model is a Realtime one"
        say_takes(speaker, settings.texts, out / TAKES, lambda done: progress(DistilProgress("takes", done, count)))
        del speaker
    options = Optimisation(settings.steps, warmup_steps=50, seed=settings.seed, autocast=False, save_every=100)
    place = torch.device(device_of(device))
    material = Material(read_takes(out / TAKES, count), recordings)
    training = Distillation(model, material, out, options, place)
    training.train(lambda step, loss: progress(DistilProgress("steps", step, settings.steps, loss)))
    complete = load_realtime(folder)
    complete.codec.encoder = training.trained(dtype)
    export_realtime(complete, out / MODEL, folder)
    copy_beside(folder, out / MODEL)
    return training


def _without_encoder(folder: Path) -> RealtimeModel:
    """The model in `folder`; ConfigError if it is of another family, or can listen already."""
    family = family_of(folder)
    if family is not REALTIME:
        raise ConfigError(
            f"{folder} is a {family.name} model", hint="only Realtime models are published without an encoder"
        )
    model = load_realtime(folder)
    if model.codec.encoder is not None:
        raise ConfigError(f"the codec of {folder} has an encoder already", hint="use the model as it is")
    return model


def _begin_run(out: Path, settings: DistilSettings, recordings: Sequence[Tensor], decoder: str) -> None:
    """Write down what is learned in `out`; CheckpointError if it is something else than what was written there."""
    facts = {
        "steps": settings.steps,
        "seed": settings.seed,
        "texts": _digest(text.encode() for text in settings.texts),
        "recordings": _digest(waveform.numpy().tobytes() for waveform in recordings),
        "decoder": decoder,
    }
    if (out / RUN).exists():
        found = read_json(out / RUN)
        if different := [key for key, value in facts.items() if found.get(key) != value]:
            raise CheckpointError(
                f"{out} holds another run: it differs in {', '.join(different)}", hint="choose another folder"
            )
    write_text(out / RUN, json.dumps(facts, indent=1))


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()
