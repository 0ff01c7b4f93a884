"""What a long-form model learns from: a script, voices and how they sound, laid out as generation lays it out.

A sequence is the prompt, which ends where speech starts, the frames of the speech, speech end and end of text
(arXiv:2508.19205, section 2.2). Voices nobody recorded are cut from the speech itself, by the rule of the community's
fine-tuner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from loquor.errors import CapacityError, InputError
from loquor.models.codec import SAMPLE_RATE_HZ, Encoder
from loquor.models.longform.model import LongformModel
from loquor.models.longform.prompt import Line, SpecialIds, write_prompt
from loquor.text.qwen_tokenizer import QwenTokenizer

Semantics = Literal["real", "none", "zero"]
FRAMES_AT_ONCE = 256  # encoded in one go, 34 s: memory does not grow with the length of a segment
SHORTEST_VOICE_S, LONGEST_VOICE_S = 5.0, 15.0
FADE_S, SILENCE_BEFORE_S, SILENCE_AFTER_S = 0.25, 0.25, 0.75


@dataclass(frozen=True)
class Segment:
    """A stretch of speech as the encoders hear it, nothing drawn yet; what a data set keeps of it."""

    means: Tensor  # [N, D] of the acoustic codec
    features: Tensor | None  # [N, S] of the semantic codec; None: the model is given the sound alone


@torch.no_grad()
def encode_segment(model: LongformModel, waveform: Tensor, semantics: Semantics) -> Segment:
    """Waveform [T] at 24 kHz to a segment of ceil(T / hop) frames, float32 on the CPU.

    Generation gives the model "real" semantic features of what it says and "none" of voices, so targets and voices
    are encoded like that. "zero" for both is what the community's fine-tuner does, and its adapters expect. A segment
    is encoded by itself: padding it to the longest of a batch would change its last frame and cost memory. Fill targets
    to whole frames first (`whole_frames`): generation says no others.
    """
    assert model.codec.encoder is not None and model.semantic_codec.encoder is not None
    hop = model.config.hop_samples
    means = encode_frames(model.codec.encoder, waveform, hop)
    if semantics == "real":
        return Segment(means, encode_frames(model.semantic_codec.encoder, waveform, hop))
    return Segment(means, means.new_zeros(len(means), model.config.semantic.vae_dim) if semantics == "zero" else None)


def encode_frames(encoder: Encoder, waveform: Tensor, hop: int) -> Tensor:
    """Waveform [T] to means [N, D], piece by piece, float32 on the CPU."""
    state = encoder.init_state(1)
    pieces = torch.split(waveform.to(encoder.head.weight), FRAMES_AT_ONCE * hop)
    last = len(pieces) - 1
    frames = [encoder(piece[None, None], state, is_final=i == last)[0] for i, piece in enumerate(pieces)]
    return torch.cat(frames).float().cpu()


def whole_frames(waveform: Tensor, hop: int) -> Tensor:
    """Waveform [T], its last frame filled with silence; at least one frame."""
    return F.pad(waveform, (0, -len(waveform) % hop if len(waveform) else hop))


def wrap_in_silence(waveform: Tensor) -> Tensor:
    """Waveform [T], faded in and out, with a little silence before it and more behind.

    An option: targets so made teach a model to end in silence (the community's fine-tuner; upstream leaves it out).
    """
    fade = min(round(FADE_S * SAMPLE_RATE_HZ), len(waveform))
    ramp, faded = torch.linspace(0, 1, fade), waveform.clone()
    faded[:fade] *= ramp
    faded[len(faded) - fade :] *= ramp.flip(0)
    return F.pad(faded, (round(SILENCE_BEFORE_S * SAMPLE_RATE_HZ), round(SILENCE_AFTER_S * SAMPLE_RATE_HZ)))


def crop_voice(waveform: Tensor, generator: torch.Generator) -> Tensor:
    """A random excerpt of a target [T], to stand for the voice that nobody recorded.

    Its length is uniform between a quarter of the target (5 s if that is less) and a half (15 s).
    """
    total = len(waveform)
    shortest = min(SHORTEST_VOICE_S * SAMPLE_RATE_HZ, total / 4)
    longest = min(LONGEST_VOICE_S * SAMPLE_RATE_HZ, total / 2)
    share, place = torch.rand(2, generator=generator).tolist()
    length = max(1, int(shortest + share * (longest - shortest)))
    start = int(place * (total - length))
    return waveform[start : start + length]


def drops_voice(rate: float, generator: torch.Generator) -> bool:
    """Whether an example goes without its voices, so that the model also learns to find one; `rate` is how often."""
    return float(torch.rand((), generator=generator)) < rate


@dataclass(frozen=True)
class Example:
    """One sequence to learn from."""

    ids: Tensor  # [T] int64, the frame token where a frame stands
    is_frame: Tensor  # [T] bool
    is_target: Tensor  # [T] bool, the frames to be said; those of voices are only heard
    segments: tuple[Segment, ...]  # in the order their frames stand in

    def __post_init__(self) -> None:
        assert int(self.is_frame.sum()) == sum(len(s.means) for s in self.segments)
        assert not (self.is_target & ~self.is_frame).any() and not self.is_frame[0]


def lay_out(
    tokenizer: QwenTokenizer, lines: Sequence[Line], voices: Sequence[Segment], target: Segment, context: int
) -> Example:
    """The sequence of `lines`, read in `voices` (none, if they are dropped) as `target` sounds.

    Raises InputError if there is nothing to say, CapacityError if it is longer than `context`: nothing is cut off,
    for speech without the beginning of its text would teach the wrong thing.
    """
    if not any(line.text.strip() for line in lines):
        raise InputError("an example has no text, so there is nothing to learn", hint="drop it, or transcribe it")
    prompt, special = write_prompt(tokenizer, lines, [len(v.means) for v in voices]), SpecialIds.of(tokenizer)
    frames, closing = len(target.means), torch.tensor([special.end, special.eos])
    ids = torch.cat([prompt.ids, torch.full((frames,), special.frame), closing])
    if len(ids) > context:
        raise CapacityError(
            f"an example of {frames} frames takes {len(ids)} positions, the model has {context}",
            hint="split the recording at a silence",
        )
    at = torch.arange(len(ids)) - len(prompt)
    is_target = (at >= 0) & (at < frames)
    is_frame = is_target | F.pad(prompt.is_voice, (0, frames + len(closing)))
    return Example(ids, is_frame, is_target, (*voices, target))
