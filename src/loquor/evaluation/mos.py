"""What listeners would think of a recording: predicted mean opinion scores, from 1 (bad) to 5 (excellent).

DNSMOS P.835 (Reddy et al., arXiv:2110.01763) was trained on ratings of noisy and denoised calls: one score for the
speech, one for the background, one for all of it. Its weights come in the package speechmos under the MIT licence.
They know noise, music and distortion; they do not know whether a voice sounds alive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loquor.audio.resample import Waveform, resample
from loquor.errors import AudioError
from loquor.models.packaged import Package

PACKAGE = Package("speechmos", "speechmos", "the predictor of opinion scores")


@dataclass(frozen=True)
class OpinionScores:
    """Mean opinion scores from 1 to 5; a `background` of 5 cannot be heard."""

    overall: float
    speech: float
    background: float


class OpinionPredictor:
    """DNSMOS P.835 on one core. MissingExtra if it is not installed."""

    SAMPLE_RATE_HZ = 16000
    WINDOW = 144160  # samples: 9.01 s, the length it was trained on
    # From what the network gives to the scale of the listeners: a x^2 + b x + c, published with the weights.
    CALIBRATION = np.array(
        [
            [-0.08397278, 1.22083953, 0.0052439],  # speech
            [-0.13166888, 1.60915514, -0.39604546],  # background
            [-0.06766283, 1.11546468, 0.04602535],  # overall
        ]
    )

    def __init__(self) -> None:
        self._network = PACKAGE.session(PACKAGE.file("dnsmos_models", "sig_bak_ovr.onnx"))

    def predict(self, waveform: Waveform, sample_rate_hz: int = 24_000) -> OpinionScores:
        """The scores of waveform [T], a mean over windows of 9 s that cover it; AudioError if it is empty.

        A shorter one is repeated. The publishers' script takes a window each second: nine times the work for scores
        that differed by less than 0.03 on five recordings.
        """
        audio = resample(waveform, sample_rate_hz, self.SAMPLE_RATE_HZ)
        if audio.size == 0:
            raise AudioError("an empty waveform has no opinion scores", hint="give at least a second of sound")
        audio = audio if len(audio) >= self.WINDOW else np.resize(audio, self.WINDOW)
        starts = np.linspace(0, len(audio) - self.WINDOW, -(-len(audio) // self.WINDOW)).astype(int)
        windows = [audio[None, start : start + self.WINDOW] for start in starts]
        raw = np.concatenate([self._network.run(None, {"input_1": window})[0] for window in windows])  # [windows, 3]
        powers = np.stack([raw**2, raw, np.ones_like(raw)], axis=-1)
        speech, background, overall = (powers * self.CALIBRATION).sum(-1).mean(0).tolist()
        return OpinionScores(overall, speech, background)
