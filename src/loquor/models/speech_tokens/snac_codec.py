"""SNAC at 24 kHz: three codebooks at rising rates (Siuzdak et al. 2024, arXiv:2410.14411), through the `snac` package.

A coarse frame of 2048 samples has one code of the first book, two of the second and four of the third; the seven become
ids, slot j from j * 4096 on. The decoder reaches some frames to both sides and adds noise; here the noise follows from
the frame's number, so a stream is the whole, however it is cut.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from loquor.audio.resample import Waveform
from loquor.configs import read_json
from loquor.diffusion.noise import SeededNoise
from loquor.errors import CheckpointError, ConfigError, MissingExtra
from loquor.models.speech_tokens.interface import checked, checked_seed, require_some, to_rate
from loquor.models.speech_tokens.local import Local, LocalState
from loquor.state import State
from loquor.torch_archives import read_state_dict

KERNEL = 7
DILATIONS = (1, 3, 9)  # of the residual units behind every upsampling


@dataclass(frozen=True)
class Slots:
    """How the codes of a coarse frame stand in a row."""

    strides: tuple[int, ...]  # of the codebooks, coarsest first: 4, 2, 1
    book_size: int

    @property
    def count(self) -> int:
        """Ids of a coarse frame."""
        return sum(self.per_frame)

    @property
    def per_frame(self) -> list[int]:
        """Codes of each book in a coarse frame."""
        return [self.strides[0] // stride for stride in self.strides]

    def ids(self, codes: Sequence[Tensor]) -> list[int]:
        """Codes of each book [n * per_frame] to ids [n * count], frame by frame and there book by book."""
        by_frame = [c.view(-1, n) for c, n in zip(codes, self.per_frame, strict=True)]
        offsets = torch.arange(self.count, device=by_frame[0].device) * self.book_size
        return cast(list[int], (torch.cat(by_frame, 1) + offsets).flatten().tolist())

    def filled(self, ids: Sequence[int]) -> list[int]:
        """A last frame that is incomplete repeats its last code, slot after slot."""
        ids = list(ids)
        while len(ids) % self.count:
            ids.append(ids[-1] + self.book_size)
        return ids

    def codes(self, ids: Tensor) -> list[Tensor]:
        """ids [n * count] to the codes of each book [n * per_frame]; what stands in a slot of another is clamped."""
        offsets = torch.arange(self.count, device=ids.device) * self.book_size
        by_frame = (ids.view(-1, self.count) - offsets).clamp(0, self.book_size - 1)
        return [part.flatten() for part in torch.split(by_frame, self.per_frame, dim=1)]


@dataclass
class SnacState(State):
    """A stream's memory."""

    seed: Tensor  # [1] int64
    frame: Tensor  # [1] int64, latent frames so far
    ids: Tensor  # [1, n], of a coarse frame that is not complete
    decoder: LocalState


class SnacSpeechTokens:
    """A SNAC model without attention, as that for 24 kHz is."""

    def __init__(self, model: Any) -> None:
        if model.attn_window_size is not None:
            raise ConfigError("a SNAC model with attention has no finite reach", hint="use snac_24khz")
        self.model = model
        self.slots = Slots(tuple(model.vq_strides), model.codebook_size)
        self.rates = tuple(model.decoder_rates)
        self.sample_rate_hz: int = model.sampling_rate
        self.codebook_size = self.slots.count * self.slots.book_size
        self._hop = int(model.hop_length)
        self._decoder = Local(self._waveform, self._radius_frames(), self._hop)

    @classmethod
    def open(cls, folder: Path, device: str = "cpu") -> SnacSpeechTokens:
        """The published folder: config.json and pytorch_model.bin, of which nothing is executed. MissingExtra without
        the package, CheckpointError if the weights do not fit."""
        config, weights = read_json(folder / "config.json"), folder / "pytorch_model.bin"
        try:
            model = _package().SNAC(**config)
        except (TypeError, ValueError, RuntimeError, IndexError, ZeroDivisionError) as error:
            raise ConfigError(f"{folder / 'config.json'}: no SNAC model has these values: {error}") from None
        try:
            model.load_state_dict(read_state_dict(weights))
        except RuntimeError as error:  # names every tensor that is missing, unexpected or of another shape
            raise CheckpointError(f"{weights} does not fit config.json: {' '.join(str(error).split())}") from None
        return cls(model.eval().requires_grad_(False).to(device))

    @property
    def frame_rate_hz(self) -> float:
        return self.slots.count * self.sample_rate_hz / (self._hop * self.slots.strides[0])

    @torch.no_grad()
    def encode(self, waveform: Waveform, sample_rate_hz: int) -> list[int]:
        """waveform [T], mono, to seven ids for every 2048 samples begun."""
        sound = to_rate(waveform, sample_rate_hz, self.sample_rate_hz).to(self._device)
        return self.slots.ids([codes[0] for codes in self.model.encode(sound[None, None])])

    def init_state(self, seed: int = 0) -> SnacState:
        channels = self.model.latent_dim + sum(self._noise_sizes())
        frame, ids = torch.zeros(1, dtype=torch.long), torch.zeros(1, 0, dtype=torch.long)
        return SnacState(checked_seed(seed), frame, ids, self._decoder.init_state(channels)).to(self._device)

    @torch.no_grad()
    def decode(self, ids: Sequence[int], state: State | None = None, is_final: bool = False) -> Tensor:
        """Ids to a waveform at the model's rate; an id in the slot of another is taken for the nearest that fits."""
        if state is None:
            require_some(ids)
            state, is_final = self.init_state(), True
        assert isinstance(state, SnacState)
        waiting = torch.cat([state.ids, checked(ids, self.codebook_size).to(self._device)], 1)[0]
        complete = len(waiting) // self.slots.count * self.slots.count
        if is_final and complete < len(waiting):
            waiting = torch.tensor(self.slots.filled(waiting.tolist()), device=self._device)
            complete = len(waiting)
        state.ids = waiting[None, complete:]
        waveform = self._decoder(self._frames(waiting[:complete], state), state.decoder, is_final)
        return torch.zeros(0) if waveform is None else waveform[0, 0].cpu()

    @property
    def _device(self) -> torch.device:
        return cast(nn.Module, self.model).get_parameter("decoder.model.0.bias").device

    def _frames(self, ids: Tensor, state: SnacState) -> Tensor:
        """Complete coarse frames of ids to latents with their noise below them [1, D + sum of sizes, n * 4]."""
        if not len(ids):
            return state.decoder.frames[..., :0]
        latents = self.model.quantizer.from_codes([codes[None] for codes in self.slots.codes(ids)])
        noise, start = SeededNoise(int(state.seed)), int(state.frame)
        size = sum(self._noise_sizes())
        drawn = torch.stack([noise.frame(start + i, (size,)) for i in range(latents.shape[-1])], -1)[None]
        state.frame += latents.shape[-1]
        return torch.cat([latents, drawn.to(latents)], 1)

    def _noise_sizes(self) -> list[int]:
        """Samples for a latent frame behind each upsampling."""
        return [int(torch.tensor(self.rates[: i + 1]).prod()) for i in range(len(self.rates))]

    def _waveform(self, frames: Tensor) -> Tensor:
        """Latents with noise [1, C, T] to [1, 1, T * hop], as the package's decoder does with noise of its own."""
        latents, *noise = torch.split(frames, [self.model.latent_dim, *self._noise_sizes()], dim=1)
        by_time: Iterator[Tensor] = (part.transpose(1, 2).reshape(1, 1, -1) for part in noise)
        x: Tensor = latents
        for layer in _layers(self.model.decoder.model):
            if type(layer).__name__ == "NoiseBlock":
                x = x + next(by_time) * cast(nn.Module, layer.linear)(x)
            else:
                x = layer(x)
        return x

    def _radius_frames(self) -> int:
        """How many latent frames away a sample's causes may lie, followed back in samples."""
        reach, step = KERNEL // 2, 1
        for rate in reversed(self.rates):
            reach += step * (KERNEL // 2 * sum(DILATIONS) + 2 * rate)
            step *= rate
        return ceil((reach + step * (KERNEL // 2)) / step)


def _layers(model: nn.Sequential) -> Iterator[nn.Module]:
    """The decoder's layers in order, those of its upsampling blocks one by one."""
    for layer in model:
        if type(layer).__name__ == "DecoderBlock":
            yield from cast(nn.Sequential, layer.block)
        else:
            yield layer


def _package() -> Any:
    try:
        with warnings.catch_warnings():  # it uses torch.jit.script, which torch wants nobody to use any more
            warnings.simplefilter("ignore", DeprecationWarning)
            import snac
    except ImportError as error:
        raise MissingExtra("SNAC needs the package snac", hint="pip install 'loquor[vita]'") from error
    return snac
