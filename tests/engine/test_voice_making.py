"""Voices of one's own: a reference becomes a prompt that the model itself could have heard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import loquor
from loquor.engine.speaker import Speaker
from loquor.engine.speech import Speech
from loquor.engine.voice_making import REFERENCE_FRAMES, Reference, codec_copy, encode_recording, make_voice
from loquor.errors import InputError, VoiceError
from loquor.models.realtime.prompt import prefill
from loquor.text.phoneme_tokenizer import PhonemeTokenizer
from loquor.voices.card import Card
from loquor.voices.voice import Voice
from toy import NEGATIVE_ID, named_voice, toy_config, toy_model, toy_speaker

CARD = Card(name="Ada", language="en", consent="she agreed", source="made up")
MODEL = toy_model()
HOP = MODEL.config.codec.hop_samples


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    made = toy_speaker(end_bias=-2.0)
    made.watermark = False  # to compare with what the decoder gives
    return made


@pytest.fixture(scope="module")
def take(speaker: Speaker) -> Speech:
    return speaker.speak("Hello there.", named_voice(speaker.model), seed=3)


def test_a_frozen_take_is_its_text_and_then_its_frames(speaker: Speaker, take: Speech) -> None:
    voice = speaker.freeze(take, "frozen", "a synthetic voice")

    ids = torch.tensor([speaker.tokenizer.encode(take.text)])
    expected = prefill(speaker.model, ids, take.latents[None], NEGATIVE_ID)
    assert voice.tensors.keys() == expected.keys()
    assert all(torch.equal(voice.tensors[name], expected[name]) for name in expected)
    assert (voice.length("lm"), voice.length("tts_lm")) == (ids.shape[1], ids.shape[1] + len(take.latents))


def test_a_frozen_take_tells_where_it_comes_from_and_speaks_after_saving(
    speaker: Speaker, take: Speech, tmp_path: Path
) -> None:
    voice = speaker.freeze(take, "frozen", "a synthetic voice", language="en")
    voice.save(tmp_path / "frozen.safetensors")

    opened = Voice.open(tmp_path / "frozen.safetensors")
    assert (opened.name, opened.language, opened.consent) == ("frozen", "en", "a synthetic voice")
    assert opened.source == "frozen take of Toy: Hello there."
    assert opened.created == voice.created != ""
    said = [speaker.speak("Good morning.", v, seed=1).waveform for v in (voice, opened)]
    assert torch.equal(*said)
    assert not torch.equal(said[0], speaker.speak("Good morning.", named_voice(speaker.model), seed=1).waveform)


@settings(max_examples=20)
@given(samples=st.integers(1, 20 * HOP))
def test_a_recording_gives_a_frame_for_every_hop_that_has_begun(samples: int) -> None:
    waveform = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))

    latents = encode_recording(MODEL, waveform)

    assert latents.shape == (-(-samples // HOP), MODEL.config.latent_size)
    assert torch.equal(latents, encode_recording(MODEL, waveform))
    in_silence = torch.cat([waveform, torch.zeros(-samples % HOP)])
    assert torch.equal(latents, encode_recording(MODEL, in_silence))


def test_the_codec_s_copy_of_a_take_is_the_take(take: Speech, speaker: Speaker) -> None:
    torch.testing.assert_close(codec_copy(speaker.model, take.latents), take.waveform, rtol=1e-4, atol=1e-5)


def test_what_is_heard_is_what_was_said() -> None:
    """The encoder's latents of the embedded voice's own take are near those it was made of, in the same scale."""
    speaker = loquor.load()
    assert isinstance(speaker, Speaker)
    take = speaker.speak("Hello.", seed=1)

    heard = encode_recording(speaker.model, take.waveform)

    assert heard.shape == take.latents.shape
    assert (heard - take.latents).std() < 0.5 * take.latents.std()  # 0.29 where measured; a wrong scale is far off


def test_a_model_without_an_encoder_says_so() -> None:
    deaf = toy_model()
    deaf.codec.encoder = None
    with pytest.raises(VoiceError, match="no encoder") as error:
        encode_recording(deaf, torch.zeros(HOP))
    assert "--invert" in error.value.hint


def test_a_phoneme_model_begins_with_its_token_and_then_hears_the_end_of_the_reference() -> None:
    tokenizer, latents = PhonemeTokenizer(), torch.randn(30, MODEL.config.latent_size)

    voice = make_voice(MODEL, tokenizer, Reference("Hello there.", latents), CARD)

    shown = latents[-REFERENCE_FRAMES:]
    ids = torch.tensor([[tokenizer.ids["<voice0>"]]])
    expected = prefill(MODEL, ids, shown[None], tokenizer.ids["<negative>"])
    assert all(torch.equal(voice.tensors[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("latents", "message"),
    [
        (torch.zeros(0, 8), "finite latents"),
        (torch.zeros(3, 9), r"\[3, 9\] of another model"),
        (torch.full((3, 8), float("nan")), "finite latents"),
        (torch.zeros(510, 8), "leaves no room to speak"),
    ],
)
def test_a_reference_that_does_not_fit_is_refused(latents: torch.Tensor, message: str) -> None:
    with pytest.raises(VoiceError, match=message):
        make_voice(MODEL, toy_speaker().tokenizer, Reference("Hello there.", latents), CARD)


def test_the_longest_voice_that_is_made_can_still_speak() -> None:
    config = toy_config(context=64)
    speaker = Speaker(toy_model(config), toy_speaker().tokenizer)
    ids = len(speaker.tokenizer.encode("Hi."))
    most = 64 - ids - config.text_window - 1

    voice = make_voice(speaker.model, speaker.tokenizer, Reference("Hi.", torch.zeros(most, 8)), CARD)

    assert speaker.speak("Yes.", voice).seconds > 0
    with pytest.raises(VoiceError):
        make_voice(speaker.model, speaker.tokenizer, Reference("Hi.", torch.zeros(most + 1, 8)), CARD)


def test_a_transcript_without_words_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to say"):
        make_voice(MODEL, PhonemeTokenizer(), Reference("...", torch.zeros(3, 8)), CARD)


def test_a_take_of_another_model_is_refused(take: Speech) -> None:
    config = toy_config()
    codec, head = replace(config.codec, vae_dim=6), replace(config.head, latent_size=6)
    other = Speaker(toy_model(replace(config, codec=codec, head=head)), toy_speaker().tokenizer)
    with pytest.raises(VoiceError, match="of another model"):
        other.freeze(take, "frozen", "a synthetic voice")
