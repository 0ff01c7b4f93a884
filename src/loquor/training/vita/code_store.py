"""The codes of recordings, kept so that each is encoded once.

As published, they lie beside the recording: `x.wav` has its codes of GLM-4-Voice in `x_glm4voice.json`, a list of
numbers. Codes that are there are taken as they are. Where data must not be written to, a folder of its own takes the
new ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from loquor.checkpoints import write_text
from loquor.errors import AudioError, InputError
from loquor.models.vita.vocabulary import AudioTokens

Encode = Callable[[Path], Sequence[int]]


class CodeStore:
    """Codes of recordings, by their paths."""

    def __init__(self, tokens: AudioTokens, encode: Encode, folder: Path | None = None) -> None:
        """New codes come from `encode` and are written to `folder`, or beside their recording."""
        self.tokens, self.encode, self.folder = tokens, encode, folder
        self.kind = tokens.name.rpartition("_")[2]

    def __call__(self, recording: Path) -> tuple[int, ...]:
        """The codes of a recording.

        AudioError if there is no such file or nothing to encode, InputError if stored codes are damaged or those of
        another tokenizer.
        """
        beside = recording.with_name(f"{recording.stem}_{self.kind}.json")
        own = self._own_place(recording)
        for place in (beside, own):
            if place.is_file():
                return self._read(place)
        if not recording.is_file():
            raise AudioError(f"{recording} does not exist, and neither does {beside.name}")
        codes = tuple(self.encode(recording))
        if not codes:
            raise AudioError(f"{recording} is too short: its tokenizer gives no codes")
        write_text(own, json.dumps(codes))
        return codes

    def _own_place(self, recording: Path) -> Path:
        if self.folder is None:
            return recording.with_name(f"{recording.stem}_{self.kind}.json")
        name = hashlib.blake2b(str(recording.absolute()).encode(), digest_size=16).hexdigest()
        return self.folder / name[:2] / f"{name}_{self.kind}.json"  # some hundred folders, not one of millions of files

    def _read(self, place: Path) -> tuple[int, ...]:
        try:
            codes = json.loads(place.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"cannot read the codes in {place}: {error}", hint="remove the file") from None
        if not isinstance(codes, list) or not codes or not all(type(code) is int for code in codes):
            raise InputError(f"{place} holds no codes", hint="remove the file, and they are made again")
        wrong = next((code for code in codes if not 0 <= code < self.tokens.codes), None)
        if wrong is not None:
            raise InputError(
                f"{place} holds code {wrong}, {self.tokens.name} has {self.tokens.codes}",
                hint="it was made by another tokenizer: remove it",
            )
        return tuple(codes)
