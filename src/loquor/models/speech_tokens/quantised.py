"""A codec of speech whose latents are rounded to codebooks: a discrete tokenizer that is fitted in minutes.

Every latent frame of a codec is said by several ids, each the nearest entry of a codebook to what the entries before
leave over (residual vector quantisation; Zeghidour et al. 2021, "SoundStream", arXiv:2107.03312). Entry c of codebook b
is id b * C + c, so an id alone tells how it is to be read, and a language model that misses one spoils one frame, not
all that follow. The decoder is causal, so a stream is the whole.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from loquor.audio.level import normalize_level
from loquor.audio.resample import Waveform
from loquor.checkpoints import Entry, Files, load, published, same, save, without_memory
from loquor.configs import from_dict, read_json, require_int, section
from loquor.errors import ConfigError
from loquor.models.codec import Codec, CodecConfig, StackState
from loquor.models.codec_keys import codec_keys
from loquor.models.speech_tokens.interface import checked, require_some, to_rate
from loquor.state import State

MODEL_TYPE = "loquor_quantised_codec"
SAMPLE_RATE_HZ = 24_000
QUANTISED = "quantised-"  # begins the names of such ids in vocabularies
ABSENT = -1  # of a book that no id of a frame is of


@dataclass(frozen=True)
class QuantisedConfig:
    """Shape of the tokenizer."""

    codec: CodecConfig
    books: int  # B, ids of a frame
    entries: int  # C, of a book

    def __post_init__(self) -> None:
        require_int("quantised", 1, 64, books=self.books)
        require_int("quantised", 2, 2**14, entries=self.entries)

    @property
    def codebook_size(self) -> int:
        return self.books * self.entries

    @property
    def frame_rate_hz(self) -> float:
        """Ids for a second of speech."""
        return SAMPLE_RATE_HZ / self.codec.hop_samples * self.books


@dataclass
class QuantisedState(State):
    """A stream's memory."""

    waiting: Tensor  # [1, n] int64, ids of a frame that may go on
    decoder: StackState


class Quantiser(nn.Module):
    """Codebooks, coarsest first, around the mean of all latents."""

    def __init__(self, config: QuantisedConfig) -> None:
        super().__init__()
        dim = config.codec.vae_dim
        self.mean = nn.Parameter(torch.zeros(dim), requires_grad=False)
        self.books = nn.Parameter(torch.zeros(config.books, config.entries, dim), requires_grad=False)

    def forward(self, latents: Tensor) -> Tensor:
        """Latents [N, D] to entries [N, B]."""
        rest, chosen = latents - self.mean, []
        for book in self.books:
            chosen.append(nearest(rest, book))
            rest = rest - book[chosen[-1]]
        return torch.stack(chosen, 1)

    def latents(self, entries: Tensor) -> Tensor:
        """Entries [N, B] to latents [N, D]; an ABSENT one adds nothing."""
        said = [book[e.clamp(min=0)] * (e != ABSENT)[:, None] for book, e in zip(self.books, entries.T, strict=True)]
        latents: Tensor = self.mean + torch.stack(said).sum(0)
        return latents


def nearest(x: Tensor, book: Tensor) -> Tensor:
    """x [N, D] to the numbers [N] of the nearest rows of `book` [C, D]."""
    return torch.cat([(book.square().sum(1) - 2 * part @ book.T).argmin(1) for part in torch.split(x, 4096)])


class QuantisedCodec(nn.Module):
    """A codec's two halves and the codebooks between them."""

    def __init__(self, config: QuantisedConfig) -> None:
        super().__init__()
        self.config = config
        self.codec, self.quantiser = Codec(config.codec), Quantiser(config)

    @property
    def name(self) -> str:
        """That of such ids in vocabularies: it tells the codebooks, without which the ids mean nothing."""
        data = b"".join(tensor.numpy().tobytes() for tensor in (self.quantiser.mean, self.quantiser.books))
        return f"{QUANTISED}{hashlib.blake2b(data, digest_size=4).hexdigest()}"


class QuantisedSpeechTokens:
    """The tokenizer."""

    def __init__(self, model: QuantisedCodec) -> None:
        encoder, decoder = model.codec.encoder, model.codec.decoder
        assert encoder is not None and decoder is not None
        self.model, self.config, self._encoder, self._decoder = model, model.config, encoder, decoder
        self.codebook_size, self.frame_rate_hz = model.config.codebook_size, model.config.frame_rate_hz
        self.sample_rate_hz = SAMPLE_RATE_HZ

    @classmethod
    def open(cls, folder: Path, device: str = "cpu") -> QuantisedSpeechTokens:
        """What `loquor quantise` has written; raises as `load_quantised`."""
        return cls(load_quantised(folder).to(device))

    @torch.no_grad()
    def encode(self, waveform: Waveform, sample_rate_hz: int) -> list[int]:
        """waveform [T], mono, however loud, to B ids for every frame begun."""
        levelled = normalize_level(to_rate(waveform, sample_rate_hz, SAMPLE_RATE_HZ).numpy())
        sound = torch.from_numpy(levelled).to(self._device)
        entries = self.model.quantiser(self._encoder(sound[None, None])[0])
        offsets = torch.arange(self.config.books, device=self._device) * self.config.entries
        ids: list[int] = (entries + offsets).flatten().tolist()
        return ids

    def init_state(self, seed: int = 0) -> QuantisedState:
        """Nothing is drawn on the way: the seed changes nothing."""
        return QuantisedState(torch.zeros(1, 0, dtype=torch.long), self._decoder.init_state(1))

    @torch.no_grad()
    def decode(self, ids: Sequence[int], state: State | None = None, is_final: bool = False) -> Tensor:
        """Ids to a waveform at 24 kHz. Books rise within a frame: an id whose book does not begins the next one."""
        if state is None:
            require_some(ids)
            state, is_final = self.init_state(), True
        assert isinstance(state, QuantisedState)
        waiting = torch.cat([state.waiting, checked(ids, self.codebook_size)], 1)[0]
        frames, taken = self._frames(waiting.tolist(), is_final)
        state.waiting = waiting[None, taken:]
        if not frames:
            return torch.zeros(0)
        latents = self.model.quantiser.latents(torch.tensor(frames, device=self._device))
        waveform: Tensor = self._decoder(latents[None], state.decoder)
        return waveform[0, 0].cpu()

    def _frames(self, ids: Sequence[int], is_final: bool) -> tuple[list[list[int]], int]:
        """The entries of frames that are certain now, and how many ids they are made of."""
        frames, taken, frame = list[list[int]](), 0, list[int]()
        for place, i in enumerate(ids):
            book, entry = divmod(i, self.config.entries)
            if book < len(frame):  # books before it have had their turn: the frame before is over
                frames.append(self._filled(frame))
                frame, taken = [], place
            frame += [ABSENT] * (book - len(frame)) + [entry]
            if len(frame) == self.config.books:
                frames.append(frame)
                frame, taken = [], place + 1
        if is_final and frame:
            return [*frames, self._filled(frame)], len(ids)
        return frames, taken

    def _filled(self, frame: list[int]) -> list[int]:
        return frame + [ABSENT] * (self.config.books - len(frame))

    @property
    def _device(self) -> torch.device:
        return self.model.quantiser.mean.device


def keys(config: QuantisedConfig) -> list[Entry]:
    """Every tensor of the file and where it goes."""
    own = [same(name, name) for name in ("quantiser.mean", "quantiser.books")]
    return own + codec_keys(config.codec, "codec.", "codec.", encoder=True, decoder=True)


def save_quantised(model: QuantisedCodec, folder: Path) -> None:
    """Write what `load_quantised` reads."""
    config: dict[str, Any] = {"model_type": MODEL_TYPE, **dataclasses.asdict(model.config)}
    save(folder, config, published(model, keys(model.config)))


def read_quantised_config(folder: Path) -> QuantisedConfig:
    """ConfigError if the folder holds something else, or sizes that are not possible."""
    path = folder / "config.json"
    values = read_json(path)
    if values.get("model_type") != MODEL_TYPE:
        raise ConfigError(
            f"{path}: model_type {values.get('model_type')!r} is no quantised codec", hint="make one: `loquor quantise`"
        )
    codec = from_dict(CodecConfig, section(values, "codec", str(path)), f"{path}: codec")
    return from_dict(QuantisedConfig, values | {"codec": codec}, str(path))


def load_quantised(folder: Path) -> QuantisedCodec:
    """The tokenizer in `folder`, in float32 and strictly: CheckpointError names the tensor that does not fit."""
    config, files = read_quantised_config(folder), Files(folder)
    with without_memory(folder):
        model = QuantisedCodec(config)
    load(model, files, keys(config), torch.float32)
    return model.eval().requires_grad_(False)
