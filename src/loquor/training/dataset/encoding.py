"""The codec a data set is encoded with: that of a model, alone, in float32 and on one thread.

What is stored are the encoder's means, neither sampled nor scaled, as `training.sequences` has them: a recipe draws its
latents around them anew each time. A long-form model also describes speech by its semantic codec.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from loquor.audio.resample import Waveform
from loquor.errors import CheckpointError
from loquor.models import family_of
from loquor.models.codec import Encoder
from loquor.training.dataset.records import Unfit
from loquor.training.sequences import encode_frames, whole_frames

STORED = torch.float16  # ten bits after the point where bfloat16 has seven, and means are far from its limits


@dataclass(frozen=True, eq=False)
class SpeechCodec:
    """The encoders of a model."""

    acoustic: Encoder
    semantic: Encoder | None
    hop_samples: int
    fingerprint: str  # of the encoders' weights: models that share a codec share data sets

    @classmethod
    def open(cls, folder: Path, device: str = "cpu") -> SpeechCodec:
        """The encoders of the model in `folder`; CheckpointError if it has none."""
        model = family_of(folder).load(folder, None)
        semantic = getattr(model, "semantic_codec", None)
        if model.codec.encoder is None:
            raise CheckpointError(
                f"the codec of {folder} has no encoder, so it cannot turn recordings into latents",
                hint=f"released Realtime models come without: loquor distil {folder} OUT trains one",
            )
        encoders = [model.codec.encoder] + ([semantic.encoder] if semantic else [])
        prints = weights_fingerprint(encoders)
        acoustic, *others = (encoder.to(device, torch.float32).eval() for encoder in encoders)
        return cls(acoustic, others[0] if others else None, model.codec.config.hop_samples, prints)

    @property
    def sizes(self) -> dict[str, int]:
        """Channels of what is stored: latents, and features if there are any."""
        return {name: len(encoder.head.weight) for name, encoder in self._encoders.items()}

    @property
    def _encoders(self) -> dict[str, Encoder]:
        return {"latents": self.acoustic} | ({"features": self.semantic} if self.semantic else {})

    @torch.inference_mode()
    def speech(self, waveform: Waveform) -> dict[str, Tensor]:
        """What a model says, [T]: latents [N, D], features [N, S], in the type they are stored in.

        Its last frame is filled with silence first, for generation says whole frames. Unfit if a number is too large.
        """
        filled = whole_frames(torch.from_numpy(waveform), self.hop_samples)
        return {name: self._encode(encoder, filled) for name, encoder in self._encoders.items()}

    @torch.inference_mode()
    def voice(self, waveform: Waveform) -> Tensor:
        """What a model hears of a voice, [T]: latents [N, D]."""
        return self._encode(self.acoustic, torch.from_numpy(waveform))

    def _encode(self, encoder: Encoder, waveform: Tensor) -> Tensor:
        stored = encode_frames(encoder, waveform, self.hop_samples).to(STORED)
        if not torch.isfinite(stored).all():
            raise Unfit("encoding", f"the codec gives numbers that are beyond {torch.finfo(STORED).max:g}, or none")
        return stored


def weights_fingerprint(modules: Sequence[nn.Module]) -> str:
    """Modules of the same weights, in the same types, have the same."""
    digest = hashlib.blake2b(digest_size=8)
    for module in modules:
        for name, tensor in module.state_dict().items():
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
            digest.update(memoryview(tensor.contiguous().view(torch.uint8).numpy()))
    return digest.hexdigest()
