"""`loquor train`: the guide's commands, a run that is killed for real, and two processes that learn as one."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file

from loquor.training.export import export_tuned
from loquor.training.plots import read_curves
from training.ailing import prepare_sound
from training.tunable import QUICK, recipe, tune

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "training.md"
STEPS = 60


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return prepare_sound(tmp_path_factory.mktemp("tunable"), "realtime")


def arguments(place, out, *changes):
    where = [f"data={place['data']}", f"model={place['model']}", f"out={out}"]
    return ["train", "realtime-lora", *where, *QUICK, *changes, "--device", "cpu"]


def environment():
    threads = str(torch.get_num_threads())  # sums are parted by it
    return os.environ | {"OMP_NUM_THREADS": threads, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_the_command_explains_itself_with_examples(loquor):
    done = loquor("train", "--help")
    assert (done.code, done.err) == (0, "")
    assert "    loquor train realtime-lora data=./prepared out=./run" in done.text.splitlines()


def test_the_commands_of_the_guide_lead_from_recordings_to_speech(loquor, place):
    shutil.copytree(place["model"], "base")
    shutil.copytree(place["data"].parent / "pairs", "recordings")
    lines = [line[2:] for line in GUIDE.read_text(encoding="utf-8").splitlines() if line.startswith("$ ")]
    commands = [line for line in lines if line.startswith("loquor ")]
    assert len(commands) == 9
    for line in commands:
        command, _, file = line.partition(" > ")
        done = loquor(*shlex.split(command)[1:])
        assert done.code == 0, f"{line}: {done.err}"
        if file:
            values = yaml.safe_load(done.text)
            values["optimiser"] |= {"steps": 2, "warmup_steps": 1, "precision": "float32"}
            values["watch"] |= {"validate_every": 1, "sample_every": 2}
            Path(file).write_text(yaml.safe_dump(values))
    assert Path("morning.wav").stat().st_size > 1000 and Path("softer.wav").stat().st_size > 1000
    tuned, merged = (load_file(f"{folder}/model.safetensors") for folder in ("run/model", "merged"))
    for name, weight in tuned.items():
        torch.testing.assert_close(merged[name], weight, rtol=1e-4, atol=1e-5)
    found = {path.name for path in Path("run").iterdir()}
    assert found == {"adapter", "curves", "model", "plots", "run.json", "samples", "training.safetensors"}
    assert {"loss", "valid/loss", "diffusion", "end", "rate"} <= set(read_curves(Path("run")))


def test_a_recipe_can_be_shown_with_its_changes(loquor):
    done = loquor("train", "longform-lora", "lora.rank=4", "--show")
    values = yaml.safe_load(done.text)
    assert (done.code, values["lora"]["rank"], values["family"]) == (0, 4, "longform")
    assert loquor("train", "longform-lora", "lora.rank=4", "--show", "--json").json == values


def test_at_the_end_it_says_what_came_out(loquor, place, tmp_path):
    out = tmp_path / "out"
    command = arguments(place, out, "optimiser.steps=2", "watch.validate_every=1", "watch.sample_every=2")
    done = loquor(*command)
    facts = loquor(*command, "--json").json  # a run that is at its end only says so again
    curves = {name: values[-1] for name, (_, values) in read_curves(out).items()}
    assert done.text.splitlines()[:3] == [
        f"model: {out / 'model'}",
        f"adapter: {out / 'adapter'}",
        f"loss after 2 steps: {curves['loss']:.4f} in training, {curves['valid/loss']:.4f} in validation",
    ]
    assert [facts[name] for name in ("folder", "model", "adapter", "steps")] == [
        str(out), str(out / "model"), str(out / "adapter"), 2
    ]  # fmt: skip
    assert facts["training"] == {name: curves[name] for name in ("loss", "diffusion", "end")}
    assert facts["validation"] == {name: curves[f"valid/{name}"] for name in ("loss", "diffusion", "end")}
    measures = {name.removeprefix("samples/"): value for name, value in curves.items() if name.startswith("samples/")}
    assert facts["samples"] == measures
    assert measures or "pip install" in done.err


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["realtime-lore"], "there is no recipe realtime-lore", "realtime-lora"),
        (["realtime-lora", "lora.rnk=3"], "there is no key lora.rnk", "did you mean lora.rank?"),
        (["realtime-lora"], "the recipe does not say data", "add data=./prepared"),
    ],
)
def test_mistakes_are_told_in_two_lines(loquor, toy_folder, words, message, hint):
    done = loquor("train", *words, *([f"model={toy_folder}"] if words == ["realtime-lora"] else []), "--device", "cpu")
    error, advice = done.err.splitlines()
    assert (done.code, done.out) == (1, b"")
    assert error.startswith("error: ") and message in error
    assert advice.startswith("hint: ") and hint in advice


def test_a_run_killed_for_real_and_repeated_equals_one_that_was_not(command, place, tmp_path):
    changes = (f"optimiser.steps={STEPS}", "watch.save_every=3")
    tune(recipe(place, "realtime-lora", tmp_path / "whole", *changes))

    run = [*command, *arguments(place, tmp_path / "killed", *changes)]
    process = subprocess.Popen(run, env=environment(), stdout=subprocess.DEVNULL)
    file = tmp_path / "killed" / "training.safetensors"
    deadline = time.monotonic() + 60
    while not file.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with safe_open(file, framework="pt") as saved:
        assert 0 < int(saved.metadata()["step"]) < STEPS
    tune(recipe(place, "realtime-lora", tmp_path / "killed", *changes))

    whole, killed = load_file(tmp_path / "whole" / "training.safetensors"), load_file(file)
    assert whole.keys() == killed.keys()
    assert [name for name in whole if not torch.equal(whole[name], killed[name])] == []


def launch(program, launcher, words):
    """Run `loquor` in two processes by accelerate's launcher."""
    machines = ["--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"]
    plain = ["--mixed_precision", "no", "--dynamo_backend", "no"]
    run = [sys.executable, "-m", "accelerate.commands.launch", *launcher, *machines, *plain, str(program), *words]
    done = subprocess.run(run, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done


def assert_same_curves(one, two):
    one, two = read_curves(one), read_curves(two)
    assert one.keys() == two.keys() and one["loss"][0] == [1, 2, 3, 4, 5, 6]
    for name in ("loss", "diffusion", "end", "gradient_norm", "valid/loss", "rate"):
        assert two[name][1] == pytest.approx(one[name][1], rel=1e-4)


@pytest.fixture
def program(command, tmp_path):
    path = tmp_path / "program.py"
    path.write_text(command[2])
    return path


def test_two_processes_have_the_loss_curve_of_one(program, place, tmp_path):
    changes = ("watch.validate_every=1", "loss.text_drop=0.3", "batch.accumulation=3")
    done = launch(program, ["--multi_gpu"], arguments(place, tmp_path / "two", *changes))
    folders = [f"{name}: {tmp_path / 'two' / name}" for name in ("model", "adapter")]
    assert done.stdout.splitlines()[:2] == folders

    tune(recipe(place, "realtime-lora", tmp_path / "one", *changes))

    assert_same_curves(tmp_path / "one", tmp_path / "two")


def test_a_model_cut_up_over_two_processes_goes_on_from_one_and_learns_the_same(program, place, tmp_path):
    changes = ["watch.validate_every=1", "loss.text_drop=0.8", "batch.accumulation=3", "watch.samples=[Rain.]"]
    seeing = [*changes, "watch.sample_every=6", "watch.judge=false"]
    whole = recipe(place, "realtime-full", tmp_path / "one", *seeing)
    export_tuned(tune(whole).task, whole, tmp_path / "one")

    tune(recipe(place, "realtime-full", tmp_path / "two", *changes), stop_at=3)  # saved at step 2
    words = arguments(place, tmp_path / "two", *seeing)
    words[words.index("realtime-lora")] = "realtime-full"
    launch(program, ["--use_fsdp", "--fsdp_version", "2"], words)

    assert_same_curves(tmp_path / "one", tmp_path / "two")
    for name in ("training.safetensors", "model/model.safetensors"):
        one, two = load_file(tmp_path / "one" / name), load_file(tmp_path / "two" / name)
        assert one.keys() == two.keys()
        for key, expected in one.items():
            torch.testing.assert_close(two[key], expected, rtol=1e-3, atol=1e-4)  # each step moved them by 1e-2
    for run in ("one", "two"):
        assert [path.name for path in (tmp_path / run / "samples").iterdir()] == ["step-000006-0.wav"]
