"""The prompt of long-form speech: what to do, the voices to speak in, the text, and speech that it carries on from.

The layout is that of the published processor (VibeVoice, arXiv:2508.19205, section 2.2); each piece is tokenized alone.
A prompt ends where speech starts, so the first thing the model chooses is a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from loquor.models.longform.model import LongformModel
from loquor.text.qwen_tokenizer import QwenTokenizer

TASK = (
    " Transform the text provided by various speakers into speech output, utilizing the distinct voice of each"
    " respective speaker.\n"
)
MOST_VOICES = 4  # the models were trained to tell apart
VOICE_INPUT, TEXT_INPUT, SPEECH_OUTPUT = " Voice input:\n", " Text input:\n", " Speech output:\n"


@dataclass(frozen=True)
class SpecialIds:
    """The tokens a model chooses among while it speaks."""

    start: int  # of speech
    end: int  # of speech
    frame: int  # one latent; the place of a voice's frame in the prompt too
    eos: int

    @classmethod
    def of(cls, tokenizer: QwenTokenizer) -> Self:
        return cls(tokenizer.speech_start, tokenizer.speech_end, tokenizer.speech_diffusion, tokenizer.eos)


@dataclass(frozen=True)
class Line:
    """What one voice says; `voice` is its place among the prompt's voices, from 0."""

    voice: int
    text: str


@dataclass(frozen=True, eq=False)
class Prompt:
    """Ids [T] int64, and where among them the voices' frames stand [T] bool."""

    ids: Tensor
    is_voice: Tensor

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Spoken:
    """Speech that was said before and that a prompt carries on from, as the model itself would remember it."""

    latents: Tensor  # [N, D], normalised
    features: Tensor  # [N, S], semantic

    def __len__(self) -> int:
        return len(self.latents)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """One after the other."""
        return cls(torch.cat([p.latents for p in parts]), torch.cat([p.features for p in parts]))


def write_prompt(
    tokenizer: QwenTokenizer, lines: Sequence[Line], voice_frames: Sequence[int] = (), special_in_text: bool = False
) -> Prompt:
    """The prompt for `lines`, with a voice of so many frames each; without voices the model finds its own.

    The names of special tokens are plain text in a line, unless `special_in_text`, as the published processor has it.
    """
    ids, frames = tokenizer.ids(TASK), list[int]()
    if voice_frames:
        ids += tokenizer.ids(VOICE_INPUT)
    for i, count in enumerate(voice_frames):
        ids += [*tokenizer.ids(f" Speaker {i}:"), tokenizer.speech_start]
        frames += range(len(ids), len(ids) + count)
        ids += [*[tokenizer.speech_diffusion] * count, tokenizer.speech_end, *tokenizer.ids("\n")]
    ids += tokenizer.ids(TEXT_INPUT)
    for line in lines:
        ids += tokenizer.ids(f" Speaker {line.voice}: {line.text}\n", special_in_text)
    ids += [*tokenizer.ids(SPEECH_OUTPUT), tokenizer.speech_start]
    is_voice = torch.zeros(len(ids), dtype=torch.bool)
    is_voice[frames] = True
    return Prompt(torch.tensor(ids), is_voice)


def embed_prompt(model: LongformModel, prompt: Prompt, voices: Sequence[Tensor]) -> Tensor:
    """The inputs [T, H] of a prompt whose voices are the latents [N, D], normalised, of each.

    A voice is given by its sound alone: there are no semantic features, unlike for speech the model has said itself.
    """
    inputs: Tensor = model.embedding(prompt.ids.to(model.embedding.weight.device))
    if voices:
        inputs[prompt.is_voice.to(inputs.device)] = model.connector(torch.cat(list(voices)).to(inputs))
    return inputs
