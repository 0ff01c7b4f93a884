"""What the README shows works: every command of a console block, its output, and the Python."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import loquor

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSOLE = [
    line.removeprefix("$ ")
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("$ ")
]
COMMANDS = [line for line in CONSOLE if "loquor" in line]
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SCRIPT = Path(sys.executable).with_name("loquor")

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="loquor is not installed here: pip install -e .")


def run(command: str, folder: Path) -> str:
    path = f"{SCRIPT.parent}{os.pathsep}{os.environ['PATH']}"
    own = {"LOQUOR_VOICES": str(folder / "voices"), "LOQUOR_CACHE": str(folder / "cache")}
    environment = os.environ | {"PATH": path, "COLUMNS": "120"} | own
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def starts(command: str, folder: Path) -> None:
    """A server comes up, here on a free port, and goes when it is told to."""
    told = folder / "told"
    arguments = [*shlex.split(command, comments=True)[1:], "--port", "0"]
    with told.open("w") as output:
        server = subprocess.Popen([SCRIPT, *arguments], stdout=output, stderr=subprocess.STDOUT)
    try:
        while server.poll() is None and "speaks at http" not in told.read_text():
            time.sleep(0.1)
        assert server.poll() is None, told.read_text()
    finally:
        server.terminate()
    assert server.wait(60) == 0, told.read_text()


def without_numbers(text: str) -> str:
    return re.sub(r"\d+(\.\d+)?", "N", text).strip()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some seconds of somebody's speech."""
    speech = loquor.load().speak("This is how I sound when I read a long sentence to somebody.")
    return speech.save(tmp_path_factory.mktemp("recordings") / "somebody.wav")


@pytest.fixture
def folder(tmp_path: Path, recording: Path) -> Path:
    """What the commands expect to find where they run."""
    (tmp_path / "chapter.txt").write_text("Call me later. It is only the first chapter.", encoding="utf-8")
    (tmp_path / "talk.txt").write_text("Ada: Are you there?\nBob: I am.\n", encoding="utf-8")
    for name in ("ada.wav", "bob.wav"):
        shutil.copyfile(recording, tmp_path / name)
    (tmp_path / "src").symlink_to(ROOT / "src")
    return tmp_path


def test_the_first_forty_lines_show_a_command_its_output_and_the_same_in_python() -> None:
    head = "\n".join(README.splitlines()[:40])

    assert "$ make speak" in head and "```text" in head and "```python" in head and "$ make test" in head


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_works(command: str, folder: Path) -> None:
    if command.startswith("loquor serve"):
        starts(command, folder)
    else:
        run(command, folder)

    for name in re.findall(r"-o (\S+)", command):
        assert (folder / name).stat().st_size > 1000


def test_make_speak_writes_the_file_and_prints_the_line_the_readme_shows(tmp_path: Path) -> None:
    command = next(line for line in CONSOLE if line.startswith("make speak"))
    shown = re.search(r"```text\n(.*?)```", README, re.DOTALL)
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "loquor").symlink_to(SCRIPT)
    stamp = venv / ".speaks"
    stamp.touch()
    os.utime(stamp, (2**31, 2**31))  # newer than pyproject.toml: nothing to install

    printed = run(f"make -s -C {shlex.quote(str(ROOT))} VENV={venv} OUT={tmp_path}/speech.wav {command[5:]}", tmp_path)

    assert shown is not None
    assert without_numbers(printed.replace(f"{tmp_path}/", "")) == without_numbers(shown[1])
    assert (tmp_path / "speech.wav").stat().st_size > 24_000


def test_continuous_integration_runs_the_test_command_of_the_readme() -> None:
    assert "make test" in CONSOLE
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert shutil.which("make")


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.split("\n")[0])
def test_the_python_of_the_readme_runs(code: str, tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text(code, encoding="utf-8")

    printed = run(f"{shlex.quote(sys.executable)} shown.py", tmp_path)

    assert (tmp_path / "speech.wav").stat().st_size > 24_000
    assert re.search(r"\d s spoken, \d+ characters read, 3200 samples", printed)
