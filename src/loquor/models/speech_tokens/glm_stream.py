"""Streaming decoding: ids in any portions, the waveform as early as it is certain, in bounded memory and linear time.

The published decoder hears the whole before it speaks. Here windows take its place: each decodes some new ids together
with a fixed stretch of history, whose spectrum is known and carried on from. Where windows end is counted from the
stream's first id, and noise follows from the frame's number, so how ids arrive changes nothing. Neighbouring windows
share some frames, over which one fades into the other with weights that sum to one; the vocoder knows no windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from loquor.diffusion.noise import SeededNoise
from loquor.errors import ConfigError
from loquor.models.speech_tokens.glm_decoder import STEPS, GlmDecoder
from loquor.models.speech_tokens.hift_stream import StreamingVocoder, VocoderState
from loquor.models.speech_tokens.interface import checked_seed
from loquor.state import State

OVERLAP_TOKENS = 5  # at most this much is decoded twice, as the authors do
OVERLAP_SHARE = 4  # and at most one part in four of a window, so that the first gives something


@dataclass(frozen=True)
class Windows:
    """How a stream is cut. Small windows at first give early sound, large ones later cost less."""

    tokens: tuple[int, ...] = (8, 8, 16, 32)  # new ids of each window; the last for all that follow
    context_tokens: int = 20  # history, up to a block of the encoder more
    steps: tuple[int, ...] = (STEPS,)  # of the flow, for each window; the last for all that follow

    def __post_init__(self) -> None:
        if not self.tokens or not self.steps or min(*self.tokens, *self.steps, 1) < 1:
            raise ConfigError(f"windows need at least one id and one step, got {self.tokens} and {self.steps}")
        if self.context_tokens <= OVERLAP_TOKENS:
            raise ConfigError(f"a context of {self.context_tokens} ids is not longer than the overlap")

    def tokens_of(self, window: int) -> int:
        return self.tokens[min(window, len(self.tokens) - 1)]

    def steps_of(self, window: int) -> int:
        return self.steps[min(window, len(self.steps) - 1)]


USUAL = Windows()
EARLY = Windows(steps=(1, 3, 5, 7, 9, STEPS))  # coarse at first, as VITA-Audio's own stream is


@dataclass
class StreamState(State):
    """A stream's memory: history as long as the context, what waits for its window, and the vocoder's."""

    seed: Tensor  # [1] int64
    window: Tensor  # [1] int64, windows decoded
    start: Tensor  # [1] int64, the place of the first id below, at the beginning of a block
    decoded: Tensor  # [1] int64, the place at which the next window begins
    ids: Tensor  # [1, n]
    mel: Tensor  # [1, M, k], final frames from `start` on
    tail: Tensor  # [1, M, h], frames that will be faded into the next window's
    vocoder: VocoderState


class WindowedDecoder:
    """Ids to a waveform, window by window."""

    def __init__(self, decoder: GlmDecoder, windows: Windows) -> None:
        self.decoder, self.windows = decoder, windows
        self.vocoder = StreamingVocoder(decoder.vocoder)

    def init_state(self, seed: int) -> StreamState:
        """The memory of a stream before its first id."""
        none, mel = torch.zeros(1, dtype=torch.long), torch.zeros(1, self.decoder.flow.config.mel_bins, 0)
        counts = {name: none.clone() for name in ("window", "start", "decoded")}
        state = StreamState(
            checked_seed(seed), **counts, ids=none[None, :0], mel=mel, tail=mel, vocoder=self.vocoder.init_state()
        )
        return state.to(self.decoder.flow.speaker.weight.device)

    @torch.no_grad()
    def decode(self, ids: Sequence[int], state: StreamState, is_final: bool) -> Tensor:
        """Some ids, perhaps none, to the samples [n] at 22.05 kHz that are certain now; all that is left if final."""
        state.ids = torch.cat([state.ids, self.decoder.checked(ids)], 1)
        spoken, nothing = [], state.mel[..., :0]
        while self._waiting(state) >= (size := self.windows.tokens_of(int(state.window))):
            spoken.append(self._vocode(self._window(size, state, is_last=False), state, is_last=False))
        if is_final:
            waiting = self._waiting(state)
            last = self._window(waiting, state, is_last=True) if waiting else state.tail
            spoken.append(self._vocode(last, state, is_last=True))
            state.tail = nothing
        return torch.cat([nothing[0, 0], *spoken])

    def _waiting(self, state: StreamState) -> int:
        """Ids that no window has decoded."""
        return int(state.start) + state.ids.shape[1] - int(state.decoded)

    def _window(self, size: int, state: StreamState, is_last: bool) -> Tensor:
        """Decode `size` new ids; the frames [1, M, n] that are final now."""
        flow, start, end = self.decoder.flow, int(state.start), int(state.decoded) + size
        first, total = flow.config.frames(start), flow.config.frames(end)
        known, fading = state.mel.shape[-1], state.tail.shape[-1]
        mean = flow.mean(state.ids[:, : end - start], total - first)
        steps = self.windows.steps_of(int(state.window))
        mel = flow.sample(mean, state.mel, self._noise(state, first, total).to(mean), steps)[..., known:]
        rising = fade_in(fading).to(mel)
        faded = mel[..., :fading] * rising + state.tail * (1 - rising)
        mel = torch.cat([faded, mel[..., fading:]], -1)
        fresh = total - flow.config.frames(int(state.decoded))
        kept = 0 if is_last else min(flow.config.frames(OVERLAP_TOKENS), fresh // OVERLAP_SHARE)
        final, state.tail = mel[..., : mel.shape[-1] - kept], mel[..., mel.shape[-1] - kept :]
        self._forget(state, torch.cat([state.mel, final], -1), end)
        return final

    def _forget(self, state: StreamState, mel: Tensor, end: int) -> None:
        """Keep the history that the next window carries on from."""
        block, start = self.decoder.flow.config.encoder.block_size, int(state.start)
        kept = max(0, end - self.windows.context_tokens) // block * block
        dropped = self.decoder.flow.config.frames(kept) - self.decoder.flow.config.frames(start)
        state.ids, state.mel = state.ids[:, kept - start :].clone(), mel[..., dropped:].clone()
        state.start.fill_(kept)
        state.decoded.fill_(end)
        state.window += 1

    def _noise(self, state: StreamState, first: int, end: int) -> Tensor:
        """[1, M, end - first]: a frame's noise is the same in every window."""
        noise, bins = SeededNoise(2 * int(state.seed)), self.decoder.flow.config.mel_bins
        return torch.stack([noise.frame(i, (bins,)) for i in range(first, end)], -1)[None]

    def _vocode(self, mel: Tensor, state: StreamState, is_last: bool) -> Tensor:
        return self.vocoder(mel, SeededNoise(2 * int(state.seed) + 1), state.vocoder, is_last)


def fade_in(frames: int) -> Tensor:
    """[frames] weights that rise from 0 to 1 as half a cosine; what fades out has what is missing to 1."""
    place = (torch.arange(frames) + 0.5) / max(frames, 1)
    return (1 - torch.cos(torch.pi * place)) / 2
