"""`loquor podcast`: from a script and recordings to an episode, whatever happens on the way."""

import json
import os
import re
import signal
import subprocess
import time
from importlib.util import find_spec

import numpy as np
import pytest
import soundfile
import torch

from loquor.cli.cast import assign, parse_cast
from loquor.cli.podcast_progress import in_a_line
from loquor.engine.podcast.produce import Progress
from loquor.errors import InputError
from loquor.voices.catalogue import new_voice_file
from loquor.voices.recording import RecordedVoice
from toy_longform import toy_config, toy_waveform, write_toy

RATE = 24_000
SCRIPT = """
[chapter: Welcome]
Alice: Good morning, and welcome to the show that we have every day.
Bob: Good morning, Alice. I am very glad to be here with you today.
[pause 0.8s]
[chapter: The news]
Alice: What has happened to all of us since we met the last time?
"""
CAST = "Alice=alice.wav,Bob=bob.wav"
REMINDER = "warning: no consent is on record for alice.wav, bob.wav: `loquor voices create` keeps it\n"


@pytest.fixture(scope="session")
def longform(tmp_path_factory):
    """A long-form model that says some seconds a take."""
    return write_toy(tmp_path_factory.mktemp("longform") / "toy", frames_per_token=0.5)


@pytest.fixture
def place(loquor):
    """The folder that commands run in, with a script and two recordings."""
    with open("talk.txt", "w", encoding="utf-8") as file:
        file.write(SCRIPT)
    for seed, name in enumerate(("alice", "bob")):
        soundfile.write(f"{name}.wav", toy_waveform(3.2, seed=seed).numpy(), RATE)
    return os.getcwd()


@pytest.fixture
def podcast(loquor, longform, place):
    """Runs `loquor podcast talk.txt` with the model and the cast."""

    def run(*arguments, cast=CAST, model=longform, script="talk.txt"):
        chosen = ["-m", model] if model else []
        voices = ["--cast", cast] if cast else []
        return loquor("podcast", script, *voices, *chosen, "--retakes", "0", *arguments)

    return run


def samples(name):
    return soundfile.read(name, dtype="int16")[0].astype(int)


def from_json(name):
    with open(name, encoding="utf-8") as file:
        return json.load(file)


def made(before=("alice.wav", "bob.wav", "talk.txt")):
    return sorted(set(os.listdir()) - set(before))


def test_a_model_says_the_same_in_either_layout(podcast, longform, loquor):
    assert loquor("convert", longform, "hf", "--layout", "hf").code == 0
    heard = []
    for model, name in ((longform, "original.wav"), ("hf", "hf.wav")):
        assert podcast("-o", name, model=model).code == 0
        heard.append(samples(name))  # not the bytes: a file names its model
    assert np.array_equal(*heard)


def test_a_script_becomes_an_episode(podcast):
    done = podcast("-o", "talk.wav")
    assert (done.code, done.err) == (0, REMINDER)
    assert done.text.startswith("talk.wav: ") and " s of speech by 2 speakers in 3 takes, made in " in done.text
    assert made() == ["talk.wav"]
    info = soundfile.info("talk.wav")
    assert (info.samplerate, info.channels) == (RATE, 1)
    assert info.duration > 3


def test_everything_that_can_be_asked_for_agrees_with_the_sound(podcast):
    done = podcast(
        "-o", "talk.flac", "--stems", "--srt", "--vtt", "--transcript", "--chapters", "--report", "r.json", "--json",
        "--title", "A talk", "--date", "2026-11-21",
    )  # fmt: skip
    assert done.code == 0
    beside = ["Alice.flac", "Bob.flac", "chapters.json", "flac", "srt", "transcript.json", "vtt"]
    assert made() == ["r.json", *(f"talk.{ending}" for ending in beside)]
    assert done.json == from_json("r.json")
    mix, *stems = map(samples, ("talk.flac", "talk.Alice.flac", "talk.Bob.flac"))
    assert np.array_equal(sum(stems), mix)
    assert done.json["seconds"] == pytest.approx(len(mix) / RATE, abs=1e-3)
    cues = from_json("talk.transcript.json")
    by_speaker = dict(zip(("Alice", "Bob"), stems, strict=True))
    for take in done.json["takes"]:
        start, end = (round(take[key] * RATE) for key in ("start_s", "end_s"))
        assert np.abs(by_speaker[take["speaker"]][start:end]).max() > 0
        own = [cue for cue in cues if take["start_s"] <= cue["start_s"] and cue["end_s"] <= take["end_s"]]
        assert " ".join(cue["text"] for cue in own) == take["text"]
    chapters = from_json("talk.chapters.json")["chapters"]
    assert [(c["title"], c["startTime"]) for c in chapters] == [
        ("Welcome", done.json["takes"][0]["start_s"]),
        ("The news", done.json["takes"][2]["start_s"]),
    ]
    assert done.json["takes"][2]["start_s"] - done.json["takes"][1]["end_s"] == pytest.approx(0.8, abs=1e-3)
    with soundfile.SoundFile("talk.flac") as file:
        assert (file.title, file.artist, file.date) == ("A talk", "Alice, Bob", "2026-11-21")


def test_a_master_is_as_loud_as_asked(podcast):
    pytest.importorskip("av")
    from loquor.audio.master import measure_loudness

    done = podcast("-o", "talk.mp3", "--master", "--loudness", "-20", "--json")
    assert done.json["loudness"]["integrated_lufs"] == pytest.approx(-20, abs=0.1)
    assert measure_loudness("talk.mp3").integrated_lufs == pytest.approx(-20, abs=0.3)  # mp3 is not exact


def test_check_shows_the_cast_and_the_length_without_a_model(podcast):
    done = podcast("--check", model=None)
    assert (done.code, done.err) == (0, "")
    assert done.text.splitlines() == [
        "speaker  voice      turns  words     about",
        "Alice    alice.wav      2     25  00:00:08",
        "Bob      bob.wav        1     13  00:00:04",
        "chapter at about 00:00:00: Welcome",
        "chapter at about 00:00:10: The news",
        "3 turns in 3 takes, about 00:00:14 in all",
    ]
    figures = podcast("--check", "--json", model=None).json
    assert [(one["name"], one["voice"], one["turns"]) for one in figures["speakers"]] == [
        ("Alice", "alice.wav", 2),
        ("Bob", "bob.wav", 1),
    ]
    assert podcast("--check", cast="", model=None).code == 0  # nobody is cast yet
    assert made() == []


def test_voices_can_be_given_in_order_by_number_and_from_the_catalogue(podcast):
    kept = RecordedVoice(name="ada", created="2026-11-21", consent="Ada agreed", waveform=toy_waveform(3.2))
    kept.save(new_voice_file("ada"))
    kept.save(new_voice_file("bert"))
    quiet = podcast("-o", "a.wav", cast="ada,bert")
    assert (quiet.code, quiet.err) == (0, "")  # consent is on record
    podcast("-o", "b.wav", cast="Bob=bert, alice=ada")
    assert np.array_equal(samples("a.wav"), samples("b.wav"))
    with open("talk.txt", "w", encoding="utf-8") as file:
        file.write(SCRIPT.replace("Alice:", "Speaker 1:").replace("Bob:", "Speaker 2:"))
    assert podcast("-o", "c.wav", cast="2=bert,speaker 1=ada").code == 0
    voices = json.loads(podcast("--check", "--json", cast="2=bert,1=ada").out)["speakers"]
    assert [(one["name"], one["voice"]) for one in voices] == [("Speaker 1", "ada"), ("Speaker 2", "bert")]


def test_the_seed_repeats_an_episode(podcast):
    for name, seed in (("a.wav", 1), ("b.wav", 1), ("c.wav", 2)):
        assert podcast("-o", name, "--seed", seed).code == 0
    assert np.array_equal(samples("a.wav"), samples("b.wav"))
    assert not np.array_equal(samples("a.wav")[:3200], samples("c.wav")[:3200])


def test_a_log_has_a_line_for_every_take_and_quiet_has_none(loquor, longform, place):
    arguments = ("podcast", "talk.txt", "--cast", CAST, "-m", longform, "-o", "a.wav", "--retakes", "0")
    lines = loquor("-v", *arguments).err.splitlines()
    takes = [line for line in lines if re.fullmatch(r"info: take \d of 3, 00:00:\d\d of 00:00:\d\d spoken.*", line)]
    assert [line[len("info: take ")] for line in takes] == ["1", "2", "3"]
    assert loquor("-q", *arguments).err == ""


def test_a_line_of_progress_says_where_it_is():
    late = Progress(take=2, takes=12, attempt=1, seconds=65.2, expected_s=3661.0, elapsed_s=30.0, left_s=120.4)
    assert in_a_line(late) == "take 3 of 12 (attempt 2), 00:01:05 of 01:01:01 spoken, 00:02:00 left"
    early = Progress(take=0, takes=1, attempt=0, seconds=0.0, expected_s=9.0, elapsed_s=0.1, left_s=None)
    assert in_a_line(early) == "take 1 of 1, 00:00:00 of 00:00:09 spoken"


@pytest.mark.skipif(
    not all(map(find_spec, ("resemblyzer", "moonshine_voice", "jiwer", "onnxruntime"))), reason="instruments are extras"
)
def test_takes_can_be_judged_by_ear(podcast):
    takes = podcast("--judge-voices", "--judge-words", "--json").json["takes"]
    kinds = [[finding["kind"] for finding in take["findings"]] for take in takes]
    assert all("words" in found for found in kinds)
    assert "drift" in kinds[0]  # the first take is long enough
    heard = next(finding for finding in takes[0]["findings"] if finding["kind"] == "words")
    assert heard["score"] > 1  # noise has no words
    assert re.fullmatch(r"\d+ of 12 words misheard", heard["detail"])


def test_takes_can_be_kept_and_are_only_used_for_the_same_episode(podcast):
    assert podcast("-o", "talk.wav", "--keep-takes").code == 0
    first, folder = samples("talk.wav"), "talk.wav.takes"
    times = {name: os.stat(f"{folder}/{name}").st_mtime_ns for name in os.listdir(folder)}
    assert podcast("-o", "talk.wav", "--keep-takes", "--srt").code == 0
    assert {name: os.stat(f"{folder}/{name}").st_mtime_ns for name in os.listdir(folder)} == times
    assert np.array_equal(samples("talk.wav"), first)
    done = podcast("-o", "talk.wav", "--seed", "9")
    assert done.code == 1
    assert "talk.wav.takes holds takes of another production: seed was 0, is 9" in done.err
    assert "hint: --restart throws them away" in done.err
    assert podcast("-o", "talk.wav", "--seed", "9", "--restart").code == 0
    assert made() == ["talk.srt", "talk.wav"]


def test_a_pause_can_be_changed_without_speaking_again(podcast):
    podcast("-o", "talk.wav", "--keep-takes")
    first = len(samples("talk.wav"))
    with open("talk.txt", "w", encoding="utf-8") as file:
        file.write(SCRIPT.replace("[pause 0.8s]", "[pause 1.8s]"))
    assert podcast("-o", "talk.wav").code == 0
    assert len(samples("talk.wav")) == first + RATE


def test_five_speakers_have_an_episode(podcast):
    names = ["Ann", "Bo", "Cy", "Di", "Ed"]
    with open("many.txt", "w", encoding="utf-8") as file:
        file.writelines(f"{name}: This is what I, {name}, have got to say to all of you.\n" for name in [*names, "Ann"])
    cast = ",".join(f"{name}={'alice' if i % 2 else 'bob'}.wav" for i, name in enumerate(names))
    shown = podcast("--check", script="many.txt", cast=cast).text
    assert "scene 1: Ann, Bo, Cy, Di\nscene 2: Ed, Ann\n" in shown
    done = podcast("-o", "many.wav", "--json", "--stems", script="many.txt", cast=cast)
    assert [take["speaker"] for take in done.json["takes"]] == [*names, "Ann"]
    assert np.array_equal(sum(samples(f"many.{name}.wav") for name in names), samples("many.wav"))


LONG = "".join(
    f"Alice: This is the line with number {i}, and it goes on.\nBob: And I say yes to that.\n" for i in range(4)
)


@pytest.fixture
def started(command, longform, place):
    """A real `loquor podcast` on a longer script, and how many takes it has finished."""
    with open("long.txt", "w", encoding="utf-8") as file:
        file.write(LONG)
    line = [*command, "podcast", "long.txt", "--cast", CAST, "-m", longform, "-o", "long.wav", "--retakes", "0"]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    processes = []

    def start():
        processes.append(subprocess.Popen(line, env=os.environ | threads, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def wait_for_takes(count, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not os.path.exists(f"long.wav.takes/take-{count - 1:05}.safetensors"):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_run_goes_on_to_the_same_bytes(started, podcast):
    process = started()
    wait_for_takes(2, process)
    process.kill()
    process.wait()
    finished = len([name for name in os.listdir("long.wav.takes") if name.startswith("take-")])
    assert 2 <= finished < 8 and not os.path.exists("long.wav")
    resumed = podcast("-o", "long.wav", script="long.txt")
    assert (resumed.code, resumed.err) == (0, REMINDER)
    with open("long.wav", "rb") as file:
        after = file.read()
    assert podcast("-o", "long.wav", script="long.txt").code == 0
    with open("long.wav", "rb") as file:
        assert file.read() == after
    assert "long.wav.takes" not in os.listdir()


def test_a_run_that_is_told_to_stop_says_how_to_go_on(started):
    process = started()
    wait_for_takes(1, process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "warning: stopped; finished takes are in long.wav.takes: the same command goes on from there" in err
    kept = sorted(name for name in os.listdir("long.wav.takes") if not name.startswith("."))  # one may just be written
    assert kept[:2] == ["plan.json", "take-00000.safetensors"]
    assert not os.path.exists("long.wav")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"cast": "Alice=alice.wav"}, "talk.txt:4: Bob is not in the cast (Alice)"),
        ({"cast": "alice.wav"}, "there is no voice for Bob"),
        ({"cast": ""}, "there is no voice for Alice"),
        ({"cast": f"{CAST},Carl=bob.wav"}, "Carl is in the cast, but not in the script"),
        ({"cast": "alice.wav,bob.wav,bob.wav"}, "the cast has 3 voices for 2 speakers: Alice, Bob"),
        ({"cast": "Alice=alice.wav,bob.wav"}, "'bob.wav' in the cast is not name=voice"),
        ({"cast": "Alice=alice.wav,alice=bob.wav,Alice=bob.wav"}, "Alice is in the cast twice"),
        ({"cast": "Alice=alice.wav,Bob=nobody"}, "there is no voice 'nobody'"),
        ({"cast": "Alice=alice.wav,Bob=gone.wav"}, "gone.wav does not exist"),
        ({"model": None}, "no long-form model comes with this installation"),
        ({"model": "./nowhere"}, "there is no model folder nowhere"),
        ({"script": "gone.txt"}, "cannot read gone.txt"),
        ({"script": "empty.txt"}, "empty.txt:2: Bob says nothing"),
        ({"extra": ["-o", "talk.doc"]}, "talk.doc does not say which format to write"),
        ({"extra": ["-o", "nowhere/talk.wav"]}, "cannot write nowhere/talk.wav: No such file or directory"),
        ({"extra": ["-o", "-"]}, "- does not say which format to write"),
        ({"extra": ["--report", "nowhere/r.json"]}, "the report cannot be written to nowhere/r.json"),
        ({"extra": ["--guidance", "nan"]}, "guidance must lie in 0 to 20"),
        ({"extra": ["--steps", "0"]}, "steps must be a whole number"),
        ({"extra": ["--master", "--loudness", "5"]}, "a loudness of 5 LUFS is none to master at"),
        ({"extra": ["--adapter", "nowhere"]}, "nowhere"),
        ({"extra": ["--device", "tpu"]}, "device 'tpu' is not supported"),
    ],
    ids=str,
)
def test_bad_input_is_one_clear_error_before_any_work(podcast, arguments, error):
    with open("empty.txt", "w", encoding="utf-8") as file:
        file.write("Alice: Hello.\nBob:\nAlice: Goodbye.")
    done = podcast(*arguments.pop("extra", ()), **arguments)
    assert (done.code, done.out) == (1, b"")
    lines = [line for line in done.err.splitlines() if not line.startswith("warning: no consent")]
    assert lines[0].startswith("error: ") and error in lines[0]
    assert len(lines) <= 2 and all(line.startswith("hint: ") for line in lines[1:])
    assert made() == ["empty.txt"]


def test_a_realtime_model_and_its_voices_are_refused(podcast, toy_folder):
    done = podcast(model=toy_folder)
    assert f"error: {toy_folder} is a VibeVoice Realtime model, and a podcast needs a long-form one" in done.err
    done = podcast(cast=f"Alice=alice.wav,Bob={toy_folder / 'voices' / 'Toy.safetensors'}")
    assert "the voice of Bob, is a realtime prompt, and a podcast needs a recording" in done.err
    assert made() == []


def test_voices_that_leave_no_room_for_a_take_are_an_error(podcast, tmp_path):
    small = write_toy(tmp_path / "small", toy_config(context=150))
    done = podcast(model=small)
    assert done.code == 1
    assert "turn 1, by Alice, does not fit into the model's context of 150 positions" in done.err
    assert made() == []


def test_a_folder_of_something_else_in_the_way_is_left_alone(podcast):
    os.mkdir("talk.wav.takes")
    with open("talk.wav.takes/thesis.txt", "w", encoding="utf-8") as file:
        file.write("years of work")
    for extra in ((), ("--restart",)):
        done = podcast("-o", "talk.wav", *extra)
        assert (done.code, "holds no production" in done.err) == (1, True)
    assert os.listdir("talk.wav.takes") == ["thesis.txt"]


@pytest.mark.parametrize(
    ("options", "cast"),
    [
        (["a.wav, b.wav"], ["a.wav", "b.wav"]),
        (["a.wav", "b.wav"], ["a.wav", "b.wav"]),
        (["Ann = a.wav,Bo=b=c.wav"], {"Ann": "a.wav", "Bo": "b=c.wav"}),
        (["1=a", "speaker 02=b"], {"Speaker 1": "a", "Speaker 2": "b"}),
        ([], []),
    ],
)
def test_a_cast_is_named_or_in_order(options, cast):
    assert parse_cast(options) == cast


def test_names_are_the_same_in_any_case():
    assert assign({"ANN": "a", "Bo": "b"}, ["bo", "Ann"]) == {"bo": "b", "Ann": "a"}
    with pytest.raises(InputError, match="no voice for Cy"):
        assign(["a", "b"], ["Ann", "Bo", "Cy"])
