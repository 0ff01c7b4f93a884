"""`loquor voices create --for realtime`: recordings and takes become voices of a model, if they are good enough."""

import re
from functools import partial

import pytest

import loquor as library
from cli.conftest import toy_without_encoder
from loquor.evaluation import word_error_rate
from loquor.training.inversion import InversionSettings, invert
from loquor.voices.voice import Voice
from toy_longform import write_toy as write_longform

CONSENT = ("--consent", "Ada agreed to tests")
FOR = ("--for", "realtime", *CONSENT)


def test_a_recording_becomes_a_voice_of_the_model_and_speaks(loquor, toy_folder, audio, own_voices, bare):
    done = loquor("voices", "create", "ada", *FOR, "-m", toy_folder, "--audio", audio, "--text", "Hello there.")
    assert done.code == 0, done.err
    assert done.text.splitlines() == [f"ada: {own_voices / 'ada.safetensors'}", "transcript: Hello there."]
    facts = loquor("voices", "show", "ada", "-m", toy_folder, "--json").json
    assert (facts["kind"], facts["language"], facts["consent"]) == ("realtime prompt", "en", "Ada agreed to tests")
    assert (facts["fits"], facts["source"]) == (True, "recorded in en-Ada.wav, 0.0 to 5.0 s")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", facts["created"])
    assert loquor("speak", "Good morning.", "-m", toy_folder, "--voice", "ada").code == 0


def test_what_could_not_be_checked_is_told(loquor, toy_folder, audio, bare):
    done = loquor("voices", "create", "ada", *FOR, "-m", toy_folder, "--audio", audio, "--text", "Hello there.")
    subjects = re.findall(r"warning: not checked for ([a-z ]+): the [a-z ]+ is missing", done.err)
    assert subjects == ["likeness to the recording", "being understood"]
    assert done.err.count("hint: pip install") == 1


def test_without_a_recogniser_the_transcript_is_asked_for(loquor, toy_folder, audio, own_voices, bare):
    done = loquor("voices", "create", "ada", *FOR, "-m", toy_folder, "--audio", audio)
    assert (done.code, own_voices.exists()) == (1, False)
    assert done.err.startswith("error: what is said in the recording is needed: the speech recogniser is missing")
    assert 'hint: give --text "what is said", or pip install' in done.err


def test_another_language_is_not_written_down_as_english(loquor, toy_folder, audio):
    done = loquor("voices", "create", "ada", *FOR, "-m", toy_folder, "--audio", audio, "--language", "fa")
    assert done.err.startswith("error: the recogniser writes down English only, not 'fa'\nhint: give --text")


def test_a_take_is_frozen_as_speaking_with_its_seed_would_have_said_it(loquor, toy_folder, own_voices, bare):
    take = ("--take", "Good evening.", "--voice", "Toy", "--seed", "7")
    done = loquor("voices", "create", "calm", *FOR, "-m", toy_folder, *take, "--json")
    assert done.code == 0, done.err
    assert done.json["source"] == "frozen take of Toy, seed 7: Good evening."
    speaker = library.load(toy_folder)
    expected = speaker.freeze(speaker.speak("Good evening.", "Toy", seed=7), "calm", "x")
    voice = Voice.open(own_voices / "calm.safetensors")
    assert all((voice.tensors[name] == tensor).all() for name, tensor in expected.tensors.items())


def test_a_take_that_does_not_end_is_refused(loquor, talkative, own_voices):
    done = loquor("voices", "create", "calm", *FOR, "-m", talkative, "--take", "Good evening.", "--voice", "Toy")
    assert (done.code, own_voices.exists()) == (1, False)
    assert re.search(
        r"error: the take is no good: it ended after \d+\.\d s by runaway\nhint: try another --seed", done.err
    )


def test_a_voice_of_another_language_says_what_its_recording_says(loquor, toy_folder, audio, own_voices):
    voice = ("--audio", audio, "--text", "Hello there.", "--language", "fa", "--accept-anyway", "--json")
    done = loquor("voices", "create", "ada", *FOR, "-m", toy_folder, *voice)
    assert done.code == 0, done.err
    assert done.json["measures"].keys() == {"similarity", "similarity_of_copy"}
    assert [missing["subject"] for missing in done.json["unchecked"]] == ["being understood"]


def test_a_voice_that_is_not_good_enough_is_refused_with_the_figures(loquor, toy_folder, audio, own_voices):
    command = ("voices", "create", "hiss", *FOR, "-m", toy_folder, "--audio", audio, "--text", "Hello there.")
    refused = loquor(*command)
    assert (refused.code, own_voices.exists()) == (1, False)
    assert re.match(
        r"error: voice 'hiss' is not good enough: .*\d+% of its words are understood wrongly, 60% is the most\nhint: ",
        refused.err,
    )
    assert "--accept-anyway" in refused.err
    accepted = loquor(*command, "--accept-anyway", "--json")
    assert (accepted.code, (own_voices / "hiss.safetensors").exists()) == (0, True)
    assert accepted.json["measures"]["word_error_rate"] > 0.6
    assert accepted.json["failures"]


def test_the_embedded_voice_s_own_speech_is_a_voice(loquor, own_voices, tmp_path):
    said = "It was late in the evening when the train arrived at the station."
    library.load().speak(said, seed=7).save(tmp_path / "own.wav")
    done = loquor("voices", "create", "own", *FOR, "--audio", tmp_path / "own.wav", "--json")
    assert done.code == 0, done.err
    assert word_error_rate([said], [done.json["transcript"]]).wer <= 0.25
    assert done.json["measures"]["similarity"] > 0.8
    assert done.json["measures"]["word_error_rate"] < 0.6
    assert done.json["measures"]["similarity_of_copy"] > 0.9


def test_a_model_without_an_encoder_finds_the_sound_by_inversion(
    loquor, audio, own_voices, bare, tmp_path, monkeypatch
):
    speaker = library.load(toy_without_encoder(tmp_path / "deaf"))
    assert speaker.model.codec.encoder is None
    command = ("voices", "create", "ada", *FOR, "-m", tmp_path / "deaf", "--audio", audio, "--text", "Hello there.")
    refused = loquor(*command)
    assert refused.err.startswith("error: the codec of this model has no encoder")
    assert "--invert" in refused.err
    monkeypatch.setattr("loquor.training.inversion.invert", partial(invert, settings=InversionSettings(steps=2)))
    done = loquor(*command, "--invert")
    assert done.code == 0, done.err
    assert re.search(r"^reconstruction error: \d+\.\d\d$", done.text, re.MULTILINE)
    assert (own_voices / "ada.safetensors").exists()


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--audio", "x.wav", "--take", "Hello.", "--for", "realtime"),
        ("--take", "Hello."),
        ("--audio", "x.wav", "--text", "Hello."),
        ("--audio", "x.wav", "--accept-anyway"),
        ("--audio", "x.wav", "--invert"),
        ("--audio", "x.wav", "-m", "x"),
        ("--audio", "x.wav", "--for", "realtime", "--seed", "1"),
        ("--take", "Hello.", "--for", "realtime", "--text", "Hello."),
        ("--take", "Hello.", "--for", "realtime", "--end", "3"),
        ("--audio", "x.wav", "--for", "singing"),
    ],
)
def test_options_that_do_not_go_together_are_a_matter_of_usage(loquor, options):
    assert loquor("voices", "create", "ada", *CONSENT, *options).code == 2


def test_a_long_form_model_is_told_apart(loquor, audio, tmp_path):
    folder = write_longform(tmp_path / "longform")
    done = loquor("voices", "create", "ada", *FOR, "-m", folder, "--audio", audio, "--text", "Hello.")
    assert done.code == 1
    assert "is a long-form model, which listens to recordings as they are" in done.err
