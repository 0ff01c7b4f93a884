"""Being told to stop ends the program as it should, whatever a library makes of the exception."""

import os
import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os
from loquor.cli import interruption, main

@main.app.command("wait")
def wait() -> None:
    with interruption.when_interrupted(lambda: print("finished parts are kept", flush=True)):
        try:
            {happens}
        except BaseException as told:
            raise {error} from told

main.run()
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, "wait"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("error", ["told", 'ValueError("no shape")', 'main.LoquorError("cannot read")'])
def test_the_exit_code_is_the_signal_s_and_the_word_is_said(number, error):
    done = run(PROGRAM.format(happens=f"os.kill(os.getpid(), {int(number)})", error=error))
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "finished parts are kept\n", "")


def test_an_error_that_nobody_asked_for_is_still_one():
    done = run(PROGRAM.format(happens="raise OSError", error="ValueError(7)"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "ValueError: 7" in done.stderr
