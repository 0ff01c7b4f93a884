"""Sequences to learn from: encoded as generation hears them, laid out as it reads and says them."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from loquor.errors import CapacityError, InputError
from loquor.models.codec import Codec
from loquor.models.longform.model import LongformModel
from loquor.models.longform.prompt import Line, embed_prompt, write_prompt
from loquor.text.qwen_tokenizer import QwenTokenizer
from loquor.training import sequences
from loquor.training.longform import LongformLossWeights, LongformTraining, collate
from loquor.training.sequences import (
    SAMPLE_RATE_HZ,
    Example,
    Segment,
    crop_voice,
    drops_voice,
    encode_segment,
    lay_out,
    whole_frames,
    wrap_in_silence,
)
from training.tiny_longform import HOP, tiny_model

LINES = (Line(0, "Good evening."), Line(1, "And to you."))


@pytest.fixture(scope="module")
def model() -> LongformModel:
    return tiny_model(QwenTokenizer().vocab_size).requires_grad_(False)


def noise(samples: int, seed: int = 0) -> Tensor:
    return 0.3 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def one_shot(codec: Codec, waveform: Tensor) -> Tensor:
    assert codec.encoder is not None
    encoded: Tensor = codec.encoder(waveform[None, None])[0]
    return encoded


@pytest.mark.parametrize("samples", [1, HOP, 5 * HOP, 5 * HOP + 1, 13 * HOP - 1])
def test_a_segment_is_what_both_encoders_make_of_the_whole_waveform(
    model: LongformModel, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequences, "FRAMES_AT_ONCE", 5)
    waveform = noise(samples)

    segment = encode_segment(model, waveform, "real")

    assert segment.features is not None
    assert len(segment.means) == len(segment.features) == -(-samples // HOP)
    torch.testing.assert_close(segment.means, one_shot(model.codec, waveform), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(segment.features, one_shot(model.semantic_codec, waveform), atol=1e-6, rtol=1e-5)


def test_a_segment_may_have_its_features_left_out_or_zeroed_for_old_adapters(model: LongformModel) -> None:
    waveform = noise(4 * HOP)

    real, none, zero = (encode_segment(model, waveform, semantics) for semantics in ("real", "none", "zero"))

    assert torch.equal(real.means, none.means) and torch.equal(real.means, zero.means)
    assert none.features is None
    assert zero.features is not None and zero.features.shape == (4, 4) and not zero.features.any()
    assert real.features is not None and real.features.any()


def laid_out(model: LongformModel, voices: int = 2, frames: int = 4, lines: tuple[Line, ...] = LINES) -> Example:
    segments = [encode_segment(model, noise((2 + i) * HOP, seed=i), "none") for i in range(voices)]
    target = encode_segment(model, noise(frames * HOP, seed=9), "real")
    return lay_out(QwenTokenizer(), lines, segments, target, model.config.context)


@pytest.mark.parametrize("voices", [0, 1, 2])
def test_a_sequence_is_the_prompt_of_generation_its_frames_and_two_ends(model: LongformModel, voices: int) -> None:
    tokenizer = QwenTokenizer()
    prompt = write_prompt(tokenizer, LINES, [2, 3][:voices])

    example = laid_out(model, voices)

    said = [tokenizer.speech_diffusion] * 4
    assert example.ids.tolist() == [*prompt.ids.tolist(), *said, tokenizer.speech_end, tokenizer.eos]
    at = len(prompt)
    assert torch.equal(example.is_frame[:at], prompt.is_voice)
    assert example.is_target.nonzero().flatten().tolist() == list(range(at, at + 4))
    assert len(example.segments) == voices + 1


@pytest.mark.parametrize("voices", [0, 2])
def test_the_first_frame_is_learned_from_the_state_at_the_end_of_the_prompt_that_generation_reads(
    model: LongformModel, voices: int
) -> None:
    example = laid_out(model, voices)
    trainer, batch = LongformTraining(model, LongformLossWeights()), collate([example], model.config)
    draws = trainer.draw(example, torch.Generator().manual_seed(0))
    latents = model.latent_scale.normalised(trainer.sample(batch, draws))

    states = trainer.states(batch, latents)

    prompt = write_prompt(QwenTokenizer(), LINES, [2, 3][:voices])
    read = embed_prompt(model, prompt, [latents[:2], latents[2:5]][:voices])
    condition = model.language_model(read[None], model.init_state().positive)[0, -1]
    torch.testing.assert_close(states[0, len(prompt) - 1], condition, atol=2e-5, rtol=1e-4)


def test_speech_without_text_is_refused(model: LongformModel) -> None:
    for lines in ((), (Line(0, " "), Line(1, ""))):
        with pytest.raises(InputError, match="no text"):
            laid_out(model, lines=lines)


def test_a_sequence_longer_than_the_context_is_refused_not_cut(model: LongformModel) -> None:
    fits = laid_out(model)
    room = len(fits.ids)
    *voices, target = fits.segments

    assert len(lay_out(QwenTokenizer(), LINES, voices, target, room).ids) == room
    with pytest.raises(CapacityError, match=f"{room} positions, the model has {room - 1}"):
        lay_out(QwenTokenizer(), LINES, voices, target, room - 1)


def test_an_example_whose_frames_and_segments_disagree_cannot_be_made(model: LongformModel) -> None:
    example = laid_out(model)

    with pytest.raises(AssertionError):
        dataclasses.replace(example, segments=(*example.segments[:-1], Segment(torch.zeros(5, 5), None)))


@given(samples=st.integers(0, 50))
def test_targets_are_filled_with_silence_to_whole_frames(samples: int) -> None:
    waveform = torch.ones(samples)

    filled = whole_frames(waveform, HOP)

    assert len(filled) % HOP == 0 and 0 <= len(filled) - samples <= HOP and len(filled) > 0
    assert torch.equal(filled[:samples], waveform) and not filled[samples:].any()


@given(samples=st.integers(1, 60 * SAMPLE_RATE_HZ), seed=st.integers(0, 2**32))
def test_a_voice_cut_from_a_target_is_a_quarter_to_half_of_it_within_five_to_fifteen_seconds(
    samples: int, seed: int
) -> None:
    target = torch.arange(samples)

    voice = crop_voice(target, torch.Generator().manual_seed(seed))

    rate = SAMPLE_RATE_HZ
    assert max(1, int(min(5 * rate, samples / 4))) <= len(voice) <= max(1, min(15 * rate, samples / 2))
    start = int(voice[0])
    assert torch.equal(voice, target[start : start + len(voice)]), "an excerpt, as it is"


def test_voices_are_cut_at_all_lengths_and_places() -> None:
    target, generator = torch.arange(1000), torch.Generator().manual_seed(0)

    voices = [crop_voice(target, generator) for _ in range(300)]

    lengths, ends = [len(v) for v in voices], [int(v[-1]) for v in voices]
    assert min(lengths) < 260 and max(lengths) > 490
    assert min(int(v[0]) for v in voices) < 20 and max(ends) > 980


def test_voices_are_dropped_as_often_as_asked() -> None:
    generator = torch.Generator().manual_seed(0)

    share = {rate: sum(drops_voice(rate, generator) for _ in range(1000)) / 1000 for rate in (0.0, 0.2, 1.0)}

    assert share[0.0] == 0 and share[1.0] == 1
    assert share[0.2] == pytest.approx(0.2, abs=0.04)


def test_a_wrapped_target_fades_in_and_out_between_silences() -> None:
    target = torch.ones(SAMPLE_RATE_HZ)

    wrapped = wrap_in_silence(target)

    quarter = SAMPLE_RATE_HZ // 4
    before, fade_in, body, fade_out, after = wrapped.split([quarter, quarter, 2 * quarter, quarter, 3 * quarter])
    assert not before.any() and not after.any()
    assert (fade_in[0], fade_in[-1], fade_out[0], fade_out[-1]) == (0, 1, 1, 0)
    assert (fade_in.diff() > 0).all() and (fade_out.diff() < 0).all() and (body == 1).all()
    assert (target == 1).all(), "the target itself stays as it was"
