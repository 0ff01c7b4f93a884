"""The chunks of GLM-4-Voice's authors: every chunk decodes all history again, and chunks are faded into one another.

Kept to compare with: what it gives depends on how ids are cut, its cost grows with the square of the length, and every
cut loses a frame, as the cached frame counts into the prompt. `glm_stream` has none of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from loquor.diffusion.noise import Noise
from loquor.errors import InputError
from loquor.models.speech_tokens.flow import published_noise
from loquor.models.speech_tokens.glm_decoder import STEPS, GlmDecoder
from loquor.state import State

OVERLAP_TOKENS = 5
LEAST_TOKENS = OVERLAP_TOKENS + 1  # of a chunk, or it would not reach past the overlap


@dataclass
class PublishedState(State):
    """All that was said so far, and the seams."""

    ids: Tensor  # [1, N]
    mel: Tensor  # [1, M, T], as it was given to the caller, cached frames twice
    overlap: Tensor  # [1, M, 34], to be faded into what comes; empty before the first chunk
    last_frame: Tensor  # [1, M, 1]
    last_source: Tensor  # [1, 256]


class PublishedChunks:
    """The published chunked decoding."""

    def __init__(self, decoder: GlmDecoder, steps: int = STEPS) -> None:
        self.decoder, self.steps = decoder, steps
        self.overlap_frames = decoder.flow.config.frames(OVERLAP_TOKENS)
        self.fade = fade_window(self.overlap_frames)

    def init_state(self) -> PublishedState:
        mel = torch.zeros(1, self.decoder.flow.config.mel_bins, 0)
        state = PublishedState(torch.zeros(1, 0, dtype=torch.long), mel, mel, mel, mel[:, 0])
        return state.to(self.decoder.flow.speaker.weight.device)

    @torch.no_grad()
    def decode(self, ids: Sequence[int], noise: Noise | None, state: PublishedState, is_final: bool) -> Tensor:
        """A chunk of ids to [T] at 22.05 kHz; InputError if it is shorter than six."""
        if len(ids) < LEAST_TOKENS:
            raise InputError(f"a chunk of {len(ids)} ids is too short, the overlap needs {LEAST_TOKENS}")
        decoder, flow, overlap = self.decoder, self.decoder.flow, self.overlap_frames
        state.ids = torch.cat([state.ids, decoder.checked(ids)], 1)
        mean = flow.mean(state.ids, flow.config.frames(state.ids.shape[1]))
        drawn = published_noise(*mean.shape[1:]).to(mean)
        mel = flow.sample(mean, state.mel, drawn, self.steps)[..., state.mel.shape[-1] :]
        if state.overlap.shape[-1]:
            fade = self.fade.to(mel)
            mel[..., :overlap] = mel[..., :overlap] * fade[:overlap] + state.overlap * fade[overlap:]
        mel = torch.cat([state.last_frame, mel], -1)
        if not is_final:
            mel, state.overlap = mel[..., :-overlap], mel[..., -overlap:]
        return self._speak(mel, noise, state, is_final)

    def _speak(self, mel: Tensor, noise: Noise | None, state: PublishedState, is_final: bool) -> Tensor:
        waveform, excitation = self.decoder.speak(mel, noise, state.last_source)
        samples = self.decoder.vocoder.config.frame_samples
        state.mel = torch.cat([state.mel, mel], -1)
        state.last_frame, state.last_source = mel[..., -1:], excitation[:, -samples:]
        return waveform if is_final else waveform[:-samples]


def fade_window(overlap_frames: int) -> Tensor:
    """[2 * overlap]: weights of what comes, then of what was. They sum to 1.08, as in the reference."""
    return torch.hamming_window(2 * overlap_frames, periodic=False, dtype=torch.float64).float()
