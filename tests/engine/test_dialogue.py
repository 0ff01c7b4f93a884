"""The speaker of long-form models: scripts and casts in, speech out; wrong ones are one clear error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import loquor
from loquor.engine import dialogue
from loquor.engine.dialogue import DialogueSpeaker
from loquor.engine.request import Chunk
from loquor.errors import CapacityError, InputError, LoquorError, ScriptError, VoiceError
from loquor.models.longform.checkpoint import load_longform
from loquor.text.script import Script, Turn
from loquor.voices.recording import RecordedVoice
from toy import named_voice
from toy import toy_model as realtime_model
from toy_longform import AT_ONCE, NEVER, toy_config, toy_model, toy_waveform, write_toy

SCRIPT = "Ada: Hello, Bo.\nBo: Hello, Ada! How are you?\nAda: Fine."
CLOSE = 1e-2  # see test_longform


def recording(name: str, seconds: float = 0.5) -> RecordedVoice:
    return RecordedVoice(name=name, created="2026-11-21", waveform=toy_waveform(seconds, seed=len(name)))


CAST = {"Ada": recording("ada"), "Bo": recording("bobby")}


@pytest.fixture(scope="module")
def speaker() -> DialogueSpeaker:
    return DialogueSpeaker(toy_model(frames_per_token=0.2))


@pytest.fixture
def endless() -> DialogueSpeaker:
    return DialogueSpeaker(toy_model(frames_per_token=NEVER))


@pytest.fixture(autouse=True)
def voices_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOQUOR_VOICES", str(tmp_path / "voices"))
    return tmp_path / "voices"


def prompt_of(speaker: DialogueSpeaker, script: Script | str, cast: Any = None) -> str:
    """What the model is given to read, as text."""
    stream = speaker.session(script, cast).part.stream
    stream.cancelled = True
    pieces = [speaker.tokenizer.bpe.id_to_token(i) or "" for i in stream.prompt.ids.tolist()]  # none for special ones
    return "".join(pieces).replace("Ġ", " ").replace("Ċ", "\n")


# Speech


def test_a_script_is_spoken_by_its_cast(speaker: DialogueSpeaker) -> None:
    speech = speaker.speak(SCRIPT, CAST, steps=1)
    frames = len(speech.latents)
    assert frames > 3
    assert speech.waveform.shape == (3200 * frames,)
    assert speech.features is not None and speech.features.shape == (frames, 6)
    assert torch.isfinite(speech.waveform).all()
    assert (speech.finish, speech.voice, speech.text) == ("end", "ada, bobby", SCRIPT)
    assert speech.seconds == pytest.approx(frames * speaker.frame_s) == pytest.approx(frames / 7.5)


def test_the_same_seed_says_it_the_same_way_and_another_does_not(speaker: DialogueSpeaker) -> None:
    first, again, other = (speaker.speak(SCRIPT, CAST, steps=1, seed=seed).latents for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.allclose(first[0], other[0], atol=0.1)


def test_chunks_one_after_the_other_are_the_speech(speaker: DialogueSpeaker) -> None:
    speech = speaker.speak(SCRIPT, CAST, steps=1)
    chunks = list(speaker.stream(SCRIPT, CAST, steps=1))
    assert torch.equal(torch.cat([c.waveform for c in chunks]), speech.waveform)
    assert torch.equal(torch.cat([c.features for c in chunks if c.features is not None]), speech.features)
    assert chunks[0].start_s == 0
    assert [c.start_s for c in chunks[1:]] == pytest.approx([c.end_s for c in chunks[:-1]])
    assert {c.text_end for c in chunks} == {len(SCRIPT)}, "all is read before the first word"


def test_progress_counts_every_frame(speaker: DialogueSpeaker) -> None:
    seen: list[int] = []
    speech = speaker.speak("Hello.", steps=1, progress=lambda p: seen.append(p.frames))
    assert seen == list(range(1, len(speech.latents) + 1))


def test_many_scripts_are_each_spoken_as_if_alone(speaker: DialogueSpeaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "AT_ONCE", 2)
    scripts = [SCRIPT, "Bo: I am alone here.", "Bo: So are you.\nAda: " + "and on " * 9]
    for script, speech in zip(scripts, speaker.speak_many(scripts, CAST, steps=1), strict=True):
        expected = speaker.speak(script, CAST, steps=1)
        assert (speech.finish, speech.text, speech.voice) == (expected.finish, script, expected.voice)
        torch.testing.assert_close(speech.waveform, expected.waveform, rtol=0, atol=CLOSE)


def test_many_threads_speak_at_once(speaker: DialogueSpeaker) -> None:
    expected = [speaker.speak(SCRIPT, CAST, steps=1, seed=seed).waveform for seed in range(3)]
    with ThreadPoolExecutor(3) as threads:
        said = list(threads.map(lambda seed: speaker.speak(SCRIPT, CAST, steps=1, seed=seed).waveform, range(3)))
    for ours, alone in zip(said, expected, strict=True):
        torch.testing.assert_close(ours, alone, rtol=0, atol=CLOSE)


def test_closing_a_stream_frees_its_place(endless: DialogueSpeaker) -> None:
    stream: Iterator[Chunk] = endless.stream(SCRIPT, CAST, steps=1)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    beside = endless.stream("Hello.", steps=1)
    next(beside)
    assert len(endless._worker.batch.streams) == 1
    beside.close()  # type: ignore[attr-defined]


def test_speech_that_will_not_end_is_cut_off_and_says_so(
    endless: DialogueSpeaker, caplog: pytest.LogCaptureFixture
) -> None:
    speech = endless.speak("Hi.", steps=1)
    assert speech.finish == "limit"
    assert "did not end by itself but by limit" in caplog.text


def test_a_model_that_says_nothing_is_an_error() -> None:
    with pytest.raises(InputError, match="ended before it said anything"):
        DialogueSpeaker(toy_model(frames_per_token=AT_ONCE)).speak("Hi.")


# Scripts and casts


def test_speakers_are_numbered_as_they_appear_whatever_they_are_called(speaker: DialogueSpeaker) -> None:
    """Gaps in numbers, or names, make no difference: a speaker's lines bear the number of his voice."""
    numbers, names = "Speaker 7: One.\nSpeaker 3: Two.\nSpeaker 7: Three.", "Zoe: One.\nAbe: Two.\nZoe: Three."
    cast = {"Abe": recording("abraham", 0.2), "Zoe": recording("z", 0.5)}
    read = prompt_of(speaker, names, cast)
    assert " Speaker 0: One.\n Speaker 1: Two.\n Speaker 0: Three.\n" in read
    assert read == prompt_of(speaker, numbers, {"7": cast["Zoe"], "speaker 3": cast["Abe"]})
    voices = speaker.session(names, cast).part.stream.voices
    assert [len(voice) for voice in voices] == [4, 2]


def test_without_a_cast_there_is_no_voice_in_the_prompt(speaker: DialogueSpeaker) -> None:
    assert "Voice input" not in prompt_of(speaker, SCRIPT)
    assert "Voice input:\n Speaker 0:\n Speaker 1:\n Text input" in prompt_of(speaker, SCRIPT, CAST)


def test_one_voice_will_do_for_one_speaker(speaker: DialogueSpeaker) -> None:
    given, named = (prompt_of(speaker, "Ada: Hello.", cast) for cast in (CAST["Ada"], CAST))
    assert given == named
    assert prompt_of(speaker, "Hello.", CAST["Ada"]) == given


def test_quotes_are_those_of_a_typewriter_and_special_names_are_text(speaker: DialogueSpeaker) -> None:
    assert ' Speaker 0: It\'s "so" <|vision_start|>.\n' in prompt_of(speaker, "It’s “so” <|vision_start|>.")


def test_pauses_are_not_left_out_in_silence(speaker: DialogueSpeaker, caplog: pytest.LogCaptureFixture) -> None:
    speaker.speak("Ada: One. [pause 1s] Two.", steps=1)
    assert "`loquor podcast` keeps them" in caplog.text


def turns(*speakers: str) -> Script:
    return Script(tuple(Turn(name, "Hello.", line) for line, name in enumerate(speakers, 1)))


@pytest.mark.parametrize(
    ("script", "cast", "kind", "message"),
    [
        ("", None, InputError, "the text is empty"),
        ("Ada: \n\nBo:", None, ScriptError, "script:1: Ada says nothing"),
        (b"bytes", None, InputError, "a script must be text or a Script, got bytes"),
        (Script(()), None, ScriptError, "the script has no turn"),
        (turns(*"ABCDE"), None, ScriptError, "has 5 speakers, one pass at most 4: A, B, C, D, E"),
        (turns("Ada", "Cy"), CAST, VoiceError, "there is no voice for Cy"),
        (turns("Ada", "Bo"), CAST["Ada"], VoiceError, "there is one voice for 2 speakers: Ada, Bo"),
        ("Ada: Hello.", {"Ada": "nobody"}, VoiceError, "there is no voice 'nobody'"),
        ("Ada: Hello.", {"Ada": "missing.wav"}, LoquorError, "missing.wav"),
        ("Hello " * 60_000, None, CapacityError, "too long for one pass: with its voices it takes 60032 positions"),
        ("Hello.", None, InputError, "steps must be a whole number"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_cannot_be_spoken_is_one_clear_error(
    speaker: DialogueSpeaker, script: Any, cast: Any, kind: type[LoquorError], message: str
) -> None:
    with pytest.raises(kind) as error:
        speaker.speak(script, cast, steps=0 if "steps" in message else 1)
    assert message in str(error.value)
    assert not speaker._worker.lanes


def test_what_is_too_long_with_its_speech_is_refused_before_voices_are_encoded() -> None:
    speaker = DialogueSpeaker(toy_model(toy_config(context=200)))
    with pytest.raises(CapacityError, match="the model has 200"):
        speaker.speak("word " * 100, CAST["Ada"])
    assert speaker._latents.cache_info().currsize == 0


@given(text=st.text(max_size=60) | st.text(st.characters(categories=["Cc", "Cs", "Cf", "So", "Mn"]), max_size=20))
@settings(max_examples=20)
def test_any_text_is_speech_or_one_clear_error(speaker: DialogueSpeaker, text: str) -> None:
    try:
        speech = speaker.speak(text, steps=1)
    except LoquorError:
        return
    assert len(speech.latents)
    assert torch.isfinite(speech.waveform).all()


# Voices


def test_voices_come_by_name_and_as_files(speaker: DialogueSpeaker, voices_of_the_user: Path, tmp_path: Path) -> None:
    voice, tone = recording("en-Ada"), torch.sin(torch.arange(4 * 24_000) * 0.05).numpy()
    voice.save(voices_of_the_user / "en-Ada.safetensors")
    soundfile.write(tmp_path / "tone.wav", 0.5 * tone, 24_000)
    expected = speaker.speak("Hello.", voice, steps=1).waveform
    for name in ("en-Ada", "ada", voices_of_the_user / "en-Ada.safetensors"):
        assert torch.equal(speaker.speak("Hello.", name, steps=1).waveform, expected)
    assert speaker.speak("Hello.", tmp_path / "tone.wav", steps=1).voice == "tone"
    assert speaker.voices == ["en-Ada"]


def test_voices_with_equal_cards_are_told_apart_by_their_sound(speaker: DialogueSpeaker) -> None:
    first, second = (
        RecordedVoice(name="same", created="2026-11-21", waveform=toy_waveform(0.3, seed=seed)) for seed in (1, 2)
    )
    one, other = (speaker.speak("Hello.", voice, steps=1).latents for voice in (first, second))
    assert not torch.allclose(one[0], other[0], atol=1e-4)


def test_the_voice_of_a_realtime_model_is_refused(speaker: DialogueSpeaker, voices_of_the_user: Path) -> None:
    named_voice(realtime_model(), "Toy").save(voices_of_the_user / "Toy.safetensors")
    with pytest.raises(VoiceError, match="a long-form model needs a recording"):
        speaker.speak("Hello.", "Toy")


# Checkpoints


def test_a_folder_becomes_a_speaker_with_its_defaults(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "model", frames_per_token=0.2)
    recording("own").save(folder / "voices" / "own.safetensors")
    (folder / "loquor.json").write_text(json.dumps({"guidance": 2.0, "steps": 1, "voice": "own"}))
    speaker = loquor.load(folder)
    assert isinstance(speaker, DialogueSpeaker)
    sampling = speaker.session("Hello.").part.stream.sampling
    assert (sampling.guidance, sampling.steps) == (2.0, 1)
    assert speaker.speak("Hello.").voice == "own"
    assert speaker.speak("Ada: Hello.\nBo: Hello.").voice == "", "the default is one voice"


@pytest.mark.parametrize(
    ("files", "guidance", "steps"),
    [
        ({}, 1.3, 10),
        ({"generation_config.json": {"guidance_scale": 1.7, "num_diffusion_steps": 4, "bos_token_id": 1}}, 1.7, 4),
        ({"generation_config.json": {"guidance_scale": None}, "loquor.json": {"steps": 3}}, 1.3, 3),
        ({"generation_config.json": {"guidance_scale": 1.7}, "loquor.json": {"guidance": 2.5}}, 2.5, 10),
    ],
)
def test_defaults_are_ours_then_those_of_the_layout_then_the_demo_s(
    tmp_path: Path, files: dict[str, Any], guidance: float, steps: int
) -> None:
    for name, values in files.items():
        (tmp_path / name).write_text(json.dumps(values))
    speaker = DialogueSpeaker(toy_model(), tmp_path)
    assert (speaker.defaults["guidance"], speaker.defaults["steps"]) == (guidance, steps)


@pytest.mark.parametrize(
    ("held", "asked", "dtype"),
    [
        (torch.float32, None, torch.float32),
        (torch.bfloat16, None, torch.bfloat16),
        (torch.float16, None, torch.float32),
        (torch.float16, "bfloat16", torch.bfloat16),
        (torch.bfloat16, "float32", torch.float32),
    ],
    ids=str,
)
def test_weights_are_loaded_as_they_are_unless_the_cpu_is_slow_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: torch.dtype, asked: str | None, dtype: torch.dtype
) -> None:
    write_toy(tmp_path)
    model = load_longform(tmp_path).to(held)
    monkeypatch.setattr(dialogue, "load_longform", lambda folder, wanted: model.to(wanted) if wanted else model)
    assert {p.dtype for p in loquor.load(tmp_path, dtype=asked).model.parameters()} == {dtype}
