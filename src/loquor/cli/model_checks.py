"""What `loquor doctor` looks at in a model's folder: first whether it can be read, then what would go wrong silently.

The silent errors are those users of this family report: adapters and pickles that nobody applies, a latent scale that
is not finite, a missing encoder, another sample rate, a tokenizer or voice of another model.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from loquor.checkpoints import Files
from loquor.cli.checks import Check, attempt
from loquor.cli.console import in_bytes
from loquor.cli.voice_checks import voice_checks
from loquor.configs import read_json
from loquor.engine.audio_tokenizer import VARIABLE, audio_tokenizer_folders, open_audio_tokenizer
from loquor.engine.generation_file import GenerationDefaults
from loquor.engine.request import Sampling
from loquor.engine.speaker import DEFAULTS_FILE, SAMPLING_DEFAULTS
from loquor.errors import ConfigError
from loquor.models import VITA, family_of
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.models.longform.checkpoint import LAYOUTS
from loquor.models.longform.names import Names
from loquor.models.sections import stated_rate_hz
from loquor.models.speech_tokens import speech_tokens_kind
from loquor.models.vita.vocabulary import audio_tokens_of
from loquor.text.tokenizer import load_tokenizer
from loquor.voices.catalogue import catalogue, find_voice

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "lora")
DEFAULTS = ("voice", *SAMPLING_DEFAULTS)
AGAIN = "download or export the model again"


def model_checks(folder: Path) -> list[Check]:
    """All that can be checked: a model that cannot be opened is not looked at more closely."""
    opened = attempt("files", partial(_files, folder))
    if opened.verdict == "fail":
        return [opened]
    is_vita = family_of(folder) is VITA
    own = TALKERS_CHECKS if is_vita else SPEAKERS_CHECKS
    looks = {"weights": _weights, "tokenizer": _tokenizer, **own, "pickles": _pickles, "adapters": _adapters}
    found = [attempt(name, partial(look, folder)) for name, look in looks.items()]
    return [opened, *found, *(() if is_vita else voice_checks(folder))]


def _files(folder: Path) -> Check:
    """Every tensor there, none too many, all of the right shape: what loading would refuse."""
    family = family_of(folder)
    parts = family.outline(folder).parts
    size, count = sum(part.nbytes for part in parts), sum(part.size for part in parts if part.is_parameter)
    return Check("files", "ok", f"{family.name}, {len(parts)} tensors, {count:,} parameters, {in_bytes(size)}")


def _names(files: Files) -> Names:
    """What the folder's layout calls latent scale and encoder; Realtime's names are those of the original layout."""
    return next(layout.names for layout in LAYOUTS.values() if layout.names.scale in files.where)


def _weights(folder: Path) -> Check:
    files = Files(folder)
    scales = {name for layout in LAYOUTS.values() for name in (layout.names.scale, layout.names.bias)}
    sick, idle = [], []
    for name in files.where:
        tensor = files[name]
        if name in scales or not tensor.is_floating_point():
            continue
        if not torch.isfinite(tensor).all():
            sick.append(name)
        elif tensor.dim() > 1 and not tensor.any():
            idle.append(name)
        files.release(name)
    if sick:
        return Check("weights", "fail", f"NaN or infinite numbers in {_some(sick)}", AGAIN)
    if idle:
        return Check("weights", "warn", f"only zeros in {_some(idle)}", "was this model trained?")
    return Check("weights", "ok", "all finite")


def _latent_scale(folder: Path) -> Check:
    files = Files(folder)
    names = _names(files)
    scale, bias = float(files[names.scale]), float(files[names.bias])
    detail = f"(latent + {bias:.4g}) * {scale:.4g}"
    if not torch.isfinite(torch.tensor([scale, bias])).all() or scale == 0:
        return Check(
            "latent scale", "fail", detail, "nothing can be decoded: the training never set it; export it again"
        )
    return Check("latent scale", "ok", detail)


def _encoder(folder: Path) -> Check:
    files = Files(folder)
    prefix = _names(files).encoder
    if any(name.startswith(prefix) for name in files.where):
        return Check("encoder", "ok", "the codec can encode recordings")
    advice = "recordings cannot become voices with this model; presets can: loquor voices import FILE.pt"
    return Check("encoder", "warn", "the codec has no encoder, as in the published Realtime model", advice)


def _tokenizer(folder: Path) -> Check:
    tokenizer, model = load_tokenizer(folder), family_of(folder).outline(folder).model
    rows = len(model.get_parameter("embedding.weight"))
    detail = f"{type(tokenizer).__name__}, {tokenizer.vocab_size} ids for {rows} embeddings"
    if tokenizer.vocab_size > rows:
        return Check("tokenizer", "fail", detail, "it belongs to another model: is this one's tokenizer.json missing?")
    return Check("tokenizer", "ok", detail)


def _sample_rate(folder: Path) -> Check:
    rate = stated_rate_hz(folder, SAMPLE_RATE_HZ)
    if rate != SAMPLE_RATE_HZ:
        detail = f"preprocessor_config.json says {rate!r} Hz"
        return Check("sample rate", "fail", detail, f"speech would be written as {SAMPLE_RATE_HZ} Hz")
    return Check("sample rate", "ok", f"{SAMPLE_RATE_HZ} Hz")


def _defaults(folder: Path) -> Check:
    path = folder / DEFAULTS_FILE
    values = read_json(path) if path.exists() else {}
    unknown = sorted(set(values) - set(DEFAULTS))
    if unknown:
        raise ConfigError(f"{path.name} has unknown keys: {', '.join(unknown)}", hint=f"known: {', '.join(DEFAULTS)}")
    given = {key: values[key] for key in SAMPLING_DEFAULTS if key in values}
    if not all(isinstance(value, int | float) for value in given.values()):
        raise ConfigError(f"{path.name}: {', '.join(given)} must be numbers, got {given}")
    sampling = Sampling(**given)
    if "voice" in values:
        find_voice(str(values["voice"]), catalogue(folder))
    return Check("defaults", "ok", ", ".join(f"{name} {getattr(sampling, name)}" for name in SAMPLING_DEFAULTS))


def _generation(folder: Path) -> Check:
    """What generation_config.json says."""
    modules = len(list(family_of(folder).outline(folder).model.get_submodule("predictors").children()))
    defaults = GenerationDefaults.read(folder, modules)
    detail = f"{modules} modules, schedule {list(defaults.schedule.numbers)}, ends with {list(defaults.eos)}"
    if not defaults.eos:
        return Check("generation", "warn", detail, "no eos_token_id is named: answers end at their limit only")
    return Check("generation", "ok", detail)


def _audio_tokenizer(folder: Path) -> Check:
    """The codec in whose ids it speaks: a model of its own, published apart."""
    audio = audio_tokens_of(folder)
    kind = speech_tokens_kind(audio.name)
    folders = audio_tokenizer_folders(kind, folder)
    name, where = "audio tokenizer", f"beside the model, or where {VARIABLE} says"
    if kind.open_parts and not folders:
        return Check(name, "warn", f"{kind.name} is not here: text only", f"put {' and '.join(kind.parts)} {where}")
    codec = open_audio_tokenizer(audio, folder)
    detail = f"{kind.name}: {', '.join(folders)}; {codec.codebook_size} ids as in the vocabulary"
    missing = [part for part in kind.parts if part not in folders and (part != "tokenizer" or not audio.hears_features)]
    if missing:
        return Check(name, "warn", f"{detail}; no {' and no '.join(missing)}", f"put it {where}")
    return Check(name, "ok", f"{detail}, {codec.frame_rate_hz:g} a second, speech at {codec.sample_rate_hz} Hz")


TALKERS_CHECKS = {"generation": _generation, "audio tokenizer": _audio_tokenizer}
SPEAKERS_CHECKS = {
    "latent scale": _latent_scale,
    "encoder": _encoder,
    "sample rate": _sample_rate,
    "defaults": _defaults,
}


def _pickles(folder: Path) -> Check:
    found = sorted(file.name for pattern in PICKLES for file in folder.rglob(pattern))
    if found:
        return Check(
            "pickles", "warn", f"never read: {_some(found)}", "pickles run code when others load them: delete them"
        )
    return Check("pickles", "ok", "none")


def _adapters(folder: Path) -> Check:
    found = [name for name in ADAPTERS if (folder / name).exists()]
    if found:
        advice = "merge it: loquor convert MODEL OUT --adapter FOLDER"
        return Check("adapters", "warn", f"not applied: {_some(found)}", advice)
    return Check("adapters", "ok", "none")


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
