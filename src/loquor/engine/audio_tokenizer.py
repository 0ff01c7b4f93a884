"""Where the audio tokenizer of a speech language model is: published apart from it, in one repository or several.

Looked for in this order: where the caller says, where LOQUOR_AUDIO_TOKENIZER says, in the model's folder, beside it,
in the hub's cache; and for a model that came from the hub, on the hub.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from loquor.engine.hub import cached, download
from loquor.errors import CheckpointError, ConfigError
from loquor.models.speech_tokens import SpeechTokens, SpeechTokensKind, speech_tokens_kind
from loquor.models.vita.vocabulary import AudioTokens

VARIABLE = "LOQUOR_AUDIO_TOKENIZER"
INSIDE = "audio_tokenizer"  # a folder in that of the model
WANTED = ("*.json", "*.yaml", "*.safetensors", "*.pt", "*.bin")  # weights of torch's own format are read, never run
Place = str | Path | Mapping[str, str | Path]  # a folder of parts, or the folder of each part


def open_audio_tokenizer(
    audio: AudioTokens, model: Path | None, given: Place | None = None, from_hub: bool = False, device: str = "cpu"
) -> SpeechTokens:
    """The codec whose ids a model speaks in; `given` is where the caller says it is, `model` the model's folder.

    CheckpointError if it is not found or does not open, ConfigError if it cannot be used or has another codebook.
    """
    kind = speech_tokens_kind(audio.name)
    folders = audio_tokenizer_folders(kind, model, given, from_hub)
    if kind.parts and not folders:
        raise _absent(kind)
    codec = kind.open(folders, device)
    if codec.codebook_size != audio.codes:
        where = ", ".join(map(str, folders.values()))
        raise ConfigError(
            f"the model speaks in {audio.codes} codes, the audio tokenizer in {where} has {codec.codebook_size}",
            hint="give the audio tokenizer it was trained with",
        )
    return codec


def audio_tokenizer_folders(
    kind: SpeechTokensKind, model: Path | None, given: Place | None = None, from_hub: bool = False
) -> dict[str, Path]:
    """The folders of those parts that there are; CheckpointError if a place that was named holds none."""
    return dict(_found(kind, model, given, from_hub))


def _found(
    kind: SpeechTokensKind, model: Path | None, given: Place | None, from_hub: bool
) -> Iterator[tuple[str, Path]]:
    if isinstance(given, Mapping):
        yield from ((part, Path(folder).expanduser()) for part, folder in given.items())
        return
    named = given or os.environ.get(VARIABLE)
    if named:
        folder = Path(named).expanduser()
        parts = parts_in(kind, folder, may_be_it=True)
        if not parts:
            names = " or ".join(name for part in kind.parts for name in _names(kind, part))
            raise CheckpointError(
                f"{folder} has no audio tokenizer {kind.name!r}", hint=f"it is a folder with {names} in it"
            )
        yield from parts.items()
        return
    local = [parts_in(kind, model / INSIDE, may_be_it=True), parts_in(kind, model)] if model else []
    local += [parts_in(kind, model.resolve().parent)] if model else []
    for part, repository in kind.parts.items():
        place = next((parts[part] for parts in local if part in parts), None) or _from_hub(repository, from_hub)
        if place:
            yield part, place


def parts_in(kind: SpeechTokensKind, folder: Path, may_be_it: bool = False) -> dict[str, Path]:
    """The parts in a folder, each in one of its published name or its own; `may_be_it`: the folder may be a part."""
    found: dict[str, Path] = {}
    for part in kind.parts:
        places = [folder / name for name in _names(kind, part)]
        if may_be_it and (folder.name in _names(kind, part) or len(kind.parts) == 1):
            places.append(folder)
        place = next((place for place in places if place.is_dir()), None)
        if place:
            found[part] = place
    return found


def _names(kind: SpeechTokensKind, part: str) -> list[str]:
    published = kind.parts[part].rpartition("/")[2]
    return [published, part] if published else [part]


def _from_hub(repository: str, may_download: bool) -> Path | None:
    if "/" not in repository:  # published nowhere
        return None
    return cached(repository, WANTED) or (download(repository, None, WANTED) if may_download else None)


def _absent(kind: SpeechTokensKind) -> CheckpointError:
    parts = " and ".join(f"{part} ({where})" for part, where in kind.parts.items())
    return CheckpointError(
        f"the model speaks in ids of {kind.name!r}, whose {parts} is no part of its files and not here",
        hint="get it and put it beside the model, or say where it is: --audio-tokenizer FOLDER "
        f"(audio_tokenizer= in Python), or {VARIABLE}",
    )
