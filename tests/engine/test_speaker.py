"""The speaker: whatever text it is given, one clear error or sound speech."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loquor.engine.speaker import Speaker
from loquor.engine.speech import Progress, Speech
from loquor.errors import CheckpointError, ConfigError, InputError, VoiceError
from loquor.voices.voice import Voice
from toy import NEVER, ToyTokenizer, named_voice, toy_config, toy_model, toy_speaker, write_toy

ALWAYS = 100.0  # an end bias with which every utterance is one frame


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    return toy_speaker(end_bias=ALWAYS)


@pytest.fixture(scope="module")
def voice(speaker: Speaker) -> Voice:
    return named_voice(speaker.model)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("model"), end_bias=ALWAYS)


@pytest.fixture(autouse=True)
def no_voices_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOQUOR_VOICES", str(tmp_path / "voices"))


def check_sound(speech: Speech, speaker: Speaker) -> None:
    """Finite samples, a frame for each latent."""
    frames = len(speech.latents)
    assert frames > 0
    assert speech.waveform.shape == (frames * speaker.model.config.codec.hop_samples,)
    assert speech.waveform.dtype == torch.float32
    assert torch.isfinite(speech.waveform).all()
    assert speech.finish == "end"


# Text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text is empty"),
        (" \n\t\u2003", "the text is empty"),
        ("\0\x01\x7f", "the text holds nothing that can be spoken"),
        (None, "text must be a string, got NoneType"),
        (42, "text must be a string, got int"),
        (b"bytes", "text must be a string, got bytes"),
        ("good \ud83d bye", "character 5 of the text is half of a surrogate pair"),
        ("\udc80", "character 0 of the text is half of a surrogate pair"),
    ],
    ids=repr,
)
def test_text_that_cannot_be_said_is_one_clear_error(speaker: Speaker, voice: Voice, text: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        speaker.speak(text, voice)
    assert not speaker._worker.batch.streams


@given(text=st.text(max_size=60) | st.text(st.characters(categories=["Cc", "Cs", "Cf", "So", "Mn", "Lo"]), max_size=20))
@settings(max_examples=30)
def test_any_text_is_sound_speech_or_one_clear_error(speaker: Speaker, voice: Voice, text: str) -> None:
    try:
        speech = speaker.speak(text, voice, steps=1)
    except InputError:
        speech = None
    if speech is not None:
        check_sound(speech, speaker)


@pytest.mark.parametrize(
    "text", ["😀", "👩\u200d👩\u200d👧", "a\u0301", "\u202eright to left", "日本語", "ﷺ", "\ufffd"]
)
def test_characters_beyond_ascii_are_sound(speaker: Speaker, voice: Voice, text: str) -> None:
    check_sound(speaker.speak(text, voice, steps=1), speaker)


@pytest.mark.parametrize(
    "text",
    ["All work and no play. " * 4546, "x" * 100_000, "日" * 100_000, "word " * 20_000, "." * 100_000],
    ids=["sentences", "one word", "no spaces", "no sentences", "only marks"],
)
def test_a_hundred_thousand_characters_are_sound(text: str) -> None:
    """A small context: some hundred utterances, each of which this model ends with its first frame."""
    speaker = toy_speaker(end_bias=ALWAYS, context=2048)
    speech = speaker.speak(text, named_voice(speaker.model), steps=1)
    check_sound(speech, speaker)
    assert len(speech.latents) > 20


def test_long_text_fits_the_context_utterance_by_utterance() -> None:
    """A model that never ends by itself would reach the limit if an utterance were longer than planned."""
    speaker, text = toy_speaker(end_bias=NEVER, context=64), "One two three. " * 5
    chunks = list(speaker.stream(text, named_voice(speaker.model), steps=1))
    assert chunks[-1].text_end == len(text.rstrip())


# What comes back


def test_speech_says_what_it_is(speaker: Speaker, voice: Voice, tmp_path: Path) -> None:
    heard: list[Progress] = []
    speech = speaker.speak("Hello there. " * 90, voice, seed=3, progress=heard.append)
    check_sound(speech, speaker)
    assert (speech.voice, speech.sample_rate_hz) == ("Toy", 24_000)
    assert speech.seconds == len(speech.waveform) / 24_000
    assert speech.rtf == speech.compute_s / speech.seconds
    assert 0 < speech.first_audio_ms <= 1000 * speech.compute_s
    assert [p.frames for p in heard] == list(range(1, len(speech.latents) + 1))
    assert heard[-1].seconds == pytest.approx(speech.seconds)
    assert all(math.isfinite(p.rtf) for p in heard)

    saved, rate = soundfile.read(speech.save(tmp_path / "speech.wav"), dtype="float32")
    assert rate == 24_000
    np.testing.assert_allclose(saved, speech.waveform.clamp(-1, 1), atol=2 / 32_768)  # 16 bit
    assert speech._repr_html_().startswith('<audio controls src="data:audio/wav;base64,')


def test_chunks_are_the_speech_in_pieces(speaker: Speaker, voice: Voice) -> None:
    text = "Hello there. " * 90
    speech, chunks = speaker.speak(text, voice), list(speaker.stream(text, voice))
    assert torch.equal(torch.cat([c.waveform for c in chunks]), speech.waveform)
    assert torch.equal(torch.cat([c.latents for c in chunks]), speech.latents)
    assert [c.start_s for c in chunks[1:]] == [c.end_s for c in chunks[:-1]]
    assert [c.text_end for c in chunks] == sorted(c.text_end for c in chunks)


def test_what_ended_speech_early_is_told(caplog: pytest.LogCaptureFixture) -> None:
    speaker = toy_speaker(end_bias=NEVER, context=30)
    speech = speaker.speak("Hello.", named_voice(speaker.model), steps=1)
    assert speech.finish == "limit"
    assert "did not end by itself but by limit" in caplog.text


def test_progress_that_fails_stops_the_speech() -> None:
    speaker = toy_speaker(end_bias=NEVER)

    def full(_: Progress) -> None:
        raise BlockingIOError("the pipe is full")

    with pytest.raises(BlockingIOError, match="the pipe is full"):
        speaker.speak("Hello.", named_voice(speaker.model), progress=full)
    for thread in [t for t in threading.enumerate() if t.name == "loquor-engine"]:
        thread.join(30)
    assert not speaker._worker.batch.streams


@pytest.mark.parametrize("text", [5, None])
def test_a_stream_of_what_is_no_text_is_refused_at_once(speaker: Speaker, voice: Voice, text: Any) -> None:
    with pytest.raises(InputError, match="text must be a string or pieces of text, got"):
        speaker.stream(text, voice)


def test_a_stream_of_no_pieces_says_nothing(speaker: Speaker, voice: Voice) -> None:
    assert list(speaker.stream([], voice)) == []
    assert list(speaker.stream(["", " ", ""], voice)) == []


@pytest.mark.parametrize("sampling", [{"guidance": 99}, {"steps": 0}, {"steps": "many"}, {"seed": -1}], ids=str)
def test_sampling_is_checked_before_anything_is_said(speaker: Speaker, voice: Voice, sampling: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(sampling))):
        speaker.stream("Hello.", voice, **sampling)
    assert not speaker._worker.lanes


# Voices and folders


def test_a_folder_speaks_with_its_own_voice_and_defaults(folder: Path) -> None:
    speaker = Speaker.open(folder)
    assert speaker.voices == ["Toy"]
    default = speaker.speak("Hello.")
    assert torch.equal(default.latents, speaker.speak("Hello.", "toy", guidance=1.3, steps=2).latents)
    assert not torch.equal(default.latents, speaker.speak("Hello.", guidance=2.0).latents)
    assert torch.equal(default.latents, speaker.speak("Hello.", str(folder / "voices" / "Toy.safetensors")).latents)
    assert default.voice == "Toy"


def test_an_unknown_voice_brings_the_nearest_names(folder: Path) -> None:
    with pytest.raises(VoiceError, match="there is no voice 'Tod'") as error:
        Speaker.open(folder).speak("Hello.", "Tod")
    assert error.value.hint == "nearest: Toy"


def test_a_voice_of_another_model_is_refused(speaker: Speaker) -> None:
    other = toy_model(toy_config())
    tensors = dict(named_voice(other).tensors)
    lower = {k: v for k, v in tensors.items() if not k.endswith(".1") or k.startswith(("tts", "neg_tts"))}
    fingerprint = named_voice(other).model
    shallow = Voice(name="shallow", model=type(fingerprint)(1, 3, 2, 8, 32), tensors=lower)
    with pytest.raises(VoiceError, match="text_layers 1, not 2"):
        speaker.speak("Hello.", shallow)


def test_a_model_without_voices_says_so(speaker: Speaker) -> None:
    with pytest.raises(VoiceError, match="no voice is installed"):
        speaker.speak("Hello.")


def test_a_tokenizer_with_more_ids_than_the_model_is_refused() -> None:
    large = ToyTokenizer()
    large.vocab_size = 151_665
    with pytest.raises(ConfigError, match="the tokenizer has 151665 ids, the model"):
        Speaker(toy_model(), large)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("[]", CheckpointError, "loquor.json"),
        ('{"steps": "five"}', InputError, "steps must be a whole number"),
        ('{"voice": "Gone"}', VoiceError, "there is no voice 'Gone'"),
    ],
)
def test_defaults_that_make_no_sense_are_one_error(
    folder: Path, tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    copy = write_toy(tmp_path / "model")
    (copy / "loquor.json").write_text(text)
    with pytest.raises(error, match=message):
        Speaker.open(copy).speak("Hello.")
