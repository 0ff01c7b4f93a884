"""How `loquor` gets on with its neighbours: text that arrives slowly, readers that leave, signals, a terminal."""

import os
import pty
import re
import signal
import subprocess
import time

import pytest

FRAME_BYTES = 2 * 3200
PATIENCE_S = 60


@pytest.fixture
def start(command, tmp_path):
    """Starts a command in an empty folder; whatever is still running at the end goes."""
    running = []

    def begin(*arguments, **streams):
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        running.append(subprocess.Popen([*command, *map(str, arguments)], cwd=tmp_path, env=environment, **streams))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def test_speech_begins_while_text_is_still_arriving(start, toy_folder):
    process = start("speak", "-", "-m", toy_folder, "-o", "-", stdin=subprocess.PIPE)
    process.stdin.write(b"This sentence is long enough for a window of text, and ")
    process.stdin.flush()
    first = process.stdout.read(FRAME_BYTES)  # the pipe is open: it would block for ever if text had to end first
    process.stdin.write(b"so it goes on.")
    rest, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, len(first), len(rest) % FRAME_BYTES) == (0, FRAME_BYTES, 0)
    assert b"real-time factor" in err


def test_an_interrupted_command_leaves_nothing(start, talkative, tmp_path):
    codes = {signal.SIGINT: 130, signal.SIGTERM: 143}
    processes = {number: start("speak", "-", "-m", talkative, stdin=subprocess.PIPE) for number in codes}
    for process in processes.values():
        process.stdin.write(b"Hello there. " * 50)
        process.stdin.flush()
    deadline = time.monotonic() + PATIENCE_S
    while sum(file.stat().st_size > FRAME_BYTES for file in tmp_path.glob(".loquor-*")) < len(codes):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for number, process in processes.items():
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == codes[number]
        assert (process.stdout.read(), process.stderr.read()) == (b"", b"")
    assert not list(tmp_path.iterdir())


def test_a_reader_that_has_enough_ends_it_quietly(loquor, talkative):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout:
        done = loquor("-q", "speak", "Hello.", "-m", talkative, "-o", "-", stdout=stdout)
    assert (done.code, done.err) == (0, "")


def on_a_terminal(loquor, *arguments):
    """What a command shows on a terminal that is its stderr, and how it ended."""
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as terminal, open(theirs, "w") as stderr:
        os.set_blocking(ours, False)
        done = loquor(*arguments, stderr=stderr)
        return terminal.read(1 << 16) or b"", done


def test_the_progress_bar_is_for_terminals(loquor, talkative):
    shown, done = on_a_terminal(loquor, "speak", "Hello.", "-m", talkative)
    assert b"s spoken, real-time factor" in shown
    assert done.text.startswith("speech.wav: ")
    shown, _ = on_a_terminal(loquor, "-q", "speak", "Hello.", "-m", talkative)
    assert shown == b""


def test_colour_is_left_out_on_request(loquor, talkative, monkeypatch):
    colour = re.compile(rb"\x1b\[[\d;]*m")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert colour.search(on_a_terminal(loquor, "speak", "Hello.", "-m", talkative)[0])
    monkeypatch.setenv("NO_COLOR", "1")
    codes = colour.findall(on_a_terminal(loquor, "speak", "Hello.", "-m", talkative)[0])
    assert not any(re.search(rb"[\[;]3\d|38;", code) for code in codes)
