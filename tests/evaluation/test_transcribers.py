import importlib.util
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from loquor.errors import InputError, MissingExtra
from loquor.evaluation.transcribers import open_transcriber

SOUND = np.zeros(2400, dtype=np.float32)


@pytest.fixture
def server():
    """A server that writes down what it was asked, and answers with `server.answer`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.asked = (self.path, self.headers, body)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.server.answer)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        running.answer = json.dumps({"text": " Hello there. "}).encode()
        running.address = f"http://127.0.0.1:{running.server_port}/v1"
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_server_is_asked_as_openai_is(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    heard = open_transcriber(f"{server.address}#big-model", "fa").transcribe(SOUND, 24000)
    path, headers, body = server.asked
    assert (heard, path, headers["Authorization"]) == ("Hello there.", "/v1/audio/transcriptions", "Bearer secret")
    for part in (b'name="model"\r\n\r\nbig-model', b'name="language"\r\n\r\nfa', b'name="file"; filename', b"RIFF"):
        assert part in body


def test_a_server_that_answers_something_else_is_named(server):
    server.answer = b"<html>"
    with pytest.raises(InputError, match=server.address):
        open_transcriber(server.address).transcribe(SOUND, 24000)


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(InputError, match="does not transcribe"):
        open_transcriber("http://127.0.0.1:9/v1").transcribe(SOUND, 24000)


def test_moonshine_refuses_what_it_does_not_know():
    with pytest.raises(InputError, match="English only"):
        open_transcriber("moonshine", "fa")


def test_an_unknown_listener_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="no transcriber") as caught:
        open_transcriber("ears")
    assert "moonshine, whisper:MODEL" in caught.value.hint


@pytest.mark.skipif(importlib.util.find_spec("faster_whisper") is not None, reason="faster-whisper is installed")
def test_whisper_says_what_to_install():
    with pytest.raises(MissingExtra) as caught:
        open_transcriber("whisper:tiny")
    assert caught.value.hint == "pip install faster-whisper"
