"""The long-form model's own parts: its configuration, its prompts, how it hears a voice, both branches in one pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loquor.errors import ConfigError
from loquor.models.longform import model as longform
from loquor.models.longform.model import LongformConfig, LongformModel
from loquor.models.longform.prompt import Line, SpecialIds, Spoken, embed_prompt, write_prompt
from loquor.text.qwen_tokenizer import QwenTokenizer
from toy_longform import toy_config, toy_model, toy_waveform

CONFIG = toy_config()
TOKENIZER = QwenTokenizer()


@pytest.fixture(scope="module")
def model() -> LongformModel:
    return toy_model()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": replace(CONFIG.head, hidden_size=18)}, "one hidden_size"),
        ({"head": replace(CONFIG.head, latent_size=9)}, "latent_size 9 is not the codec's 8"),
        ({"semantic": replace(CONFIG.semantic, encoder_ratios=(20, 16, 5))}, "have 3200 samples, semantic ones 1600"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(CONFIG, **changes)  # type: ignore[arg-type]


def test_a_tied_model_chooses_tokens_by_its_embeddings(model: LongformModel) -> None:
    assert model.token_head is not None
    assert model.token_weights is model.token_head.weight
    decoder = replace(CONFIG.decoder, vocab_size=20)
    tied = LongformModel(LongformConfig(decoder, CONFIG.acoustic, CONFIG.semantic, CONFIG.head, False))
    assert tied.token_weights is tied.embedding.weight


@given(samples=st.integers(1, 5 * 3200), pieces=st.integers(1, 3))
@settings(max_examples=12)
def test_a_voice_is_encoded_as_if_in_one_go(model: LongformModel, samples: int, pieces: int) -> None:
    """Whatever its length, and however few frames are encoded at once."""
    waveform, frames = toy_waveform(1.0)[:samples], -(-samples // 3200)
    scale, noise = torch.randn(()), torch.randn(frames, 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(longform, "VOICE_FRAMES", pieces)
        latents = model.encode_voice(waveform, scale, noise)
    assert model.codec.encoder is not None
    mean = model.codec.encoder(waveform[None, None])[0]
    expected = model.latent_scale.normalised(mean + scale * (0.5 / 0.8) * noise)
    torch.testing.assert_close(latents, expected, rtol=0, atol=1e-5)


def test_both_branches_advance_as_each_does_alone(model: LongformModel) -> None:
    inputs, both = torch.randn(2, 16), model.init_state(2)
    model.language_model(torch.randn(2, 5, 16), both.positive)
    model.language_model(torch.randn(2, 3, 16), both.negative)
    apart = both.clone()
    positive, negative = model.advance(inputs, both)
    torch.testing.assert_close(positive, model.language_model(inputs[:, None], apart.positive)[:, 0])
    torch.testing.assert_close(negative, model.language_model(inputs[:, None], apart.negative)[:, 0])


def test_a_prompt_s_voices_stand_where_its_frames_are(model: LongformModel) -> None:
    voices = [torch.randn(2, 8), torch.randn(3, 8)]
    prompt = write_prompt(TOKENIZER, [Line(0, "Hello."), Line(1, "Hi.")], [2, 3])
    inputs = embed_prompt(model, prompt, voices)
    assert inputs.shape == (len(prompt), 16)
    torch.testing.assert_close(inputs[prompt.is_voice], model.connector(torch.cat(voices)))
    assert torch.equal(inputs[~prompt.is_voice], model.embedding(prompt.ids[~prompt.is_voice]))
    special = SpecialIds.of(TOKENIZER)
    around = [(int(prompt.ids[i - 1]), int(prompt.ids[i])) for i in prompt.is_voice.nonzero().flatten()]
    starts = [now for before, now in around if before == special.start]
    assert starts == [special.frame] * 2, "each voice begins behind a speech start"
    assert int(prompt.ids[-1]) == special.start


def test_a_prompt_without_voices_has_no_part_for_them() -> None:
    plain, voiced = (write_prompt(TOKENIZER, [Line(0, "Hello.")], frames) for frames in ((), (1,)))
    assert not plain.is_voice.any()
    assert len(voiced) > len(plain) + 1


def test_speech_said_in_parts_is_joined() -> None:
    parts = [Spoken(torch.randn(n, 8), torch.randn(n, 6)) for n in (2, 0, 3)]
    joined = Spoken.join(parts)
    assert len(joined) == 5
    assert torch.equal(joined.latents[2:], parts[2].latents)
    assert torch.equal(joined.features[:2], parts[0].features)
