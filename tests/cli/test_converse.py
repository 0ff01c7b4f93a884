"""`loquor chat`, `transcribe` and `speak` with a VITA-Audio model in miniature, from outside."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

import loquor as package
from loquor.evaluation.transcriber import PACKAGE
from loquor.models.vita.checkpoint import LICENCE
from toy_converser import toy_sound, toy_talker, write_audio_tokenizer, write_toy_converser

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "converse.md").read_text(encoding="utf-8")
QUICK = ("--max-tokens", "40", "--decoding", "constrained", "--mode", "1,10,4,10")


@pytest.fixture(scope="module")
def talker(tmp_path_factory):
    return write_toy_converser(tmp_path_factory.mktemp("vita") / "model")


@pytest.fixture
def question(tmp_path):
    path = tmp_path / "question.wav"
    soundfile.write(path, *toy_sound(0.5))
    return path


def test_a_typed_question_is_answered_in_text_and_speech(loquor, talker):
    done = loquor("chat", "-m", talker, "the rain", *QUICK, "--seed", 3)
    assert done.code == 0, done.err
    assert done.text.strip()
    sound, rate_hz = soundfile.read("reply.wav")
    assert rate_hz == package.load(talker).sample_rate_hz and len(sound) > 1000
    assert done.err.splitlines()[-1].startswith(f"reply.wav: {len(sound) / rate_hz:.2f} s of speech, first audio after")


def test_the_same_seed_says_the_same(loquor, talker):
    said = [loquor("chat", "-m", talker, "the rain", *QUICK, "--seed", seed, "-o", "-") for seed in (3, 3, 4)]
    assert said[0].out == said[1].out != said[2].out
    assert said[0].err == said[1].err


def test_turns_follow_each_other_and_recordings_are_heard(loquor, talker, question):
    done = loquor("chat", "-m", talker, f"@{question}", "and in spain", f"@{question} the plain", *QUICK, "--json")
    assert done.code == 0, done.err
    assert [fact["file"] for fact in done.json] == ["reply-1.wav", "reply-2.wav", "reply-3.wav"]
    for fact in done.json:
        assert fact["finish"] in ("end", "limit") and fact["main_passes"] < fact["tokens"] <= 40
        assert len(soundfile.read(fact["file"])[0]) / fact["sample_rate_hz"] == pytest.approx(fact["seconds"])
    assert loquor("chat", "-m", talker, "and in spain", *QUICK).code == 0
    assert Path("reply.wav").read_bytes() != Path("reply-2.wav").read_bytes(), "a turn knows those before it"


def test_without_turns_lines_are_read_as_they_come(loquor, talker):
    piped = loquor("chat", "-m", talker, *QUICK, "--json", stdin=b"the rain\n\n  in spain \n")
    typed = loquor("chat", "-m", talker, "the rain", "in spain", *QUICK, "--json")
    assert [fact["text"] for fact in piped.json] == [fact["text"] for fact in typed.json]
    assert len(piped.json) == 2


def test_text_alone_needs_no_audio_tokenizer(loquor, talker, tmp_path):
    bare = shutil.copytree(talker, tmp_path / "bare", ignore=shutil.ignore_patterns("audio_tokenizer"))
    done = loquor("chat", "-m", bare, "the rain", "--text-only", "--max-tokens", "8")
    assert (done.code, list(Path().iterdir())) == (0, [])
    assert done.text.strip()


def test_a_history_of_a_file_is_gone_on_from(loquor, talker, question, tmp_path):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "human", "content": "<|audio|>"},
        {"role": "gpt", "content": "the plain <|audio|>"},
    ]
    history = tmp_path / "talk.json"
    history.write_text(json.dumps({"messages": messages, "audios": [question.name, question.name]}))
    done = loquor("chat", "-m", talker, "the rain", "--history", history, *QUICK, "-o", "-")
    assert done.code == 0, done.err
    assert done.out != loquor("chat", "-m", talker, "the rain", *QUICK, "-o", "-").out


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"role": "narrator"}, "'narrator' is no role"),
        ({"content": "<|audio|><|audio|>"}, "a turn of 'user' has 2 audios"),
        ({"content": "<|audio|>"}, "1 <|audio|> tags stand for 0 audios"),
    ],
)
def test_a_history_that_cannot_be_used_is_one_error(loquor, talker, tmp_path, change, error):
    history = tmp_path / "talk.json"
    messages = [{"role": "user", "content": "Hello"} | change, {"role": "assistant", "content": "Hi"}]
    history.write_text(json.dumps({"messages": messages}))
    done = loquor("chat", "-m", talker, "the rain", "--history", history)
    assert done.code == 1 and done.err.splitlines()[-2].startswith(f"error: {history}: {error}")


def test_the_licence_is_told_once_a_process(loquor, talker):
    from loquor.models.vita.checkpoint import _tell_licence

    _tell_licence.cache_clear()
    done = [loquor("chat", "-m", talker, "the rain", "--text-only", "--max-tokens", "4") for _ in range(2)]
    assert [d.err.count(LICENCE) for d in done] == [1, 0]


def test_speaking_is_the_usual_command(loquor, talker, question):
    done = loquor("speak", "-m", talker, "the rain in spain", "--seed", "2", "--json")
    assert done.code == 0, done.err
    sound, rate_hz = soundfile.read("speech.wav")
    assert (rate_hz, len(sound) / rate_hz) == (done.json["sample_rate_hz"], pytest.approx(done.json["seconds"]))
    other = loquor("speak", "-m", talker, "the rain in spain", "--seed", "2", "--voice", question, "-o", "-")
    assert other.code == 0 and other.out


def test_options_of_other_models_are_refused(loquor, talker, toy_folder):
    done = loquor("speak", "-m", talker, "the rain", "--guidance", "1.5")
    assert (done.code, done.out) == (1, b"") and "knows no --guidance" in done.err
    done = loquor("speak", "-m", toy_folder, "Hello.", "--audio-tokenizer", talker)
    assert done.code == 1 and "which has no audio tokenizer" in done.err
    for command in (("chat", "Hello."), ("transcribe", "hello.wav")):
        done = loquor(*command, "-m", toy_folder)
        assert done.code == 1 and "is a VibeVoice Realtime model, which cannot listen" in done.err


def test_recordings_are_written_down(loquor, talker, question, tmp_path):
    shutil.copyfile(question, tmp_path / "again.wav")
    one = loquor("transcribe", question, "-m", talker)
    assert one.code == 0, one.err
    both = loquor("transcribe", question, tmp_path / "again.wav", "-m", talker, "--json").json
    assert [t["file"] for t in both] == [str(question), str(tmp_path / "again.wav")]
    assert both[0]["text"] == both[1]["text"] == one.text.strip()


@pytest.mark.skipif(not PACKAGE.is_installed, reason="the recogniser is not installed")
def test_without_a_model_recordings_are_written_down_out_of_the_box(loquor):
    recording = PACKAGE.file("assets", "beckett.wav")
    done = loquor("transcribe", recording)
    assert (done.code, done.err) == (0, "")
    assert done.text.lower().startswith("ever tried") and done.text.count("\n") == 1


def test_without_the_recogniser_there_is_one_error(loquor, bare, question):
    done = loquor("transcribe", question)
    assert done.code == 1 and done.err.startswith("error: the speech recogniser is missing")
    done = loquor("transcribe", question, "--audio-tokenizer", "somewhere")
    assert done.code == 2


def test_what_is_missing_is_told_with_what_to_do(loquor, talker, tmp_path, question, monkeypatch):
    bare = shutil.copytree(talker, tmp_path / "bare", ignore=shutil.ignore_patterns("audio_tokenizer"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    done = loquor("chat", "-m", bare, "the rain")
    error, hint = done.err.splitlines()[-2:]
    assert done.code == 1 and error.startswith("error: the model speaks in ids of 'glm4voice', whose tokenizer")
    assert "THUDM/glm-4-voice-tokenizer" in error and "--audio-tokenizer FOLDER" in hint
    for way in (("--audio-tokenizer", write_audio_tokenizer(tmp_path / "elsewhere")), ()):
        monkeypatch.setenv("LOQUOR_AUDIO_TOKENIZER", "" if way else str(tmp_path / "elsewhere"))
        assert loquor("transcribe", question, "-m", bare, *way).code == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("chat", "@gone.wav"), "gone.wav does not exist"),
        (("transcribe", "gone.wav"), "gone.wav does not exist"),
        (("chat", "@empty.wav"), "empty.wav is empty"),
        (("chat", "the rain", "--mode", "rapid"), "there is no schedule 'rapid'"),
        (("chat", "the rain", "--temperature", "-1"), "temperature must be a number from 0 to 100"),
        (("chat", "the rain", "--history", "gone.json"), "cannot read gone.json"),
        (("chat", "the rain", "-o", "reply.txt"), "reply.txt does not say which format to write"),
        (("chat", "the rain " * 2000), "the prompt takes"),
        (("speak", "  "), "the text is empty"),
        (("speak", "the rain", "--voice", "gone.wav"), "gone.wav does not exist"),
    ],
)
def test_what_cannot_be_done_is_one_error(loquor, talker, arguments, error):
    soundfile.write("empty.wav", np.zeros(0), 16_000)
    done = loquor(*arguments, "-m", talker)
    lines = [line for line in done.err.splitlines() if not line.startswith(("warning", "hint"))]
    assert done.code == 1
    assert len(lines) == 1 and lines[0].startswith(f"error: {error}")
    assert sorted(p.name for p in Path().iterdir()) == ["empty.wav"]


def test_a_truncated_checkpoint_is_one_error(loquor, talker, tmp_path):
    broken = shutil.copytree(talker, tmp_path / "broken")
    data = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(data[: len(data) // 2])
    done = loquor("chat", "-m", broken, "the rain")
    assert done.code == 1 and done.err.startswith("error: ") and "model.safetensors" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("hello",),
        ("hello", "-m", "x", "--mic"),
        ("hello", "-m", "x", "--barge-in"),
        ("hello", "-m", "x", "--text-only", "-o", "a.wav"),
        ("hello", "-m", "x", "--json", "-o", "-"),
        ("hello", "-m", "x", "--decoding", "hopeful"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(loquor, arguments):
    assert loquor("chat", *arguments).code == 2


# ---- the guide


@pytest.fixture
def place(tmp_path, monkeypatch, loquor):
    """What the guide's commands expect to find where they run: a model that says little, and its tokenizer beside."""
    model = toy_talker(eos=0.3)
    write_toy_converser(Path("models") / "VITA-Audio-Boost", model, tokenizer_in=Path("models"))
    soundfile.write("question.wav", *toy_sound(0.5))
    earlier = {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi."}]}
    Path("earlier.json").write_text(json.dumps(earlier))


def test_the_commands_of_the_guide_work(loquor, place):
    lines = [line[2:] for line in GUIDE.splitlines() if line.startswith("$ ")]
    assert len(lines) == 9
    for line in lines:
        typed, _, command = line.rpartition(" | ")
        if not PACKAGE.is_installed and "transcribe" in command and "-m" not in command:
            continue
        stdin = shlex.split(typed)[1].replace("\\n", "\n").encode() if typed else b""
        done = loquor(*shlex.split(command)[1:], stdin=stdin)
        assert done.code == 0, f"{line}: {done.err}"
    assert soundfile.info("rain.wav").frames and soundfile.info("alike.wav").frames


def test_the_python_of_the_guide_runs(place):
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "converse.md", "exec"), {})
    assert printed.getvalue().endswith("4 turns\n") and Path("rain.wav").stat().st_size > 1000


# ---- the microphone


def loud(*stretches: tuple[float, float]) -> np.ndarray:
    """Seconds of levels, at 16 kHz."""
    return np.concatenate([np.full(round(s * 16_000), level, np.float32) for s, level in stretches])


class Devices:
    """sounddevice with a microphone that has all its sound at once, and a loudspeaker that takes its time or not."""

    PortAudioError = OSError

    def __init__(self, sound: np.ndarray, later: np.ndarray | None = None) -> None:
        self.sound, self.later, self.heard = sound, later, []

    def InputStream(self, callback, finished_callback, blocksize, **_):  # noqa: N802 - sounddevice's name
        def feed(sound, end):
            for start in range(0, len(sound) - blocksize + 1, blocksize):
                callback(sound[start : start + blocksize, None], blocksize, None, None)
            if end:
                finished_callback()

        self.feed = feed
        return SimpleNamespace(start=lambda: feed(self.sound, self.later is None), close=lambda: None)

    def OutputStream(self, **_):  # noqa: N802
        played: list[np.ndarray] = []
        self.heard.append(played)

        def write(block):
            played.append(block.copy())
            time.sleep(0.02)
            if self.later is not None:  # somebody speaks as soon as the first slice was played
                later, self.later = self.later, None
                self.feed(later, True)

        return SimpleNamespace(start=lambda: None, stop=lambda: None, close=lambda: None, write=write)


class Loudness:
    """Instead of Silero: what is loud is speech."""

    frame_s = 0.032

    def init_state(self):
        return None

    def __call__(self, waveform, state=None):
        return np.abs(waveform).reshape(-1, 512).max(1)


@pytest.fixture
def devices(monkeypatch):
    monkeypatch.setattr("loquor.engine.turn_detector.Silero.__new__", lambda _: Loudness())

    def install(*sounds):
        fake = Devices(*sounds)
        monkeypatch.setitem(sys.modules, "sounddevice", fake)
        return fake

    return install


def test_a_spoken_turn_is_answered_aloud_and_what_it_hears_of_itself_is_not(loquor, talker, devices):
    fake = devices(loud((0.5, 0), (1, 0.9), (1, 0)), loud((1, 0.9), (1, 0)))
    done = loquor("chat", "-m", talker, "--mic", *QUICK, "--seed", 3, "--json")
    assert done.code == 0, done.err
    (fact,), (played,) = done.json, fake.heard
    assert sum(map(len, played)) == round(fact["seconds"] * fact["sample_rate_hz"]) > 0


def test_who_speaks_during_an_answer_stops_it_and_is_answered(loquor, talker, devices):
    def played(*options):
        fake = devices(loud((0.5, 0), (1, 0.9), (1, 0)), loud((1, 0.9), (1, 0)))
        done = loquor("chat", "-m", talker, "--mic", *options, *QUICK, "--seed", 3, "--json")
        assert done.code == 0, done.err
        return [sum(map(len, answer)) for answer in fake.heard]

    (whole,), (cut_off, _) = played(), played("--barge-in")
    assert 0 < cut_off < whole


def test_without_a_microphone_there_is_one_error(loquor, talker, monkeypatch, devices):
    def refuse(**_):
        raise OSError("no device")

    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(InputStream=refuse, PortAudioError=OSError))
    done = loquor("chat", "-m", talker, "--mic")
    assert done.err.splitlines()[-2] == "error: there is no microphone to listen to: no device"
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    done = loquor("chat", "-m", talker, "--mic")
    assert done.err.splitlines()[-2:] == ["error: --mic needs sounddevice", "hint: pip install 'loquor[play]'"]


def test_the_commands_explain_themselves_with_examples(loquor):
    for command in ("chat", "transcribe"):
        done = loquor(command, "--help")
        assert (done.code, done.err) == (0, "") and f"    loquor {command} " in done.text
