"""`loquor` from outside: a model of the real architecture in miniature, and a way to run commands in this process."""

import contextlib
import importlib.util
import json
import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from loquor.cli.main import run
from loquor.models.realtime.checkpoint import export_realtime, load_realtime
from toy import named_voice, toy_config, toy_model, write_toy


def write_model(folder, end_bias):
    """A toy with the published frame of 3200 samples and two voices; long text is several utterances."""
    config = toy_config(context=2048, utterance_tokens=20, patch_samples=200)
    write_toy(folder, end_bias, config)
    named_voice(toy_model(config), "en-Ada_woman", seed=1).save(folder / "voices" / "en-Ada_woman.safetensors")
    return folder


def toy_without_encoder(folder, end_bias=100):
    """A toy as the released Realtime checkpoints are."""
    model = load_realtime(write_model(folder, end_bias))
    model.codec.encoder = None
    (folder / "model.safetensors").unlink()
    export_realtime(model, folder)
    return folder


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory):
    """A model that says one frame, 0.133 s, an utterance."""
    return write_model(tmp_path_factory.mktemp("models") / "toy", end_bias=100)


@pytest.fixture(scope="session")
def talkative(tmp_path_factory):
    """A model that never ends by itself: it says some ten seconds."""
    return write_model(tmp_path_factory.mktemp("models") / "talkative", end_bias=-100)


@pytest.fixture(autouse=True)
def own_voices(tmp_path, monkeypatch):
    """A user's folder of the test's own, not there yet."""
    folder = tmp_path / "home" / "voices"
    monkeypatch.setenv("LOQUOR_VOICES", str(folder))
    return folder


@pytest.fixture
def audio(tmp_path):
    """Five seconds of noise in syllables."""
    t = np.arange(5 * 24000) / 24000
    path = tmp_path / "en-Ada.wav"
    soundfile.write(path, 0.1 * np.sin(2 * np.pi * 3 * t) * np.random.default_rng(0).standard_normal(len(t)), 24000)
    return path


@pytest.fixture
def bare(monkeypatch):
    """As after `pip install loquor`: no instrument that listens."""
    found = importlib.util.find_spec
    weights = ("silero_vad", "speechmos", "resemblyzer", "moonshine_voice")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name in weights else found(name))


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: bytes
    err: str

    @property
    def text(self):
        return self.out.decode()

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def loquor(capfdbinary, monkeypatch, tmp_path):
    """Runs a command as the shell would, in an empty folder: `loquor("speak", "Hello.", stdin=b"")`.

    `stdin` is what a pipe holds, or a file to read from; `streams` replace stdout or stderr.
    """
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def invoke(*arguments, stdin=b"", **streams):
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(stdin if isinstance(stdin, bytes) else b"")
        monkeypatch.setattr(sys, "argv", ["loquor", *map(str, arguments)])
        capfdbinary.readouterr()
        with os.fdopen(reading) as pipe, as_it_was():
            for name, stream in ({"stdin": pipe if isinstance(stdin, bytes) else stdin} | streams).items():
                monkeypatch.setattr(sys, name, stream)
            with pytest.raises(SystemExit) as end:
                run()
        out, err = capfdbinary.readouterr()
        return Done(end.value.code, out, err.decode())

    return invoke


@contextlib.contextmanager
def as_it_was():
    """A command is a process of its own elsewhere: what it sets for the process is set back here."""
    root, ours = logging.getLogger(), logging.getLogger("loquor")
    kept = root.handlers[:], root.level, ours.level
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        root.handlers[:] = kept[0]
        root.setLevel(kept[1])
        ours.setLevel(kept[2])
        for number, handler in signals.items():
            signal.signal(number, handler)


@pytest.fixture
def command():
    """The command line of a real process, for tests of pipes and signals."""
    source = Path(__file__).resolve().parents[2] / "src"
    program = f"import sys; sys.path.insert(0, {str(source)!r}); from loquor.cli.main import run; run()"
    return [sys.executable, "-c", program]
