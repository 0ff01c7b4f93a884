"""The codecs of speech that VITA-Audio knows by name, and how each is opened.

The names are those of the published vocabularies (`audio_tokenizer_type`), and those that `loquor quantise` gives to a
codec of one's own. In the Plus models, whose names begin with sensevoice, users are heard as features by an encoder of
the language model, and only what it says are ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from loquor.errors import CheckpointError, ConfigError
from loquor.models.speech_tokens.glm import GlmSpeechTokens
from loquor.models.speech_tokens.interface import SpeechTokens
from loquor.models.speech_tokens.quantised import QUANTISED, QuantisedSpeechTokens
from loquor.models.speech_tokens.snac_codec import SnacSpeechTokens

Folders = Mapping[str, Path]  # by the names of a kind's parts


@dataclass(frozen=True)
class SpeechTokensKind:
    """One of them."""

    name: str
    codebook_size: int | None  # None: as its folder says
    frame_rate_hz: float | None
    sample_rate_hz: int
    parts: Mapping[str, str]  # folders it is made of, and the repositories that publish them
    open_parts: Callable[[Folders, str], SpeechTokens] | None
    missing: str = ""  # what is not there yet, where it cannot be opened

    def open(self, folders: Folders, device: str = "cpu") -> SpeechTokens:
        """The codec in `folders`; ConfigError for a kind that cannot be opened or a part it does not have."""
        if self.open_parts is None:
            known = ", ".join(name for name, kind in KINDS.items() if kind.open_parts)
            raise ConfigError(f"speech tokens {self.name!r} cannot be used yet: {self.missing}", hint=f"ready: {known}")
        if not folders or not set(folders) <= set(self.parts):
            parts = ", ".join(f"{part} (published as {where})" for part, where in self.parts.items())
            given = ", ".join(sorted(folders)) or "none"
            raise ConfigError(f"speech tokens {self.name!r} are made of other parts than {given}", hint=f"give {parts}")
        for folder in folders.values():
            if not folder.is_dir():
                raise CheckpointError(f"there is no folder {folder}")
        return self.open_parts(folders, device)

    def require_tokens(self, count: int) -> None:
        """ConfigError if a vocabulary with `count` audio tokens cannot name all ids."""
        if self.codebook_size and count < self.codebook_size:
            raise ConfigError(
                f"{count} audio tokens are too few for {self.name!r}, which has {self.codebook_size} ids",
                hint="add the missing tokens and train them; the published vocabulary for SNAC lacks 12288",
            )


def _glm(folders: Folders, device: str) -> SpeechTokens:
    return GlmSpeechTokens.open(folders.get("tokenizer"), folders.get("decoder"), device)


def _snac(folders: Folders, device: str) -> SpeechTokens:
    return SnacSpeechTokens.open(folders["codec"], device)


def _quantised(name: str) -> Callable[[Folders, str], SpeechTokens]:
    """How the codec of that name is opened, and no other."""

    def open_codec(folders: Folders, device: str) -> SpeechTokens:
        tokens = QuantisedSpeechTokens.open(folders["codec"], device)
        if tokens.model.name != name:
            raise ConfigError(
                f"{folders['codec']} has the codebooks of {tokens.model.name!r}, wanted are those of {name!r}",
                hint="ids mean nothing to other codebooks: name the folder they were made with",
            )
        return tokens

    return open_codec


QUANTISED_PARTS = {"codec": "loquor quantise"}  # what makes it; it is published nowhere
GLM_PARTS = {"tokenizer": "THUDM/glm-4-voice-tokenizer", "decoder": "THUDM/glm-4-voice-decoder"}
COSYVOICE = "its FSQ tokenizer (speech_tokenizer_v2.onnx), its causal flow decoder and its 24 kHz vocoder are not built"
SPARK = "its BiCodec, and the wav2vec 2.0 encoder that it listens with, are not built"
_ALL = (
    SpeechTokensKind("glm4voice", 16384, 12.5, 22050, GLM_PARTS, _glm),
    SpeechTokensKind("sensevoice_glm4voice", 16384, 12.5, 22050, GLM_PARTS, _glm),
    SpeechTokensKind(
        "snac24khz", 28672, 7 * 24000 / 2048, 24000, {"codec": "hubertsiuzdak/snac_24khz"}, _snac
    ),  # seven slots of 4096; whoever made the vocabularies counted four
    SpeechTokensKind("cosyvoice2", 6561, 25, 24000, {}, None, COSYVOICE),
    SpeechTokensKind("sensevoice_sparktts", 8192, 50, 16000, {}, None, SPARK),
)
KINDS = {kind.name: kind for kind in _ALL}


def speech_tokens_kind(name: str) -> SpeechTokensKind:
    """The kind of that name; ConfigError names those there are."""
    if name.startswith(QUANTISED):
        return SpeechTokensKind(name, None, None, 24000, QUANTISED_PARTS, _quantised(name))
    if name not in KINDS:
        raise ConfigError(f"there are no speech tokens {name!r}", hint=f"known: {', '.join(KINDS)}")
    return KINDS[name]
