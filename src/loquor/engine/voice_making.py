"""Realtime voices of one's own: a reference, that is a text and the latents of it being spoken, read by the model once.

The published voices are references pushed through both language models; how theirs were made was never released, but
their lengths fit a transcript that is followed by its frames. Latents come from the codec's encoder, where a checkpoint
has one, from a generated take, whose latents are known, or from `loquor.training.inversion`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import torch
from torch import Tensor
from torch.nn import functional as F

from loquor.errors import VoiceError
from loquor.models.realtime.model import RealtimeModel
from loquor.models.realtime.prompt import prefill
from loquor.text.tokenizer import TextTokenizer
from loquor.voices.card import Card
from loquor.voices.voice import Voice, fingerprint

REFERENCE_FRAMES = 24  # of a prompt without transcript: what models of phonemes were shown in training at most, 3.2 s


@dataclass(frozen=True, eq=False)
class Reference:
    """What a voice is made of."""

    text: str  # what is said
    latents: Tensor  # [N, D] of it being said, normalised


@torch.no_grad()
def encode_recording(model: RealtimeModel, waveform: Tensor) -> Tensor:
    """The normalised latents [ceil(T / hop), D] of waveform [T] at 24 kHz; VoiceError if the model has no encoder.

    They are the encoder's means: long-form models were trained on draws around them, but a draw is only noise on what
    was recorded, and the same recording shall give the same voice.
    """
    if model.codec.encoder is None:
        raise VoiceError(
            "the codec of this model has no encoder, so it cannot listen to recordings",
            hint="train one: loquor distil MODEL OUT; or give --invert, to search for the latents of this recording",
        )
    sound = F.pad(waveform, (0, -len(waveform) % model.config.codec.hop_samples))  # the last frame ends in silence
    mean = model.codec.encoder(sound.to(model.types.weight)[None, None])[0]
    return model.latent_scale.normalised(mean)


@torch.no_grad()
def codec_copy(model: RealtimeModel, latents: Tensor) -> Tensor:
    """What the codec makes of normalised latents [N, D], [N * hop] at 24 kHz: no voice gets nearer to the person."""
    assert model.codec.decoder is not None, "every Realtime model has one"
    waveform: Tensor = model.codec.decoder(model.latent_scale.latent(latents.to(model.types.weight))[None])
    return waveform[0, 0].float()


def make_voice(model: RealtimeModel, tokenizer: TextTokenizer, reference: Reference, card: Card) -> Voice:
    """The voice of a reference, for this model, as of today.

    VoiceError if it does not fit: other latents than the model's, or too long to leave room to speak. InputError if the
    text holds nothing that the model can say.
    """
    ids, latents = _prompt(model, tokenizer, reference)
    size, context = model.config.latent_size, model.config.speech.max_position_embeddings
    if latents.dim() != 2 or not len(latents) or latents.shape[1] != size or not torch.isfinite(latents).all():
        raise VoiceError(
            f"a voice needs finite latents [N, {size}], got {list(latents.shape)} of another model or none"
        )
    positions = len(ids) + len(latents)
    if positions + model.config.text_window + 1 > context:
        raise VoiceError(
            f"voice {card.name!r} leaves no room to speak: it takes {positions} of the context's {context} positions",
            hint="use a shorter recording: 10 to 30 s are enough",
        )
    weight = model.types.weight
    tokens = torch.tensor([ids], device=weight.device)
    tensors = prefill(model, tokens, latents[None].to(weight), tokenizer.negative_id)
    return Voice(
        name=card.name,
        language=card.language,
        consent=card.consent,
        source=card.source,
        created=date.today().isoformat(),
        model=fingerprint(tensors),
        tensors=tensors,
    )


def _prompt(model: RealtimeModel, tokenizer: TextTokenizer, reference: Reference) -> tuple[list[int], Tensor]:
    """Token ids and latents [N, D] of the prompt: the transcript closed by a newline, then all frames.

    Models of phonemes, as the embedded voice is, were trained on another prompt (`loquor.training.speakers`): their
    voice token, and then the last frames of other speech. With a transcript in front they would repeat its words.
    """
    ids = tokenizer.encode(reference.text)
    if tokenizer.voice_id is None:
        return ids, reference.latents
    return [tokenizer.voice_id], reference.latents[-REFERENCE_FRAMES:]
