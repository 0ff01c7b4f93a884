"""Folders of the model hub: what its cache has, or what it sends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loquor.errors import CheckpointError


def download(name: str, revision: str | None, wanted: Sequence[str]) -> Path:
    """The files of a repository that `wanted` names; CheckpointError if the hub does not give them."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(wanted)))
    except Exception as error:  # the client's errors have no common base, and change from release to release
        asked = name + (f" at revision {revision}" if revision else "")
        cause = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CheckpointError(
            f"there is no folder {name}, and the hub gives no repository {asked}: {cause}",
            hint="give a local folder, or set HF_HOME to a cache that has it; HF_HUB_OFFLINE=1 forbids downloads",
        ) from error


def model_name(folder: Path | None) -> str:
    """What people call the model in a folder: the folder's name, or that of the repository it was downloaded from."""
    if folder is None:
        return ""
    whole = folder.absolute()
    for part in whole.parts:
        if part.startswith("models--"):  # the hub's cache: models--org--name/snapshots/revision
            return part.removeprefix("models--").replace("--", "/")
    return whole.name


def cached(name: str, wanted: Sequence[str]) -> Path | None:
    """A repository that the hub's cache on this machine has."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(wanted), local_files_only=True))
    except Exception:  # as above; whatever it says, it is not there
        return None
