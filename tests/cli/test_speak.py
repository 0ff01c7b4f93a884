"""`loquor speak`: what a user types, and what is there afterwards."""

import json
import resource
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from loquor.audio.watermark import Marker
from loquor.engine.speaker import Speaker

FRAME_S = 3200 / 24_000


@pytest.mark.parametrize(
    ("suffix", "format"), [("wav", "WAV"), ("flac", "FLAC"), ("mp3", "MP3"), ("ogg", "OGG"), ("opus", "OGG")]
)
def test_the_suffix_names_the_format(loquor, toy_folder, tmp_path, suffix, format):
    file = tmp_path / f"hello.{suffix}"
    done = loquor("speak", "Hello there.", "-m", toy_folder, "-o", file)
    assert (done.code, done.err) == (0, "")
    assert done.text.startswith(f"{file}: 0.13 s of speech, computed in ")
    sound = soundfile.info(file)
    assert (sound.format, sound.samplerate, sound.channels) == (format, 24_000, 1)
    assert sound.duration >= FRAME_S - 1e-6  # lossy formats may pad


def test_speech_goes_to_speech_wav_by_default(loquor, toy_folder, tmp_path):
    done = loquor("speak", "Hello.", "-m", toy_folder)
    assert done.code == 0
    assert soundfile.info(tmp_path / "work" / "speech.wav").frames == 3200


def test_json_has_the_figures(loquor, toy_folder):
    done = loquor("speak", "Hello.", "-m", toy_folder, "--seed", "3", "--json")
    figures = done.json
    assert (done.code, done.err) == (0, "")
    assert (figures["file"], figures["seed"], figures["sample_rate_hz"]) == ("speech.wav", 3, 24_000)
    assert figures["voice"] == "Toy"  # the model's default
    assert figures["seconds"] == pytest.approx(FRAME_S)
    assert figures["rtf"] == pytest.approx(figures["compute_s"] / figures["seconds"])
    assert 0 < figures["first_audio_ms"] <= 1000 * figures["compute_s"] + 1e-6


def test_stdout_carries_the_samples_of_the_file(loquor, toy_folder):
    loquor("speak", "Hello there.", "-m", toy_folder)
    done = loquor("speak", "Hello there.", "-m", toy_folder, "-o", "-")
    assert done.code == 0
    assert "0.13 s of speech" in done.err
    assert np.array_equal(np.frombuffer(done.out, "<i2"), soundfile.read("speech.wav", dtype="int16")[0])


def test_text_comes_from_argument_file_or_pipe(loquor, toy_folder, tmp_path):
    text = "Good morning.\nA second line."
    (tmp_path / "text.txt").write_text(text, encoding="utf-8-sig")
    ways = [(text,), ("-f", tmp_path / "text.txt"), ("-",), ("-f", "-")]
    sounds = [loquor("speak", *way, "-m", toy_folder, "-o", "-", stdin=text.encode()).out for way in ways]
    assert len(sounds[0]) > 0
    assert sounds.count(sounds[0]) == len(ways)


def test_the_same_seed_repeats_and_another_differs(loquor, toy_folder):
    say = lambda seed: loquor("speak", "Hello.", "-m", toy_folder, "-o", "-", "--seed", seed).out  # noqa: E731
    assert say(1) == say(1) != say(2)


def test_the_embedded_voice_is_the_default_model(loquor, toy_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("loquor.engine.load.EMBEDDED", toy_folder)
    assert loquor("speak", "Hello.").code == 0
    monkeypatch.setattr("loquor.engine.load.EMBEDDED", tmp_path)
    done = loquor("speak", "Hello.")
    assert done.code == 1
    assert done.err.startswith("error: the embedded voice is not in this installation")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([""], "the text is empty"),
        ([" \n "], "the text is empty"),
        (["caf\udce9"], "the text is not UTF-8 at character 4"),
        (["-f", "missing.txt"], "cannot read missing.txt: No such file or directory"),
        (["-f", "."], "cannot read .: Is a directory"),
        (["Hello.", "--voice", "Toi"], "there is no voice 'Toi'"),
        (["Hello.", "--voice", "gone.safetensors"], "gone.safetensors does not exist"),
        (["Hello.", "--guidance", "nan"], "guidance must lie in 0 to 20"),
        (["Hello.", "--guidance", "-1"], "guidance must lie in 0 to 20"),
        (["Hello.", "--steps", "0"], "steps must be a whole number from 1 to 200"),
        (["Hello.", "--seed", "-1"], "seed must be a whole number from 0"),
        (["Hello.", "--device", "tpu"], "device 'tpu' is not supported"),
        (["Hello.", "-o", "speech.txt"], "speech.txt does not say which format to write"),
        (["Hello.", "-o", "nowhere/speech.wav"], "cannot write nowhere/speech.wav: No such file or directory"),
        (["Hello.", "-o", "."], ". does not say which format to write"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_clear_error(loquor, toy_folder, tmp_path, arguments, error):
    done = loquor("speak", *arguments, "-m", toy_folder)
    assert (done.code, done.out) == (1, b"")
    first, *rest = done.err.splitlines()
    assert first.startswith(f"error: {error}")
    assert all(line.startswith("hint: ") for line in rest) and len(rest) <= 1
    assert not list((tmp_path / "work").iterdir())


def test_speech_that_had_to_be_cut_off_is_told(loquor, talkative):
    done = loquor("speak", "Hello.", "-m", talkative)
    assert (done.code, done.err) == (0, "warning: the speech did not end by itself but by runaway\n")


def test_an_unknown_voice_brings_the_nearest_names(loquor, toy_folder):
    done = loquor("speak", "Hello.", "-m", toy_folder, "--voice", "en-Adda_woman")
    assert done.err.splitlines()[1].startswith("hint: nearest: en-Ada_woman")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"RIFF\x24\0\0\0WAVE", "is no text: it has a zero byte at 5"),
        ("Grüße".encode("latin-1"), "is not UTF-8 text: byte 0xfc at 2"),
        ("Grüße".encode()[:3], "is not UTF-8 text: byte 0xc3 at 2"),
        ("Hello".encode("utf-16"), "is UTF-16 text"),
        (b"\n", "the text is empty"),
    ],
    ids=["a sound", "latin-1", "cut short", "utf-16", "blank"],
)
@pytest.mark.parametrize("way", ["file", "pipe"])
def test_what_is_no_text_is_refused(loquor, toy_folder, tmp_path, data, error, way):
    (tmp_path / "text").write_bytes(data)
    arguments = ("-f", tmp_path / "text") if way == "file" else ("-",)
    done = loquor("speak", *arguments, "-m", toy_folder, stdin=data)
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert error in done.err or (data == b"\n" and "nothing that can be spoken" in done.err)
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.parametrize(
    "arguments",
    [(), ("Hello.", "-f", "text.txt"), ("Hello.", "--json", "-o", "-"), ("Hello.", "--steps", "few"), ("--loud", "Hi")],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(loquor, arguments):
    done = loquor("speak", *arguments)
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("Usage: ")


@contextmanager
def disk_of(size):
    """No file may grow beyond `size` bytes."""
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("name", ["speech.wav", "speech.mp3"])
def test_a_full_disk_leaves_the_old_file_and_no_new_one(loquor, talkative, tmp_path, name):
    old = tmp_path / "work" / name
    old.write_bytes(b"what was there")
    with disk_of(8192):
        done = loquor("speak", "Hello.", "-m", talkative, "-o", name)
    assert done.code == 1
    assert done.err.startswith(f"error: cannot write {name}: File too large\nhint: ")
    assert [file.read_bytes() for file in old.parent.iterdir()] == [b"what was there"]


def test_playing_needs_its_extra(loquor, toy_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    done = loquor("speak", "Hello.", "-m", toy_folder, "--play")
    assert (done.code, done.err) == (1, "error: --play needs sounddevice\nhint: pip install 'loquor[play]'\n")


class Loudspeaker:
    """A device that writes down what it is told."""

    def __init__(self, **settings):
        self.settings, self.heard, self.calls = settings, [], []

    def write(self, samples):
        self.heard.append(samples.copy())

    def __getattr__(self, name):
        return lambda: self.calls.append(name)


def test_playing_plays_every_sample_and_writes_only_what_is_named(loquor, toy_folder, tmp_path, monkeypatch):
    devices = []
    fake = SimpleNamespace(
        OutputStream=lambda **s: devices.append(Loudspeaker(**s)) or devices[-1], PortAudioError=OSError
    )
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    done = loquor("speak", "Hello.", "-m", toy_folder, "--play", "--json")
    assert done.json["file"] is None
    assert not list((tmp_path / "work").iterdir())
    loquor("speak", "Hello.", "-m", toy_folder, "--play", "-o", "speech.wav")
    written = soundfile.read("speech.wav", dtype="float32")[0]
    for device in devices:
        heard = np.concatenate(device.heard)[:, 0].clip(-1, 1)
        assert np.allclose(heard, written, rtol=0, atol=2 / 32768)  # written as 16 bits of full scale 32767
        assert (device.settings["samplerate"], device.calls) == (24_000, ["start", "stop", "close"])


def test_a_missing_loudspeaker_is_an_error(loquor, toy_folder, monkeypatch):
    def refuse(**_):
        raise OSError("no device")

    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(OutputStream=refuse, PortAudioError=OSError))
    done = loquor("speak", "Hello.", "-m", toy_folder, "--play")
    assert done.err.startswith("error: there is no loudspeaker to play on: no device\nhint: ")


def test_a_model_may_name_its_own_defaults(loquor, toy_folder, tmp_path):
    from loquor import Voice

    said = [loquor("speak", "Hi.", "-m", toy_folder, "-o", "-", *given).out for given in ((), ("--voice", "toy"))]
    said.append(loquor("speak", "Hi.", "-m", toy_folder, "-o", "-", "--guidance", "1.3", "--steps", "2").out)
    assert said[0] == said[1] == said[2]
    voice = Voice.open(toy_folder / "voices" / "Toy.safetensors")
    assert json.loads((toy_folder / "loquor.json").read_text())["voice"] == voice.name


def test_it_speaks_as_fast_as_asked_and_marks_that(loquor, toy_folder, monkeypatch):
    pytest.importorskip("libsonic", reason="the tempo extra is not installed")
    text = "One two three four five six seven. " * 4
    stream, take = Speaker.stream, []

    def one_take(speaker, *asked, **sampling):
        """The same for both: a toy, which hears itself, and what looks for its periods make much of a rounding."""
        take.extend([] if take else stream(speaker, *asked, **sampling))
        yield from take

    sounds = {}
    for name, options in {"own": (), "fast": ("--speed", "2"), "bare": ("--speed", "2", "--no-watermark")}.items():
        if options:
            monkeypatch.setattr(Speaker, "stream", one_take)
        done = loquor("speak", text, "-m", toy_folder, "-o", f"{name}.wav", *options, "--json")
        sounds[name], _ = soundfile.read(f"{name}.wav", dtype="float32")
        assert done.json["seconds"] == pytest.approx(len(sounds[name]) / 24_000)
    bare, fast = sounds["bare"], sounds["fast"]
    assert 2 * len(fast) == pytest.approx(len(sounds["own"]), rel=0.05)
    off = np.abs(Marker(24_000).mark(bare) - fast)
    assert np.median(off) < 2 / 32767 < np.median(np.abs(bare - fast))  # rounded, and some clipped
    done = loquor("speak", text, "-m", "nowhere", "--speed", "9")
    assert (done.code, "speed must lie in 0.25 to 4, got 9" in done.err) == (1, True), "before the model is loaded"
