"""A whole data set: what is written, and that nothing but its source and settings decides a byte of it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from loquor.checkpoints import PARTIAL
from loquor.errors import InputError
from loquor.training.dataset import build
from loquor.training.dataset.build import Progress, prepare_dataset
from loquor.training.dataset.indexing import read_dropped, read_records, read_report
from loquor.training.dataset.settings import Settings
from loquor.training.dataset.shards import Job
from loquor.training.dataset.sources import open_source
from loquor.training.dataset.workers import in_processes, in_this_process
from training.recordings import speech, text, write, write_model, write_pairs

SETTINGS = Settings(language="en", shard_items=3, validation=0.3, keep_audio=True)
COUNT = 8


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return open_source(write_pairs(tmp_path_factory.mktemp("pairs"), COUNT))


@pytest.fixture(scope="module")
def whole(model, source, tmp_path_factory):
    """What an undisturbed run makes."""
    folder = tmp_path_factory.mktemp("whole") / "set"
    prepare_dataset(source, folder, Job(model, SETTINGS))
    return contents(folder)


def contents(folder):
    """Every file and its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_data_set_has_shards_an_index_a_report_and_plots(whole):
    shards = [f"shards/shard-00000{i}.safetensors" for i in range(3)]
    plots = [f"plots/{name}.png" for name in ("durations", "levels", "paces")]
    files = ["index.json", "items.jsonl", "dropped.jsonl", "report.json", "plan.json", ".lock", *shards, *plots]
    assert sorted(whole) == sorted(files)
    facts = json.loads(whole["index.json"])
    assert facts["shards"] == [Path(name).name for name in shards]
    assert (facts["hop_samples"], facts["channels"], facts["stored"]) == (3200, {"latents": 8}, "float16")
    assert len(whole["items.jsonl"].splitlines()) == COUNT


KILLED = """
import os, signal, sys
from pathlib import Path
from loquor.training.dataset.build import prepare_dataset
from loquor.training.dataset.settings import Settings
from loquor.training.dataset.shards import Job
from loquor.training.dataset.sources import open_source

left, replaced = int(sys.argv[4]), Path.replace

def replace(path, target):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return replaced(path, target)

Path.replace = replace
settings = Settings(language="en", shard_items=3, validation=0.3, keep_audio=True)
prepare_dataset(open_source(Path(sys.argv[1])), Path(sys.argv[2]), Job(Path(sys.argv[3]), settings))
"""


@pytest.mark.parametrize("files", [3, 7], ids=["at the second shard", "in the middle of the index"])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(model, source, whole, tmp_path, files):
    arguments = [sys.executable, "-c", KILLED, source.path, tmp_path, model, str(files)]
    environment = os.environ | {"PYTHONPATH": str(Path(build.__file__).parents[3])}
    killed = subprocess.run(arguments, env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    left = contents(tmp_path)
    assert "index.json" not in left and any(Path(name).name.startswith(PARTIAL) for name in left)

    seen = []
    prepare_dataset(source, tmp_path, Job(model, SETTINGS), progress=seen.append)

    assert contents(tmp_path) == whole
    assert seen[0].items == (3 if files == 3 else COUNT)
    assert (seen[-1].items, seen[-1].total, seen[-1].kept) == (COUNT, COUNT, COUNT)


def test_processes_make_the_same_bytes(model, source, whole, tmp_path):
    prepare_dataset(source, tmp_path, Job(model, SETTINGS), in_processes(2))
    assert contents(tmp_path) == whole


def test_the_order_in_which_shards_are_finished_changes_nothing(model, source, whole, tmp_path):
    def backwards(job, codec, tasks):
        return reversed(list(in_this_process(job, codec, tasks)))

    prepare_dataset(source, tmp_path, Job(model, SETTINGS), backwards)
    assert contents(tmp_path) == whole


def test_a_finished_set_is_left_as_it_is(model, source, whole, tmp_path):
    prepare_dataset(source, tmp_path, Job(model, SETTINGS))

    def nobody(job, codec, tasks):
        assert not list(tasks)
        return iter(())

    prepare_dataset(source, tmp_path, Job(model, SETTINGS), nobody)
    assert contents(tmp_path) == whole


def test_a_damaged_shard_is_made_again(model, source, whole, tmp_path, caplog):
    prepare_dataset(source, tmp_path, Job(model, SETTINGS))
    shard = tmp_path / "shards" / "shard-000001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])

    prepare_dataset(source, tmp_path, Job(model, SETTINGS))

    assert contents(tmp_path) == whole
    assert "shard-000001" in caplog.text


def test_other_settings_are_noticed_and_named(model, source, tmp_path):
    prepare_dataset(source, tmp_path, Job(model, SETTINGS))
    before = contents(tmp_path)
    other = Job(model, replace(SETTINGS, longest_s=9.0, speaker="ada"))

    with pytest.raises(InputError, match=r"--speaker was , is ada; --longest was 15.0, is 9.0$") as error:
        prepare_dataset(source, tmp_path, other)

    assert "--restart" in error.value.hint
    assert contents(tmp_path) == before
    (tmp_path / "notes.txt").write_text("mine")
    prepare_dataset(source, tmp_path, other, restart=True)
    assert {record.speaker for record in read_records(tmp_path)} == {"ada"}
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("change", ["text", "sound", "more", "model"])
def test_another_source_or_model_is_noticed(model, tmp_path, change):
    folder, out = write_pairs(tmp_path / "pairs", 2), tmp_path / "set"
    prepare_dataset(open_source(folder), out, Job(model, SETTINGS))
    if change == "text":
        (folder / "000.txt").write_text("Something else.")
    elif change == "sound":
        write(folder / "000.wav", speech(0.6, seed=7))  # as many bytes
        os.utime(folder / "000.wav", (2**31, 2**31))
    elif change == "more":
        shutil.copy(folder / "000.wav", folder / "x.wav")
    elif change == "model":
        model = write_model_like(tmp_path / "other")
    with pytest.raises(InputError, match="was begun with something else: " + ("codec" if change == "model" else "so")):
        prepare_dataset(open_source(folder), out, Job(model, SETTINGS))


def write_model_like(folder):
    from loquor.models import family_of

    write_model(folder)
    family = family_of(folder)
    model = family.load(folder, None)
    with torch.no_grad():
        model.codec.encoder.head.bias += 0.1
    family.layouts["original"](model, folder, None, 10**9)
    return folder


def test_a_set_may_lie_elsewhere_than_when_it_was_begun(model, tmp_path):
    folder, out = write_pairs(tmp_path / "pairs", 2), tmp_path / "set"
    prepare_dataset(open_source(folder), out, Job(model, SETTINGS))
    moved = folder.rename(tmp_path / "moved")
    prepare_dataset(open_source(moved), out, Job(model, SETTINGS))


def test_two_runs_do_not_share_a_folder(model, source, tmp_path):
    def meanwhile(job, codec, tasks):
        with pytest.raises(InputError, match="is in work"):
            prepare_dataset(source, tmp_path, job)
        return in_this_process(job, codec, tasks)

    prepare_dataset(source, tmp_path, Job(model, SETTINGS), meanwhile)


def test_a_folder_with_something_else_is_left_alone(model, source, tmp_path):
    (tmp_path / "thesis.tex").write_text("...")
    for restart in (False, True):
        with pytest.raises(InputError, match=r"holds something else: thesis\.tex"):
            prepare_dataset(source, tmp_path, Job(model, SETTINGS), restart=restart)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match="is a file"):
        prepare_dataset(source, tmp_path / "thesis.tex", Job(model, SETTINGS))


def test_an_empty_source_is_refused(model, tmp_path):
    (tmp_path / "list.jsonl").write_text("\n")
    with pytest.raises(InputError, match="no recordings"):
        prepare_dataset(open_source(tmp_path / "list.jsonl"), tmp_path / "set", Job(model, SETTINGS))
    assert not (tmp_path / "set").exists()


@pytest.fixture
def troubled(tmp_path):
    """Eight items, of which three can be used."""
    folder = write_pairs(tmp_path / "pairs", 2)
    write(folder / "x" / "other.wav", speech(0.6, seed=9))
    (folder / "x" / "other.txt").write_text("Another.")
    for copy in ("000", "x/other"):
        shutil.copy(folder / f"{copy}.wav", folder / "x" / f"z{copy[-1]}.wav")
        (folder / "x" / f"z{copy[-1]}.txt").write_text("Again.")
    (folder / "torn.wav").write_bytes(b"RIFF????WAVE")
    (folder / "torn.txt").write_text("Hello.")
    write(folder / "alone.wav", speech(0.6, seed=10))
    (folder / "said.txt").write_text("By nobody.")
    return folder


def test_every_item_is_in_the_set_or_listed_with_a_reason(model, troubled, tmp_path):
    report = prepare_dataset(open_source(troubled), tmp_path / "set", Job(model, replace(SETTINGS, shard_items=2)))

    assert [record.id for record in read_records(tmp_path / "set")] == ["000", "001", "x/other"]
    found = {one.id: one.reason for one in read_dropped(tmp_path / "set")}
    assert found == {
        "alone": "no-text",
        "torn": "unreadable",
        "said": "no-sound",
        "x/z0": "duplicate",
        "x/zr": "duplicate",
    }
    assert report.dropped == {"no-text": 1, "no-sound": 1, "unreadable": 1, "duplicate": 2}
    assert report == read_report(tmp_path / "set")
    assert report.kept.items == 3
    assert {name: share.items for name, share in report.speakers.items()} == {"": 2, "x": 1}
    assert sum(share.items for share in report.splits.values()) == 3
    assert report.kept.hours == pytest.approx(3 * 0.6 / 3600, abs=1e-4)


def test_the_second_of_two_names_is_dropped(model, tmp_path):
    write_pairs(tmp_path, 2)
    rows = [{"id": "same", "audio": f"00{i}.wav", "text": text(0.6)} for i in range(2)]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    prepare_dataset(open_source(tmp_path / "list.jsonl"), tmp_path / "set", Job(model, SETTINGS))
    (dropped,) = read_dropped(tmp_path / "set")
    assert (dropped.id, dropped.reason) == ("same", "duplicate")


def test_a_file_whose_name_is_no_text_is_an_item_like_others(model, tmp_path):
    folder = write_pairs(tmp_path / "pairs", 2)
    for suffix in (".wav", ".txt"):
        os.rename(folder / f"000{suffix}", os.fsencode(folder) + b"/n\xe4he" + suffix.encode())
    prepare_dataset(open_source(folder), tmp_path / "set", Job(model, SETTINGS))
    assert [record.id for record in read_records(tmp_path / "set")] == ["001", "n\udce4he"]


@pytest.mark.parametrize(
    ("settings", "warning"),
    [
        (Settings(validation=0.0, language="en"), "no item fell to validation"),
        (Settings(validation=1.0, language="en"), "every item fell to validation"),
        (Settings(validation=0.5), "2 texts of no stated language"),
        (Settings(validation=0.5, language="de"), "texts in de are as written"),
        (Settings(language="en", shortest_s=5.0), "nothing is left"),
    ],
)
def test_the_report_warns_of_what_will_go_wrong_later(model, tmp_path, settings, warning):
    folder = write_pairs(tmp_path / "pairs", 2)
    report = prepare_dataset(open_source(folder), tmp_path / "set", Job(model, settings))
    assert any(line.startswith(warning) for line in report.warnings)


def test_progress_counts_items_and_sound(model, source, tmp_path):
    seen = []
    prepare_dataset(source, tmp_path, Job(model, SETTINGS), progress=seen.append)
    assert [at.items for at in seen] == [0, 3, 6, 8]
    assert seen[-1] == Progress(COUNT, COUNT, COUNT, pytest.approx(COUNT * 0.6, abs=0.1))
