"""The ids of VITA-Audio: Qwen2.5's text, a few marks, and one id for each code of an audio tokenizer.

The marks and the audio ids are appended to the text vocabulary in the published order. Which there are depends on the
audio tokenizer: a model that hears speech as features (SenseVoice) has one mark more, so its audio ids are shifted by
one. As everywhere here, the names of marks inside a user's text are plain text: only a program places special ids.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loquor.checkpoints import write_text
from loquor.configs import read_json
from loquor.errors import ConfigError, InputError
from loquor.text.own_merges import read_merges, write_merges
from loquor.text.qwen_tokenizer import QwenTokenizer, byte_letters

AUDIO_TAG = "<|audio|>"  # where a text has audio
LARGEST_CODEBOOK = 2**20
TOKENIZER_CONFIG = "tokenizer_config.json"
ROWS = 8  # the published matrices have a multiple of so many rows


@dataclass(frozen=True)
class AudioTokens:
    """What an audio tokenizer asks of the vocabulary."""

    name: str  # as published
    codes: int  # of its codebook
    hears_features: bool = False  # what users say reaches the model as features, not as codes

    def __post_init__(self) -> None:
        if not 1 <= self.codes <= LARGEST_CODEBOOK:
            raise ConfigError(f"a codebook of {self.codes} codes is not possible")


PUBLISHED = {
    tokens.name: tokens
    for tokens in (
        AudioTokens("glm4voice", 16384),
        AudioTokens("cosyvoice2", 6561),
        AudioTokens("snac24khz", 16384),
        AudioTokens("sensevoice_sparktts", 8192, hears_features=True),
        AudioTokens("sensevoice_glm4voice", 16384, hears_features=True),
    )
}


def published_tokens(name: str) -> AudioTokens:
    """One of PUBLISHED; ConfigError if there is none of that name."""
    if name not in PUBLISHED:
        raise ConfigError(f"{name!r} is no audio tokenizer of VITA-Audio", hint=f"known are {', '.join(PUBLISHED)}")
    return PUBLISHED[name]


def audio_tokens_of(folder: Path, name: str = "") -> AudioTokens:
    """Those of the model in `folder`: as its files say, else of that name, else what published models of its kind have.

    ConfigError for a name that its files or the published ones do not know.
    """
    path = folder / TOKENIZER_CONFIG
    values = read_json(path) if path.exists() else {}
    stated, codes = values.get("audio_tokenizer_type"), values.get("audio_tokenizer_codes")
    if stated is None:
        plus = str(read_json(folder / "config.json").get("model_type", "")).endswith("_sensevoice")
        return published_tokens(name or ("sensevoice_glm4voice" if plus else "glm4voice"))
    if not isinstance(stated, str) or isinstance(codes, bool) or not isinstance(codes, int):
        raise ConfigError(f"{path}: audio_tokenizer_type {stated!r} must be a name, its codes {codes!r} a number")
    if name and name != stated:
        raise ConfigError(f"{folder} speaks in ids of {stated!r}, not of {name!r}", hint=f"audio.tokenizer={stated}")
    return AudioTokens(stated, codes, stated in PUBLISHED and PUBLISHED[stated].hears_features)


def marks(hears_features: bool) -> list[str]:
    """The appended special tokens in their order; models use only those of audio."""
    spans = [f"{place}_of_{kind}" for kind in ("image", "video", "patch") for place in ("begin", "end", "context")]
    audio = ["begin_of_audio", "end_of_audio"] + (["context_of_audio"] if hears_features else [])
    regions = [f"{place}_of_{kind}" for kind in ("quad", "ref", "box") for place in ("begin", "end")]
    return [f"<|{name}|>" for name in (*spans, *audio, *regions, "image", "video", "audio")]


class Vocabulary:
    """All ids of a model; `len` of it is the number of ids."""

    def __init__(self, audio: AudioTokens, text: QwenTokenizer | None = None) -> None:
        self.audio, self.tokenizer = audio, text or QwenTokenizer()
        first = self.tokenizer.vocab_size
        names = marks(audio.hears_features)
        self.special_ids = self.tokenizer.special_ids | {name: first + i for i, name in enumerate(names)}
        self.first_audio = first + len(names)
        self.begin_of_audio = self.special_ids["<|begin_of_audio|>"]
        self.end_of_audio = self.special_ids["<|end_of_audio|>"]
        self.context_of_audio = self.special_ids.get("<|context_of_audio|>")  # the place of one row of features
        self.turn_start = self.special_ids["<|im_start|>"]
        self.turn_end = self.special_ids["<|im_end|>"]  # ends an answer
        self.pad = self.special_ids["<|endoftext|>"]
        printable = [ord(letter) for letter in byte_letters() if ord(letter) < 256]  # these stand for themselves
        others = [byte for byte in range(256) if byte not in printable]
        self._letters = dict(zip(byte_letters(), [*printable, *others], strict=True))

    def __len__(self) -> int:
        return self.first_audio + self.audio.codes

    def names_beyond_text(self) -> tuple[list[str], list[str]]:
        """Special names and those of audio, in the order of their ids, which follow those of text."""
        special = sorted(self.special_ids, key=lambda name: self.special_ids[name])
        return special, [f"<|audio_{code}|>" for code in range(self.audio.codes)]

    @property
    def rows(self) -> int:
        """Rows of the published matrices, at least; Qwen2.5's own may be larger."""
        return -(-len(self) // ROWS) * ROWS

    @property
    def eos(self) -> tuple[int, ...]:
        """Ids after which nothing more is said."""
        return self.turn_end, self.pad

    def ids(self, text: str) -> list[int]:
        """The ids of a piece of text, as it is."""
        return self.tokenizer.ids(text)

    def audio_ids(self, codes: Iterable[int]) -> list[int]:
        """The ids of codes of the audio tokenizer; InputError for one outside its codebook."""
        ids = [self.first_audio + code for code in codes]
        for i in ids:
            if not self.is_audio(i):
                raise InputError(
                    f"code {i - self.first_audio} is outside the codebook of {self.audio.name}, "
                    f"which has {self.audio.codes}",
                    hint="encode the audio again with the tokenizer of this model",
                )
        return ids

    def is_audio(self, token: int) -> bool:
        """Whether an id stands for a code."""
        return self.first_audio <= token < len(self)

    def audio_span(self, codes: Sequence[int]) -> list[int]:
        """Codes between their two marks."""
        return [self.begin_of_audio, *self.audio_ids(codes), self.end_of_audio]

    def codes(self, ids: Iterable[int]) -> list[int]:
        """The codes among `ids`, in their order, whatever stands between them."""
        return [i - self.first_audio for i in ids if self.is_audio(i)]

    def text(self, ids: Iterable[int]) -> str:
        """The text among `ids`: without audio and without marks."""
        stream = TextOfIds(self)
        return "".join([stream.push(i) for i in ids]) + stream.end()

    def bytes_of(self, token: int) -> bytes:
        """What a text id stands for; nothing for others, ids beyond the vocabulary included."""
        letters = self.tokenizer.bpe.id_to_token(token)
        return b"" if letters is None else bytes(self._letters[letter] for letter in letters)


class TextOfIds:
    """The text of ids that arrive one by one; a character is given once all its bytes have come."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The characters an id completes, perhaps none. Audio and marks are no text."""
        return self._decoder.decode(self._vocabulary.bytes_of(token))

    def end(self) -> str:
        """What stands for a character that was cut in two, if the ids end in one."""
        return self._decoder.decode(b"", final=True)


def open_vocabulary(folder: Path, name: str = "") -> Vocabulary:
    """The vocabulary of the model in `folder`; `name` is that of its audio tokenizer, where its files do not say it.

    A small model brings the merges of its text in tokenizer.json. Raises as `audio_tokens_of`, and CheckpointError for
    a file that cannot be used.
    """
    merges = read_merges(folder)
    return Vocabulary(audio_tokens_of(folder, name), QwenTokenizer(merges) if merges else None)


def write_vocabulary(folder: Path, vocabulary: Vocabulary) -> None:
    """What `open_vocabulary` reads."""
    write_merges(folder, vocabulary.tokenizer.bpe, *vocabulary.names_beyond_text())
    facts = {"audio_tokenizer_type": vocabulary.audio.name, "audio_tokenizer_codes": vocabulary.audio.codes}
    write_text(folder / TOKENIZER_CONFIG, json.dumps(facts, indent=1))
