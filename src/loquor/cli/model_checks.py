"""What `loquor doctor` looks at in a model's folder: first whether it can be read, then what would go wrong silently.

The silent errors are those users of this family report: adapters and pickles that nobody applies, a latent scale that
is not finite, a missing encoder, another sample rate, a tokenizer or voice of another model.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from loquor.checkpoints import Files
from loquor.cli.checks import Check, attempt
from loquor.cli.console import in_bytes
from loquor.configs import read_json
from loquor.engine.request import Sampling
from loquor.engine.speaker import DEFAULTS_FILE, SAMPLE_RATE_HZ, fingerprint_of
from loquor.errors import ConfigError
from loquor.models import family_of
from loquor.models.realtime.checkpoint import read_config
from loquor.text.tokenizer import load_tokenizer
from loquor.voices.catalogue import catalogue, find_voice, user_voices
from loquor.voices.voice import Voice

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "lora")
DEFAULTS = ("voice", "guidance", "steps")
SCALES = ("model.speech_scaling_factor", "model.speech_bias_factor")
AGAIN = "download or export the model again"


def model_checks(folder: Path) -> list[Check]:
    """All that can be checked: a model that cannot be opened is not looked at more closely."""
    opened = attempt("files", partial(_files, folder))
    if opened.verdict == "fail":
        return [opened]
    looks = {
        "weights": _weights,
        "latent scale": _latent_scale,
        "encoder": _encoder,
        "tokenizer": _tokenizer,
        "sample rate": _sample_rate,
        "defaults": _defaults,
        "pickles": _pickles,
        "adapters": _adapters,
    }
    return [opened, *(attempt(name, partial(look, folder)) for name, look in looks.items()), *_voices(folder)]


def _files(folder: Path) -> Check:
    """Every tensor there, none too many, all of the right shape: what loading would refuse."""
    family = family_of(folder)
    parts = family.outline(folder).parts
    size, count = sum(part.nbytes for part in parts), sum(part.size for part in parts if part.is_parameter)
    return Check("files", "ok", f"{family.name}, {len(parts)} tensors, {count:,} parameters, {in_bytes(size)}")


def _weights(folder: Path) -> Check:
    files = Files(folder)
    sick, idle = [], []
    for name in files.where:
        tensor = files[name]
        if name in SCALES or not tensor.is_floating_point():
            continue
        if not torch.isfinite(tensor).all():
            sick.append(name)
        elif tensor.dim() > 1 and not tensor.any():
            idle.append(name)
    if sick:
        return Check("weights", "fail", f"NaN or infinite numbers in {_some(sick)}", AGAIN)
    if idle:
        return Check("weights", "warn", f"only zeros in {_some(idle)}", "was this model trained?")
    return Check("weights", "ok", "all finite")


def _latent_scale(folder: Path) -> Check:
    files = Files(folder)
    scale, bias = (float(files[name]) for name in SCALES)
    detail = f"(latent + {bias:.4g}) * {scale:.4g}"
    if not torch.isfinite(torch.tensor([scale, bias])).all() or scale == 0:
        return Check(
            "latent scale", "fail", detail, "nothing can be decoded: the training never set it; export it again"
        )
    return Check("latent scale", "ok", detail)


def _encoder(folder: Path) -> Check:
    if any(name.startswith("model.acoustic_tokenizer.encoder.") for name in Files(folder).where):
        return Check("encoder", "ok", "the codec can encode recordings")
    advice = "recordings cannot become voices with this model; presets can: loquor voices import FILE.pt"
    return Check("encoder", "warn", "the codec has no encoder, as in the published Realtime model", advice)


def _tokenizer(folder: Path) -> Check:
    tokenizer, rows = load_tokenizer(folder), read_config(folder).text.vocab_size
    detail = f"{type(tokenizer).__name__}, {tokenizer.vocab_size} ids for {rows} embeddings"
    if tokenizer.vocab_size > rows:
        return Check("tokenizer", "fail", detail, "it belongs to another model: is this one's tokenizer.json missing?")
    return Check("tokenizer", "ok", detail)


def _sample_rate(folder: Path) -> Check:
    path = folder / "preprocessor_config.json"
    audio = read_json(path).get("audio_processor") if path.exists() else None
    rate = audio.get("sampling_rate", SAMPLE_RATE_HZ) if isinstance(audio, dict) else SAMPLE_RATE_HZ
    if rate != SAMPLE_RATE_HZ:
        return Check(
            "sample rate", "fail", f"{path.name} says {rate!r} Hz", f"speech would be written as {SAMPLE_RATE_HZ} Hz"
        )
    return Check("sample rate", "ok", f"{SAMPLE_RATE_HZ} Hz")


def _defaults(folder: Path) -> Check:
    path = folder / DEFAULTS_FILE
    values = read_json(path) if path.exists() else {}
    unknown = sorted(set(values) - set(DEFAULTS))
    if unknown:
        raise ConfigError(f"{path.name} has unknown keys: {', '.join(unknown)}", hint=f"known: {', '.join(DEFAULTS)}")
    given = {key: values[key] for key in ("guidance", "steps") if key in values}
    if not all(isinstance(value, int | float) for value in given.values()):
        raise ConfigError(f"{path.name}: guidance and steps must be numbers, got {given}")
    sampling = Sampling(**given)
    if "voice" in values:
        find_voice(str(values["voice"]), catalogue(folder))
    return Check("defaults", "ok", f"guidance {sampling.guidance}, steps {sampling.steps}")


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
        return Check("adapters", "warn", f"not applied: {_some(found)}", "merge the adapter into the weights first")
    return Check("adapters", "ok", "none")


def _voices(folder: Path) -> Iterator[Check]:
    """A check for each voice at hand; one that came with the model must fit, one of the user's may be another's."""
    voices = catalogue(folder)
    if not voices:
        yield Check("voices", "warn", "none: this model cannot speak yet", "loquor voices import FILE.pt")
    for name, path in voices.items():
        yield attempt(f"voice {name}", partial(_voice, folder, path))


def _voice(folder: Path, path: Path) -> Check:
    voice, config = Voice.open(path), read_config(folder)
    name, is_own = f"voice {path.stem}", path.parent == user_voices()
    different = voice.model.differences(fingerprint_of(config))
    if different:
        advice = "it is for other models" if is_own else AGAIN
        return Check(name, "warn" if is_own else "fail", f"does not fit: {'; '.join(different)}", advice)
    if not all(torch.isfinite(tensor).all() for tensor in voice.tensors.values()):
        return Check(name, "fail", "NaN or infinite numbers", "import it again")
    positions, context = voice.length("tts_lm"), config.speech.max_position_embeddings
    detail = f"{positions} of the context's {context} positions"
    if positions + config.text_window + 1 > context:
        return Check(name, "fail", detail, "there is no room left to speak: use a shorter voice")
    return Check(name, "ok", detail)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
