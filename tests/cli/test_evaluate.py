"""`loquor eval` and `loquor listen` from outside: a first evaluation to a comparison to a test with listeners."""

import json
import shutil
import signal
import subprocess
import time

import pytest
import soundfile

from evaluation.systems import case, noisy, report, write_recordings
from loquor.audio import read

SENTENCES = "The old man walked slowly along the river.\n\nPlease close the window before you leave.\n"
QUICK = ("--players", "1")


@pytest.fixture
def sentences(loquor, tmp_path):
    path = tmp_path / "work" / "sentences.txt"
    path.write_text(SENTENCES)
    return path.name


def test_the_embedded_voice_is_evaluated_compared_and_heard(loquor, sentences, tmp_path):
    work = tmp_path / "work"
    done = loquor("eval", "--set", sentences, "-o", "voice", *QUICK)
    assert done.code == 0, done.err
    lines = done.text.splitlines()
    assert any(line.startswith("Word error rate") and "%" in line for line in lines)
    assert any(line.startswith("First audio, p50") for line in lines)
    assert lines[-1] == "voice/report.html"
    facts = json.loads((work / "voice" / "report.json").read_text())
    assert {case["text"] for case in facts["cases"]} == set(filter(None, SENTENCES.splitlines()))
    assert facts["options"]["sets"] == ["sentences.txt"]

    (work / "other").mkdir()
    for found in facts["cases"]:
        sound = read(work / "voice" / "cache" / found["key"][:2] / f"{found['key']}.wav", 24_000)
        write_recordings(work / "other", [noisy(sound)], [found["id"]])
    assert loquor("eval", "other", "--set", sentences, "-o", "worse", "--json").json["figures"]["mos"]["count"] == 2
    table = loquor("eval", "compare", "voice/report.json", "worse/report.json").text
    assert table.splitlines()[0].split() == ["A", "B", "B", "-", "A", "95", "%", "interval", "p", "items"]
    assert "Predicted opinion (DNSMOS)" in table
    compared = loquor("eval", "compare", "voice/report.json", "worse/report.json", "--json").json
    differences = {contrast["name"]: contrast["difference"] for contrast in compared["contrasts"]}
    assert differences["mos_background"] < 0

    done = loquor("listen", "voice/report.json", "other", "-o", "blind.html")
    assert (done.code, done.text) == (0, "blind.html: 2 items; key: blind.key.json\n")
    key = json.loads((work / "blind.key.json").read_text())
    sides = {str(i): "left" if pair["first_is_left"] else "right" for i, pair in enumerate(key["pairs"])}
    (work / "me.json").write_text(json.dumps({"test": key["test"], "sheet": "me", "answers": sides}))
    told = loquor("listen", "score", "blind.key.json", "me.json").text
    assert "A is better       2 of 2  (100%)" in told
    assert "1 listeners; lead of B -1.00" in told
    assert loquor("listen", "score", "blind.key.json", "me.json", "--json").json["lead"]["value"] == -1


def test_predictions_of_another_system_are_scored(loquor, tmp_path):
    work = tmp_path / "work"
    (work / "q.wav").write_bytes(b"")
    rows = [{"index": i, "audio_path": "q.wav", "question": "", "answer": right} for i, right in enumerate("abcd")]
    (work / "set.jsonl").write_text("\n".join(map(json.dumps, rows)))
    said = [{"index": i, "prediction": f"It is {letter}."} for i, letter in enumerate("abxd")]
    (work / "said.jsonl").write_text("\n".join(map(json.dumps, said)))
    figures = loquor("eval", "said.jsonl", "--set", "set.jsonl", "--json").json["figures"]
    assert figures["right"]["value"] == 0.75
    page = (work / "evaluation" / "report.html").read_text()
    assert "right: c" in page


def test_a_set_in_several_parts_is_one_evaluation(loquor, tmp_path):
    work = tmp_path / "work"
    for name, words in (("one", "hello there"), ("two", "hello you")):
        folder = work / name
        folder.mkdir()
        soundfile.write(folder / "a.wav", [0.0] * 2400, 24_000)
        (folder / "a.txt").write_text(words)
    (work / "said.jsonl").write_text(
        "\n".join(json.dumps({"id": f"{i}-a", "prediction": "hello there"}) for i in (1, 2))
    )
    done = loquor("eval", "said.jsonl", "--set", "one", "--set", "two", "--task", "transcribe", "--json")
    assert done.json["figures"]["wer"]["value"] == 0.25
    assert (work / "evaluation" / "report.html").read_text().count("<audio") == 2  # what was to be transcribed


def test_a_killed_run_goes_on_with_what_it_has(loquor, sentences, tmp_path, command, talkative, bare):
    shutil.copytree(talkative, tmp_path / "work" / "model")
    arguments = ["eval", "model", "--set", sentences, "-o", "out", "--players", "0"]
    process = subprocess.Popen([*command, *arguments], cwd=tmp_path / "work", stderr=subprocess.DEVNULL)
    cache = tmp_path / "work" / "out" / "cache"
    deadline = time.monotonic() + 120
    while not list(cache.rglob("*.performance.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path.name: path.stat().st_mtime_ns for path in cache.rglob("*.performance.json")}
    assert loquor(*arguments).code == 0
    after = {path.name: path.stat().st_mtime_ns for path in cache.rglob("*.performance.json")}
    assert len(after) == 2
    assert before.items() <= after.items()


def test_usage_errors_exit_with_2_and_ours_with_1(loquor, sentences, tmp_path):
    assert loquor("eval").code == 2
    assert loquor("eval", "compare", "one.json").code == 2
    missing = loquor("eval", "--set", "none.txt")
    assert (missing.code, missing.err.splitlines()[0]) == (1, "error: cannot read none.txt: No such file or directory")
    unable = loquor("eval", "moonshine", "--set", sentences)
    assert (unable.code, unable.err.splitlines()[0]) == (1, "error: moonshine can transcribe, not speak")


def test_without_the_extra_what_is_not_measured_is_told(loquor, sentences, tmp_path, bare):
    work = tmp_path / "work"
    (work / "wavs").mkdir()
    for number in ("0001", "0003"):
        soundfile.write(work / "wavs" / f"{number}.wav", [0.1, -0.1] * 24_000, 24_000)
    done = loquor("eval", "wavs", "--set", sentences)
    assert done.code == 0
    assert "not measured: words: the speech recogniser is missing" in done.err
    assert "Word error rate" not in done.text
    assert "Not measured" in (work / "evaluation" / "report.html").read_text()


def test_a_comparison_tells_what_is_unfair(loquor, tmp_path):
    work = tmp_path / "work"
    report([case("a"), case("b")], workers=2).save(work / "a.json")
    report([case("a", errors=1)], model="two").save(work / "b.json")
    done = loquor("eval", "compare", "a.json", "b.json")
    assert "note: workers: 2 in the first, 1 in the second" in done.text
