"""`loquor talk`: what a language model writes is said and shown while it comes, and Ctrl-C silences it."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import soundfile

from toy_longform import write_toy as write_longform

FRAME_BYTES = 2 * 3200
PATIENCE_S = 60
ANSWER = "The sky is blue, because air scatters the blue part of sunlight most."


class LanguageServer(ThreadingHTTPServer):
    """OpenAI's chat interface with a model that says the same to everybody, piece by piece."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []  # headers and bodies
        self.answers = [ANSWER]  # the last one again and again
        self.raw = None  # lines instead of an answer
        self.status = 200
        self.location = ""  # of what was asked for
        self.held = threading.Event()  # the second half of an answer waits for it
        self.held.set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null")
        server.asked.append((self.path, dict(self.headers), body))
        self.send_response(server.status)
        if server.location:
            self.send_header("Location", server.location)
        self.send_header("Content-Type", "text/event-stream" if server.status == 200 else "application/json")
        self.end_headers()
        answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
        for line in server.raw if server.raw is not None else self.events(answer):
            self.wfile.write(line)
            self.wfile.flush()

    def do_GET(self):
        self.do_POST()  # where urllib is sent on, it asks so

    def events(self, answer):
        yield b": warming up\n\n"
        yield b'data: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}\n\n'
        for at in range(0, len(answer), 4):
            if at >= len(answer) // 2:
                self.server.held.wait(PATIENCE_S)
            delta = {"content": answer[at : at + 4]}
            yield f"data: {json.dumps({'choices': [{'delta': delta}]})}\n\n".encode()
        yield b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'
        yield b'data: {"choices": [], "usage": {"total_tokens": 9}}\n\ndata: [DONE]\n\n'

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with LanguageServer() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.held.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def talk(loquor, server, toy_folder):
    """`loquor talk` to the language model, with the toy's voice."""

    def run(*arguments, **streams):
        return loquor("talk", "--llm", server.url, "--model", "parrot", "-m", toy_folder, *arguments, **streams)

    return run


class Loudspeaker:
    """A device that takes its time, and may be disturbed."""

    def __init__(self, at_slice=None, disturb=None):
        self.slices, self.calls, self._at, self._disturb = 0, [], at_slice, disturb

    def write(self, samples):
        self.slices += 1
        time.sleep(0.01)
        if self.slices == self._at:
            self._disturb()

    def __getattr__(self, name):
        return lambda: self.calls.append(name)


@pytest.fixture
def loudspeakers(monkeypatch):
    """The devices that were opened; `at` a slice of the first one, something happens."""
    opened = []

    def plug(at=None, disturb=None):
        def open_stream(**_):
            opened.append(Loudspeaker(at, disturb) if not opened else Loudspeaker())
            return opened[-1]

        fake = SimpleNamespace(OutputStream=open_stream, PortAudioError=OSError)
        monkeypatch.setitem(sys.modules, "sounddevice", fake)
        return opened

    return plug


def test_an_answer_is_asked_for_shown_and_said(talk, server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    done = talk("Why is the sky blue?", "-o", "answer.wav", "--system", "Be brief.")
    assert (done.code, done.text) == (0, f"{ANSWER}\n")
    assert done.err == f"answer.wav: {soundfile.info('answer.wav').duration:.2f} s of speech\n"
    ((path, headers, body),) = server.asked
    assert (path, headers["Authorization"]) == ("/v1/chat/completions", "Bearer sk-secret")
    assert (body["model"], body["stream"]) == ("parrot", True)
    assert [(m["role"], m["content"]) for m in body["messages"]] == [
        ("system", "Be brief."),
        ("user", "Why is the sky blue?"),
    ]


def test_a_key_goes_to_the_server_it_is_for_and_not_where_that_sends_us(talk, server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with LanguageServer() as elsewhere:
        thread = threading.Thread(target=elsewhere.serve_forever)
        thread.start()
        server.status, server.raw, server.location = 302, [], f"{elsewhere.url}/chat/completions"
        talk("Why?", "-o", "answer.wav")
        elsewhere.shutdown()
        thread.join()
    assert server.asked[0][1]["Authorization"] == "Bearer sk-secret"
    assert elsewhere.asked and all("Authorization" not in headers for _, headers, _ in elsewhere.asked)


def test_it_says_what_speak_says_of_the_same_text(talk, loquor, toy_folder):
    talk("Why?", "-o", "answer.wav")
    loquor("speak", ANSWER, "-m", toy_folder, "-o", "whole.wav")
    assert (soundfile.read("answer.wav")[0] == soundfile.read("whole.wav")[0]).all()


def test_turns_know_those_before_them(talk, server):
    server.answers = ["I am a parrot.", "Since I was born."]
    done = talk("-o", "reply.wav", "--system", "", stdin=b"Who are you?\n\nSince when?\n")
    assert done.text == "I am a parrot.\nSince I was born.\n"
    assert soundfile.info("reply-1.wav").frames and soundfile.info("reply-2.wav").frames
    assert [(m["role"], m["content"]) for m in server.asked[1][2]["messages"]] == [
        ("user", "Who are you?"),
        ("assistant", "I am a parrot."),
        ("user", "Since when?"),
    ]


def test_by_default_it_is_played(talk, loudspeakers, tmp_path):
    opened = loudspeakers()
    done = talk("Why?")
    (device,) = opened
    assert (done.code, done.text, done.err) == (0, f"{ANSWER}\n", "")
    assert device.slices and device.calls == ["start", "stop", "close"]
    assert not list((tmp_path / "work").iterdir())


def test_what_arrives_on_standard_input_is_said_too(loquor, toy_folder):
    done = loquor("talk", "-m", toy_folder, "-o", "-", stdin=ANSWER.encode())
    assert done.out == loquor("speak", ANSWER, "-m", toy_folder, "-o", "-").out
    assert done.err == f"{ANSWER}\n"


@pytest.mark.parametrize(
    ("backend", "code", "told"),
    [("torch", 0, ANSWER), ("openvino", 1, "which runs on torch only"), ("onnx", 2, "--backend")],
)
def test_one_chooses_what_runs_the_voice(loquor, tmp_path, backend, code, told):
    folder = write_longform(tmp_path / "long")
    done = loquor("talk", "-m", folder, "--backend", backend, "-o", "said.wav", stdin=ANSWER.encode())
    assert done.code == code and told in done.text + done.err


@pytest.fixture
def start(command, tmp_path):
    """Starts `loquor talk` in an empty folder; what is still running at the end goes."""
    running = []

    def begin(*arguments):
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        line = [*command, "talk", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        running.append(subprocess.Popen(line, cwd=tmp_path, env=environment, **pipes))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def test_speech_begins_while_the_answer_is_still_written_and_stops_cleanly(start, server, talkative, tmp_path):
    server.held.clear()
    process = start("--llm", server.url, "--model", "parrot", "-m", talkative, "-o", "-", "Why?")
    assert len(process.stdout.read(FRAME_BYTES)) == FRAME_BYTES  # the other half of the answer is not written yet
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130 and ANSWER.encode().startswith(err)
    assert not list(tmp_path.iterdir())


def test_ctrl_c_ends_an_answer_and_not_the_conversation(loquor, server, talkative, loudspeakers):
    """The language model is told what was heard of the answer that was cut off."""
    opened = loudspeakers(at=12, disturb=lambda: os.kill(os.getpid(), signal.SIGINT))
    server.answers = [f"{ANSWER} And so on. " * 3, "Fine."]
    ours, theirs = pty.openpty()
    with open(ours, "wb", buffering=0) as keyboard, open(theirs) as terminal:
        keyboard.write(b"Why?\nStop.\n\x04")
        arguments = ("--llm", server.url, "--model", "parrot", "-m", talkative, "--system", "")
        done = loquor("talk", *arguments, stdin=terminal)
    assert done.code == 0
    assert len(opened) == 2 and opened[0].calls == ["start", "close"]  # silent at once, nothing played to its end
    question, answer, after = server.asked[1][2]["messages"]
    assert (question["content"], after["content"]) == ("Why?", "Stop.")
    assert ANSWER.startswith(answer["content"]) and 0 < len(answer["content"]) < len(ANSWER)
    assert done.text == f"{answer['content']} ...\nFine.\n"


@pytest.mark.parametrize(
    ("status", "raw", "message"),
    [
        (404, [b'{"error": {"message": "no model parrot"}}'], "answers 404: no model parrot"),
        (401, [b"who are you?"], "answers 401: Unauthorized"),
        (404, [b'{"error": {"message": null}}'], "answers 404: Not Found"),
        (200, [b'data: {"error": "out of memory"}\n\n'], "broke off: out of memory"),
        (200, [b"data: {}\n\n"], "does not speak OpenAI's chat interface: {}"),
        (200, [b"data: [DONE]\n\n"], "there was nothing that can be spoken"),
    ],
)
def test_what_goes_wrong_at_the_server_is_told_in_its_words(talk, server, tmp_path, status, raw, message):
    server.status, server.raw = status, raw
    done = talk("Why?", "-o", "answer.wav")
    assert done.code == 1 and message in done.err
    assert not list((tmp_path / "work").iterdir())


def test_a_mistake_does_not_end_a_conversation_on_a_terminal(loquor, server, toy_folder):
    server.answers = ["...", "Fine."]
    ours, theirs = pty.openpty()
    with open(ours, "wb", buffering=0) as keyboard, open(theirs) as terminal:
        keyboard.write(b"Why?\nAgain.\n\x04")
        arguments = ("--llm", server.url, "--model", "parrot", "-m", toy_folder, "-o", "reply.wav")
        done = loquor("talk", *arguments, stdin=terminal)
    assert done.code == 0 and "error: there was nothing that can be spoken" in done.err
    assert [m["content"] for m in server.asked[1][2]["messages"]][1:] == ["Again."]


def test_a_server_that_is_not_there_is_named(loquor, toy_folder):
    done = loquor("talk", "--llm", "http://127.0.0.1:9/v1", "--model", "x", "Hi.", "-m", toy_folder, "-o", "a.wav")
    assert done.code == 1 and "http://127.0.0.1:9/v1 does not answer: " in done.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["Hello."], "PROMPT"),
        (["--model", "parrot"], "--model"),
        (["--llm", "http://localhost/v1", "Hello."], "--model"),
    ],
)
def test_options_that_miss_one_another_are_a_usage_error(loquor, arguments, named):
    done = loquor("talk", *arguments)
    assert done.code == 2 and named in done.err


def test_an_address_must_be_one(loquor):
    done = loquor("talk", "--llm", "localhost:11434", "--model", "x", "Hi.")
    assert done.code == 1 and "'localhost:11434' is no address" in done.err
