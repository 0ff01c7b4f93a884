"""The vocoder on a stream of mel frames: seamless, as it hears all that a sample depends on before it makes it.

Pitch and waveform are functions of finite reach; between them the source carries its phase on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from loquor.diffusion.noise import Noise
from loquor.models.speech_tokens.hift import Vocoder
from loquor.models.speech_tokens.local import Local, LocalState
from loquor.models.speech_tokens.source import SourceState, init_source, source
from loquor.state import State


@dataclass
class VocoderState(State):
    """What the vocoder remembers: some twenty frames, and where the sines stand."""

    pitch: LocalState
    source: SourceState
    shape: LocalState


class StreamingVocoder:
    """Mel frames to a waveform, however they are cut."""

    def __init__(self, vocoder: Vocoder) -> None:
        self.vocoder, self.config = vocoder, vocoder.config
        self._pitch = Local(self._with_pitch, self.config.pitch_radius_frames, 1)
        self._shape = Local(self._waveform, self.config.radius_frames, self.config.frame_samples)

    @property
    def delay_frames(self) -> int:
        """How far the waveform lags behind the spectrum before the end."""
        return self._pitch.radius + self._shape.radius

    def init_state(self) -> VocoderState:
        bins = self.config.mel_bins
        with_source = bins + self.config.frame_samples
        state = VocoderState(
            self._pitch.init_state(bins), init_source(self.config), self._shape.init_state(with_source)
        )
        return state.to(self.vocoder.stem.weight.device)

    def __call__(self, mel: Tensor, noise: Noise | None, state: VocoderState, is_final: bool) -> Tensor:
        """mel [1, M, T], perhaps none, to the samples [n] that are certain now; without noise the source has none."""
        pitched = self._pitch(mel, state.pitch, is_final)
        if pitched is None:
            frames = mel.new_zeros(1, state.shape.frames.shape[1], 0)
        else:
            excitation = source(self.config, self.vocoder.merge, pitched[:, -1], noise, state.source)
            by_frame = excitation.view(1, -1, self.config.frame_samples).transpose(1, 2)
            frames = torch.cat([pitched[:, :-1], by_frame], 1)
        waveform = self._shape(frames, state.shape, is_final)
        return mel.new_zeros(0) if waveform is None else waveform[0]

    def _with_pitch(self, mel: Tensor) -> Tensor:
        """[1, M, T] to [1, M + 1, T]: the spectrum goes along, so that it waits for its pitch."""
        return torch.cat([mel, self.vocoder.pitch(mel)[:, None]], 1)

    def _waveform(self, frames: Tensor) -> Tensor:
        """[1, M + frame_samples, T] to [1, T * frame_samples]."""
        mel, excitation = torch.split(frames, [self.config.mel_bins, self.config.frame_samples], dim=1)
        waveform: Tensor = self.vocoder(mel, excitation.transpose(1, 2).flatten(1))
        return waveform
