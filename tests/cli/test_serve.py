"""`loquor serve` and `loquor keys` from outside: a process that says where it is, speaks, and ends when told to."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import urllib.request

import pytest


@pytest.fixture
def served(command, toy_folder, tmp_path):
    """Starts `loquor serve` as a process; gives it, and the lines it printed first."""
    started = []

    def start(*options):
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        arguments = [
            *command,
            "serve",
            "-m",
            str(toy_folder),
            "--port",
            "0",
            "--voices",
            str(tmp_path / "up"),
            *options,
        ]
        process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
        )
        started.append(process)
        lines = [process.stdout.readline(), process.stdout.readline()]
        assert lines[1], process.communicate()[1]
        return process, lines

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_it_says_where_it_is_speaks_as_it_says_and_ends_in_order(served, tmp_path):
    process, (where, curl) = served("--slots", "3", "--audit-log", "audit.jsonl")
    url = re.search(r"http://127\.0\.0\.1:\d+", where)[0]
    assert "to 3 at once" in where and curl.startswith(f"curl -s {url}/v1/audio/speech")
    body = re.search(r"-d '(.*)' -o speech.mp3", curl)[1].encode()
    asked = urllib.request.Request(f"{url}/v1/audio/speech", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=60) as reply:
        assert reply.headers["content-type"] == "audio/mpeg" and len(reply.read()) > 500
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    (note,) = map(json.loads, (tmp_path / "audit.jsonl").read_text().splitlines())
    assert (note["protocol"], note["model"], note["outcome"]) == ("openai", "toy", "end")


def test_by_default_it_answers_to_names_of_this_machine_and_to_those_the_operator_allows(served):
    _, (where, _) = served("--allow-host", "tts.local", "--audit-log", "off")
    port = int(re.search(r"http://127\.0\.0\.1:(\d+)", where)[1])

    def status(host):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        client.request("GET", "/health", headers={"Host": host})
        answer = client.getresponse()
        answer.read()
        client.close()
        return answer.status

    assert [status(host) for host in ("localhost", "tts.local", "rebound.example")] == [200, 200, 403]


def test_what_is_wrong_is_told_before_the_model_is_loaded(loquor, toy_folder):
    done = loquor("serve", "-m", toy_folder, "--keys", "nowhere.json")
    assert done.code == 1 and "cannot read nowhere.json" in done.err and "loquor keys add" in done.err


def test_a_port_that_is_taken_is_named(loquor, toy_folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = loquor("serve", "-m", toy_folder, "--port", port)
    assert done.code == 1 and f"cannot listen on 127.0.0.1:{port}" in done.err


def test_home_assistant_has_a_port_of_its_own(served):
    process, _ = served("--wyoming-port", "0", "--audit-log", "off")
    port = int(re.search(r"tcp://127\.0\.0\.1:(\d+)", process.stdout.readline())[1])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client, client.makefile("rb") as answers:
        client.sendall(b'{"type": "describe"}\n')
        assert json.loads(answers.readline())["type"] == "info"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")


def test_keys_and_a_port_without_them_exclude_each_other(loquor, toy_folder):
    loquor("keys", "add", "ada", "--file", "keys.json")
    done = loquor("serve", "-m", toy_folder, "--keys", "keys.json", "--wyoming-port", "0")
    assert done.code == 1
    assert "whoever reaches that port could speak without one" in done.err and "--wyoming-without-keys" in done.err


def test_keys_are_made_listed_and_removed(loquor):
    made = loquor("keys", "add", "ada", "--per-minute", "60")
    assert made.code == 0 and re.fullmatch(r"lq-[\w-]{43}\n", made.text)
    loquor("keys", "add", "bob", "--at-once", "2")
    rows = loquor("keys", "list", "--json").json
    assert [(row["name"], row["per_minute"], row["at_once"]) for row in rows] == [("ada", 60, None), ("bob", None, 2)]
    assert loquor("keys", "remove", "ada").code == 0
    assert "ada" not in loquor("keys", "list").text
    gone = loquor("keys", "remove", "ada")
    assert gone.code == 1 and "no key called 'ada'" in gone.err
