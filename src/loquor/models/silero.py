"""How likely each moment is speech: Silero's voice activity network (package silero-vad, MIT), whole or as a stream.

A recurrent network reads 32 ms at a time, with the 4 ms before them. What it remembers is data that the caller keeps,
so one network listens to any number of microphones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loquor.audio.resample import Waveform
from loquor.models.packaged import Package

PACKAGE = Package("silero-vad", "silero_vad", "the voice activity detector")


@dataclass
class SileroState:
    """What the network remembers of a stream."""

    before: Waveform  # [64], the samples before those that come
    hidden: npt.NDArray[np.float32]  # [1, 1, 128]
    cell: npt.NDArray[np.float32]  # [1, 1, 128]


class Silero:
    """The network on one core. MissingExtra if it is not installed."""

    SAMPLE_RATE_HZ = 16_000
    FRAME, CONTEXT = 512, 64  # samples: those judged, and those before them that the network sees as well
    STATE = (1, 1, 128)

    def __init__(self) -> None:
        self._network = PACKAGE.session(PACKAGE.file("data", "silero_vad_16k_sequence.onnx"))

    @property
    def frame_s(self) -> float:
        return self.FRAME / self.SAMPLE_RATE_HZ

    def init_state(self) -> SileroState:
        """The memory before the first sample: silence."""
        nothing = np.zeros(self.STATE, dtype=np.float32)
        return SileroState(np.zeros(self.CONTEXT, dtype=np.float32), nothing, nothing)

    def __call__(self, waveform: Waveform, state: SileroState | None = None) -> npt.NDArray[np.float32]:
        """waveform [N * 512] at 16 kHz to the probability of each frame [N]; a state goes on, and is updated."""
        if not len(waveform):
            return np.zeros(0, dtype=np.float32)
        state = state or self.init_state()
        heard = np.concatenate([state.before, waveform])
        frames = np.lib.stride_tricks.sliding_window_view(heard, self.CONTEXT + self.FRAME)[:: self.FRAME]
        inputs = {"input": np.ascontiguousarray(frames), "h": state.hidden, "c": state.cell}
        likely: npt.NDArray[np.float32]
        likely, state.hidden, state.cell = self._network.run(["speech_probs", "hn", "cn"], inputs)
        state.before = heard[-self.CONTEXT :].copy()
        return likely
