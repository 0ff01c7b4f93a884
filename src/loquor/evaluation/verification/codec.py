"""The halves of a codec: waveform to latents and back, in pieces as in one go."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from loquor.evaluation.verification import plain
from loquor.evaluation.verification.blocks import ALONE, FORMULA, IN_BFLOAT16, ROWS, WHOLE, drawn, narrow
from loquor.evaluation.verification.checks import NARROW, NARROW_BOUND, Check, compare
from loquor.evaluation.verification.steps import Step
from loquor.models.codec import SAMPLE_RATE_HZ, Codec, Decoder, Encoder

FRAMES = 4
PIECES = (1, 2, 1)  # frames of a stream
PITCH_HZ = 120.0
LEVEL_DB = 20.0  # by which what a trained codec gives back may be louder or softer


def steps(name: str, module: Codec, tolerance: float) -> Iterator[Step]:
    """Those of the halves that are there."""
    if (first := module.encoder) is not None:
        inward = f"{name}.encoder"
        yield Step(inward, lambda: encoder(inward, first, module.config.hop_samples, tolerance))
    if (second := module.decoder) is not None:
        outward = f"{name}.decoder"
        yield Step(outward, lambda: decoder(outward, second, module.config.vae_dim, tolerance))
    if first is not None and second is not None:
        yield Step(name, lambda: iter([reconstruction(name, module)]))


def encoder(name: str, module: Encoder, hop_samples: int, tolerance: float) -> Iterator[Check]:
    """Waveform to means; the last chunk of a stream is not whole."""
    rest = hop_samples // 2
    sound = voiced(ROWS, FRAMES * hop_samples + rest).to(module.stem.weight.dtype)
    whole = module(sound)
    plainly = plain.codec_half(module, sound).transpose(1, 2)
    yield compare(name, "latents", FORMULA, [("", whole, plainly)], tolerance)
    state = module.init_state(ROWS)
    pieces = torch.split(sound, [*(hop_samples * frames for frames in PIECES), rest], -1)
    streamed = [module(piece, state, is_final=i == len(PIECES)) for i, piece in enumerate(pieces)]
    yield compare(name, "streaming", WHOLE, [("", torch.cat(streamed, 1), whole)], tolerance)
    yield compare(name, "in a batch", ALONE, [("", whole, torch.cat([module(row[None]) for row in sound]))], tolerance)
    yield compare(name, IN_BFLOAT16, "float32", [("", narrow(module)(sound.to(NARROW)), whole)], NARROW_BOUND)


def decoder(name: str, module: Decoder, latent_size: int, tolerance: float) -> Iterator[Check]:
    """Latents to waveform."""
    latents = drawn(ROWS, FRAMES, latent_size).to(module.stem.weight.dtype)
    whole = module(latents)
    yield compare(
        name, "waveform", FORMULA, [("", whole, plain.codec_half(module, latents.transpose(1, 2)))], tolerance
    )
    state = module.init_state(ROWS)
    streamed = torch.cat([module(piece, state) for piece in torch.split(latents, list(PIECES), 1)], -1)
    yield compare(name, "streaming", WHOLE, [("", streamed, whole)], tolerance)
    alone = torch.cat([module(row[None]) for row in latents])
    yield compare(name, "in a batch", ALONE, [("", whole, alone)], tolerance)
    yield compare(name, IN_BFLOAT16, "float32", [("", narrow(module)(latents.to(NARROW)), whole)], NARROW_BOUND)


def reconstruction(name: str, codec: Codec) -> Check:
    """A sound through both halves. What comes back of a codec that was never trained means nothing, so only what is no
    sound at all fails."""
    assert codec.encoder is not None and codec.decoder is not None
    sound = voiced(1, 2 * FRAMES * codec.config.hop_samples).to(codec.encoder.stem.weight.dtype)
    back = codec.decoder(codec.encoder(sound))
    what, against = "there and back", "the sound it was given"
    if back.shape != sound.shape or not torch.isfinite(back).all() or not back.any():
        return Check(name, what, against, "fail", detail="no sound comes back")
    louder = 20 * math.log10(float(back.float().square().mean().sqrt() / sound.float().square().mean().sqrt()))
    told = f"{louder:+.1f} dB"
    return Check(name, what, against, "ok" if abs(louder) <= LEVEL_DB else "warn", detail=told)


def voiced(rows: int, samples: int) -> Tensor:
    """[rows, 1, samples] of something like a vowel: harmonics that fall, in syllables, each row of another pitch."""
    t = torch.arange(samples, dtype=torch.float64) / SAMPLE_RATE_HZ
    sounds = []
    for row in range(rows):
        pitch = PITCH_HZ * (1 + 0.3 * row)
        waves = sum((torch.sin(2 * math.pi * k * pitch * t) / k**1.5 for k in range(1, 12)), torch.zeros_like(t))
        sounds.append(0.1 * waves * (0.6 + 0.4 * torch.sin(2 * math.pi * 4 * t)))
    return torch.stack(sounds)[:, None].float()
