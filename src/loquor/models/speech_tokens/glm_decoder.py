"""GLM-4-Voice's speech decoder: ids to a mel spectrum by flow matching, and that to a waveform (arXiv:2412.02612, 2.2).

`decode_whole` is the published algorithm. It cannot be streamed exactly: the estimator attends to all frames, and its
norms and those of the regulator take in all of time, so the first sample depends on the last id. How a stream is
decoded is told in `glm_stream`; how the authors do it, in `glm_published`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from loquor.diffusion.noise import Noise
from loquor.errors import InputError
from loquor.models.speech_tokens.flow import Flow, published_noise
from loquor.models.speech_tokens.hift import Vocoder
from loquor.models.speech_tokens.interface import checked, require_some
from loquor.models.speech_tokens.source import init_source, source

STEPS = 10
MOST_AT_ONCE = 1500  # ids, two minutes; what attention costs grows with their square


class GlmDecoder(nn.Module):
    """Flow decoder and vocoder."""

    def __init__(self, flow: Flow, vocoder: Vocoder) -> None:
        super().__init__()
        self.flow, self.vocoder = flow, vocoder

    def checked(self, ids: Sequence[int]) -> Tensor:
        """ids [1, N] where the model is; InputError names one outside the codebook."""
        return checked(ids, self.flow.config.vocab_size).to(self.flow.embedding.weight.device)

    @torch.no_grad()
    def decode_whole(self, ids: Sequence[int], noise: Noise | None, steps: int = STEPS) -> Tensor:
        """The published decoding of a whole utterance, to [T] at 22.05 kHz.

        `noise` is that of the vocoder's source, which the reference draws from anybody's generator; None leaves it out.
        InputError for no ids, ids outside the codebook, and more than two minutes.
        """
        require_some(ids)
        if len(ids) > MOST_AT_ONCE:
            raise InputError(
                f"{len(ids)} ids are too many to decode at once, at most {MOST_AT_ONCE}",
                hint="decode them as a stream: its cost grows with the length, not its square",
            )
        mean = self.flow.mean(self.checked(ids), self.flow.config.frames(len(ids)))
        drawn = published_noise(*mean.shape[1:]).to(mean)
        mel = self.flow.sample(mean, mean[..., :0], drawn, steps)
        return self.speak(mel, noise, mean[:, 0, :0])[0]

    def speak(self, mel: Tensor, noise: Noise | None, first_source: Tensor) -> tuple[Tensor, Tensor]:
        """A spectrum [1, M, T] to a waveform [T * frame_samples] and the source [1, T * frame_samples] it was made of.

        The source is counted in float32, as the reference does; `first_source` [1, n] takes the place of its beginning.
        """
        config = self.vocoder.config
        state = init_source(config, torch.float32).to(mel.device)
        excitation = source(config, self.vocoder.merge, self.vocoder.pitch(mel), noise, state)
        excitation[:, : first_source.shape[1]] = first_source
        return self.vocoder(mel, excitation)[0], excitation
