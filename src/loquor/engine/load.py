"""From what a user calls a model to its speaker: the embedded voice, a folder, or a repository of the hub."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch

from loquor.engine.backend import TORCH, Choice
from loquor.engine.hub import download
from loquor.engine.speaker import Speaker
from loquor.errors import CheckpointError, ConfigError
from loquor.models import DTYPES, EMBEDDED, LONGFORM, REALTIME, VITA, Adapters, adapter_choices, family_of

if TYPE_CHECKING:
    from loquor.engine.audio_tokenizer import Place
    from loquor.engine.converser import Converser
    from loquor.engine.dialogue import DialogueSpeaker

    AnySpeaker: TypeAlias = Speaker | DialogueSpeaker | Converser

logger = logging.getLogger(__name__)

REPOSITORY = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
WANTED = ["*.json", "*.safetensors"]  # never a pickle, never code
DEVICES = ("cpu", "cuda", "auto")


def load(  # noqa: PLR0913, PLR0917 - an argument for each thing there is to say of a model
    model: str | Path | None = None,
    device: str = "cpu",
    dtype: str | None = None,
    adapter: Adapters = (),
    audio_tokenizer: Place | None = None,
    watermark: bool = True,
    backend: str | Choice = "auto",
) -> AnySpeaker:
    """A speaker: the embedded voice, that of a checkpoint folder, or of a hub repository `org/name[@revision]`.

    Realtime models give a `Speaker`, long-form models a `DialogueSpeaker`, VITA-Audio models a `Converser`, for which
    `audio_tokenizer` says where the folders of its audio tokenizer are, if they are not beside it. `device` is cpu,
    cuda, or auto (cuda if there is one). `dtype` is float32, bfloat16 or float16; None means what the files hold, but
    on the CPU float32 for Realtime models, and for others in float16. `adapter` is one or several, each `path` or
    `path@strength`, merged into the model's weights. `watermark` False leaves out the mark by which speech can be known
    for generated; a warning says so. `backend`, of Realtime models, is torch, openvino (eight bits, on processors; an
    optimised model is made if there is none), or auto: openvino where that model is there, and nothing else that is
    asked for speaks against it. Raises CheckpointError if there is no sound model of that name, or an adapter does
    not fit it or changes nothing, ConfigError for a family, device, dtype or backend that is not supported.
    """
    place = device_of(device)
    if dtype is not None and dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype!r} is not supported", hint=f"one of {', '.join(DTYPES)}")
    adapter_choices(adapter)  # a mistake in them is found before the model is fetched and read
    folder, chosen = model_folder(model), DTYPES[dtype] if dtype else None
    family = family_of(folder)
    if audio_tokenizer is not None and family is not VITA:
        raise ConfigError(f"{folder} is a {family.name} model, which has no audio tokenizer", hint="leave it out")
    choice = backend if isinstance(backend, Choice) else Choice(backend)
    if choice.backend == "openvino" and family is not REALTIME:
        raise ConfigError(f"{folder} is a {family.name} model, which runs on torch only", hint="leave the backend out")
    speaker: AnySpeaker
    if family is LONGFORM:
        from loquor.engine.dialogue import DialogueSpeaker

        speaker = DialogueSpeaker.open(folder, place, chosen, adapter)
    elif family is VITA:
        from loquor.engine.converser import Converser

        if adapter:
            raise ConfigError(f"VITA-Audio models take no adapters: {folder}")
        speaker = Converser.open(folder, place, chosen, audio_tokenizer, from_hub=not _is_folder(model))
    else:
        choice = TORCH if dtype and choice.backend == "auto" else choice  # who names a type wants that one
        wanted = chosen or (torch.float32 if place == "cpu" else None)
        speaker = Speaker.open(folder, place, wanted, adapter, choice)
    speaker.watermark = watermark
    if not watermark:
        logger.warning("the watermark is off: by its sound, this speech cannot be known for generated")
    return speaker


EMBEDDED_NAME = "embedded"  # what the voice in the package is called where a model must be named


def model_folder(model: str | Path | None = None) -> Path:
    """Where the files of a model are; a repository is downloaded first, unless the hub's cache has it."""
    if model is None or (str(model) == EMBEDDED_NAME and not Path(model).exists()):
        if not (EMBEDDED / "config.json").is_file():
            raise CheckpointError(
                f"the embedded voice is not in this installation: {EMBEDDED} has no config.json",
                hint="name a model: a folder, or a hub repository such as org/name",
            )
        return EMBEDDED
    folder = Path(model).expanduser()
    if _is_folder(model):
        return folder
    if folder.exists():
        raise CheckpointError(f"{folder} is a file, not a model folder", hint="give the folder that holds config.json")
    repository = REPOSITORY.fullmatch(str(model))
    if repository is None or str(model).startswith("."):
        raise CheckpointError(f"there is no model folder {folder}", hint="give a folder, or a hub repository org/name")
    return download(repository["name"], repository["revision"], WANTED)


def _is_folder(model: str | Path | None) -> bool:
    return model is not None and Path(model).expanduser().is_dir()


def device_of(device: str) -> str:
    """cpu or cuda, for cpu, cuda or auto (cuda if there is one); ConfigError if there is none such here."""
    if device not in DEVICES:
        raise ConfigError(f"device {device!r} is not supported", hint=f"one of {', '.join(DEVICES)}")
    has_cuda = device != "cpu" and torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise ConfigError("there is no CUDA device here, or this torch cannot use it", hint="device='cpu' always works")
    return "cuda" if has_cuda else "cpu"
