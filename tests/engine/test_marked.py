"""Speech leaves the engine with the mark in it, by whichever door, unless it was switched off on purpose."""

import asyncio
import logging
from pathlib import Path

import pytest
import soundfile
import torch

import loquor
from loquor.audio.watermark import Marker
from loquor.engine.dialogue import DialogueSpeaker
from loquor.engine.hub import model_name
from toy import named_voice, toy_speaker, write_toy
from toy_converser import write_toy_converser
from toy_longform import toy_model

TEXT = "one two three four five six seven"


def sound(chunks):
    return torch.cat([chunk.waveform for chunk in chunks])


def marked(waveform, rate_hz):
    return torch.from_numpy(Marker(rate_hz).mark(waveform.numpy()))


def assert_marked(speaker, say):
    """What `say` gives is the mark on what it gives without one."""
    speaker.watermark = False
    raw = say()
    speaker.watermark = True
    heard = say()
    assert not torch.equal(heard, raw)
    torch.testing.assert_close(heard, marked(raw, speaker.sample_rate_hz), rtol=0, atol=1e-6)


def in_session(speaker, voice):
    with speaker.session(voice, steps=1) as session:
        session.push(TEXT)
        session.flush()
        session.push("And more.")
        session.end()
        return sound(session)


DOORS = {
    "speak": lambda speaker, voice: speaker.speak(TEXT, voice, steps=1).waveform,
    "stream": lambda speaker, voice: sound(speaker.stream(iter(TEXT.split()), voice, steps=1)),
    "session": in_session,
    "speak_async": lambda speaker, voice: asyncio.run(speaker.speak_async(TEXT, voice, steps=1)).waveform,
}


@pytest.mark.parametrize("door", DOORS)
def test_a_speaker_s_speech_is_marked(door):
    speaker = toy_speaker()
    voice = named_voice(speaker.model)
    assert_marked(speaker, lambda: DOORS[door](speaker, voice))


def test_a_script_is_marked():
    speaker = DialogueSpeaker(toy_model(frames_per_token=0.2))
    assert_marked(speaker, lambda: speaker.speak("Hello there.", steps=1).waveform)
    assert_marked(speaker, lambda: speaker.speak_many(["Hello there.", "Bye."], steps=1)[1].waveform)


def test_a_reply_is_marked(tmp_path):
    converser = loquor.load(write_toy_converser(tmp_path / "model"))
    assert_marked(converser, lambda: converser.speak("the rain", max_new_tokens=24).waveform)
    text = sound(converser.chat("the rain", aloud=False, max_new_tokens=4))
    assert not len(text)


def test_it_is_switched_off_on_purpose_and_that_is_told_once(tmp_path, caplog):
    folder = write_toy(tmp_path / "model")
    with caplog.at_level(logging.WARNING):
        assert loquor.load(folder).watermark
        assert not caplog.records
        speaker = loquor.load(folder, watermark=False)
        for _ in range(2):
            speaker.speak("Hi.", steps=1)
    assert [record.message for record in caplog.records if "watermark" in record.message] == [
        "the watermark is off: by its sound, this speech cannot be known for generated"
    ]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg", ".opus"])
def test_a_saved_file_says_what_made_it(tmp_path, suffix, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1795219200")
    speaker = loquor.load(write_toy(tmp_path / "small-one"))
    path = speaker.speak("Hi.", steps=1).save(tmp_path / f"speech{suffix}")
    with soundfile.SoundFile(path) as file:
        facts = file.comment.split("; ")
    assert facts[0] == "AI-generated speech (Loquor)"
    assert facts[1].startswith("generator: Loquor")
    assert facts[2:] == [
        "model: small-one",
        "voice: Toy",
        "date: 2026-11-21",
        "digital source type: trainedAlgorithmicMedia",
    ]


def test_a_model_of_the_hub_is_called_by_its_repository():
    assert model_name(Path("/home/ada/.cache/huggingface/hub/models--org--name/snapshots/0a1b")) == "org/name"
    assert model_name(Path("/models/mine")) == "mine"
    assert model_name(None) == ""
