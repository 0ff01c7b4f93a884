"""`loquor data`: preparing recordings, what is told of the result, and going on after a kill."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from training.recordings import speech, text, write, write_pairs

COUNT = 6


@pytest.fixture
def pairs(tmp_path):
    """Six recordings that can be used, one that is torn, one whose text is another's."""
    folder = write_pairs(tmp_path / "pairs", COUNT)
    (folder / "torn.wav").write_bytes(b"torn")
    (folder / "torn.txt").write_text("Hello.")
    write(folder / "x" / "long.wav", speech(0.6, seed=20))
    (folder / "x" / "long.txt").write_text(text(6.0))
    return folder


@pytest.fixture
def prepared(loquor, pairs, toy_folder, tmp_path):
    done = loquor("data", "prepare", pairs, tmp_path / "set", "-m", toy_folder, "--language", "en")
    assert done.code == 0
    return tmp_path / "set"


@pytest.mark.parametrize("verb", [("data",), ("data", "prepare"), ("data", "show"), ("data", "dropped")], ids=" ".join)
def test_every_command_explains_itself_with_examples(loquor, verb):
    done = loquor(*verb, "--help")
    assert (done.code, done.err) == (0, "")
    examples = done.text.partition("Examples:\n")[2]
    assert re.search(rf"^    .*loquor {' '.join(verb)}", examples, re.MULTILINE)


def test_preparing_prints_what_is_in_the_set_and_what_is_not(loquor, pairs, toy_folder, tmp_path):
    out = tmp_path / "set"
    done = loquor("data", "prepare", pairs, out, "-m", toy_folder, "--language", "en", "--speaker", "ada")

    assert done.code == 0
    lines = [line.split() for line in done.text.splitlines() if line]
    assert " ".join(lines[0]) == "6 items, 0.00 h; 2 dropped"
    assert ["ada", "6", "0.00"] in lines and ["en", "6", "0.00"] in lines
    assert ["unreadable", "1"] in [line[:2] for line in lines] and ["pace", "1"] in [line[:2] for line in lines]
    assert done.err == "warning: no item fell to validation: raise --validation\n"
    assert sorted(path.name for path in (out / "plots").iterdir()) == ["durations.png", "levels.png", "paces.png"]


def test_the_report_can_be_shown_again_and_is_json_for_machines(loquor, pairs, prepared, toy_folder):
    again = loquor("data", "prepare", pairs, prepared, "-m", toy_folder, "--language", "en")
    assert loquor("data", "show", prepared).text == again.text
    report = loquor("data", "show", prepared, "--json").json
    assert report["kept"]["items"] == COUNT
    assert report["dropped"] == {"unreadable": 1, "pace": 1}
    assert report["spreads"]["seconds"]["median"] == pytest.approx(0.6, abs=0.05)
    assert report == json.loads((prepared / "report.json").read_text())


def test_what_was_dropped_is_listed_by_reason(loquor, prepared, pairs):
    rows = loquor("data", "dropped", prepared, "--json").json
    assert [(row["id"], row["reason"]) for row in rows] == [("torn", "unreadable"), ("x/long", "pace")]
    assert rows[1]["figures"]["pace"] > 2
    table = loquor("data", "dropped", prepared, "--reason", "unreadable").text.splitlines()
    assert table[1] == f"torn  unreadable  {pairs / 'torn.wav'} holds no audio that can be read"
    assert len(table) == 2
    assert loquor("data", "dropped", prepared, "--reason", "silent").text == ""
    assert loquor("data", "dropped", prepared, "--reason", "boring").code == 2


def test_other_settings_need_restart(loquor, pairs, prepared, toy_folder):
    arguments = ("data", "prepare", pairs, prepared, "-m", toy_folder, "--language", "en", "--level", "keep")
    refused = loquor(*arguments)
    assert refused.code == 1
    assert refused.err.startswith(f"error: {prepared} was begun with something else: --level was -25.0, is None\n")
    assert loquor(*arguments, "--restart").code == 0


@pytest.mark.parametrize(
    "wrong",
    [("--level", "loud"), ("--workers", "0"), ("--split-by", "day"), ("--format", "kaldi")],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(loquor, pairs, wrong):
    assert loquor("data", "prepare", pairs, "set", *wrong).code == 2
    assert not Path("set").exists()


@pytest.mark.parametrize(
    "wrong",
    [("--longest", "0.2"), ("--allow", "pace"), ("-m", "nowhere"), ("--format", "ljspeech")],
    ids=" ".join,
)
def test_what_cannot_be_done_is_said_in_two_lines(loquor, pairs, wrong):
    done = loquor("data", "prepare", pairs, "set", *wrong)
    assert (done.code, done.out) == (1, b"")
    assert re.fullmatch(r"error: .+\n(hint: .+\n)?", done.err)
    assert not Path("set").exists()


def test_showing_what_is_no_set_or_not_finished(loquor, tmp_path, prepared):
    assert loquor("data", "show", tmp_path).err.startswith(f"error: {tmp_path} holds no prepared data\nhint: ")
    (prepared / "index.json").unlink()
    for verb in ("show", "dropped"):
        assert loquor("data", verb, prepared).err.startswith(f"error: {prepared} is not prepared to its end\nhint: ")


def test_a_killed_command_goes_on_when_it_is_repeated(loquor, command, toy_folder, tmp_path):
    folder = write_pairs(tmp_path / "many", 60)
    options = ("-m", toy_folder, "--language", "en", "--shard-items", "1", "--keep-audio")
    out, undisturbed = tmp_path / "set", tmp_path / "undisturbed"
    process = subprocess.Popen([*command, "data", "prepare", folder, out, *options], start_new_session=True)
    while not (out / "shards" / "shard-000003.safetensors").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    finished = len(list((out / "shards").glob("shard-*")))
    assert 4 <= finished < 60

    assert loquor("data", "prepare", folder, out, *options).code == 0
    assert loquor("data", "prepare", folder, undisturbed, *options).code == 0

    files = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
    assert len(files) == 60 + 9
    for file in files:
        assert (out / file).read_bytes() == (undisturbed / file).read_bytes()


def test_a_terminal_sees_how_far_it_is(loquor, pairs, toy_folder, tmp_path):
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        done = loquor(
            "data", "prepare", pairs, tmp_path / "set", "-m", toy_folder, "--shard-items", "1", stderr=terminal
        )
        drawn = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert done.code == 0
    assert "8/8 items, 6 kept" in re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", drawn)


def test_a_transcript_that_is_not_what_is_heard_is_dropped(loquor, toy_folder, tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "s").mkdir()
    assert loquor("speak", "The train to the city leaves at noon.", "-o", tmp_path / "s" / "a.wav").code == 0
    (tmp_path / "s" / "a.txt").write_text("The train to the city leaves at noon.")
    shutil.copy(tmp_path / "s" / "a.wav", tmp_path / "s" / "b.wav")
    (tmp_path / "s" / "b.txt").write_text("My uncle never liked the colour green.")

    done = loquor("data", "prepare", tmp_path / "s", "set", "-m", toy_folder, "--check-transcript", "--json")

    assert done.json["dropped"] == {"transcript": 1}
    (row,) = loquor("data", "dropped", "set", "--json").json
    assert row["id"] == "b" and row["figures"]["wer"] > 0.5 and "train" in row["detail"]
