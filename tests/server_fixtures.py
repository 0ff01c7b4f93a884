"""A real server on a free port, in a thread of this process, with a model in miniature behind it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import openai
import pytest

from loquor.engine.speaker import Speaker
from loquor.server import running
from loquor.server.app import create_app
from loquor.server.audit import Audit
from loquor.server.keys import Guard, new_key, save_keys
from loquor.server.service import Limits, Service
from loquor.server.voice_store import VoiceStore
from loquor.server.wiring import Server
from toy import NEVER, toy_config, write_toy

SENTENCE = "The quick brown fox jumps over the lazy dog, and sleeps."
LONG = " ".join([SENTENCE] * 40)
HOP = 3200


def speaker_in(folder: Path, end_bias: float) -> Speaker:
    """A toy whose frames are 3200 samples, as those of real models, with an encoder and the voice `Toy`."""
    config = toy_config(context=2048, utterance_tokens=20, patch_samples=200)
    return Speaker.open(write_toy(folder, end_bias, config))


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models") / "toy"


@pytest.fixture(scope="session")
def speaker(toy_folder: Path) -> Speaker:
    """Ends its utterances after a while."""
    return speaker_in(toy_folder, end_bias=-4.0)


@pytest.fixture(scope="session")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Speaker:
    """Never ends an utterance by itself: half a minute of speech for `LONG` and more."""
    return speaker_in(tmp_path_factory.mktemp("models") / "talkative", NEVER)


@pytest.fixture
def paced(speaker: Speaker, monkeypatch: pytest.MonkeyPatch) -> Speaker:
    """A step takes a twentieth of a second, as a larger model's does: time to count frames in."""
    step = speaker._worker.batch.step

    def slowly() -> object:
        time.sleep(0.05)
        return step()

    monkeypatch.setattr(speaker._worker.batch, "step", slowly)
    return speaker


@pytest.fixture(autouse=True)
def own_voices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOQUOR_VOICES", str(tmp_path / "voices of the operator"))


@dataclass
class Running:
    """A server that runs."""

    url: str
    service: Service
    server: running.Draining
    audit: list[dict[str, object]]
    thread: threading.Thread
    keys: dict[str, str] = field(default_factory=dict)
    clients: list[openai.OpenAI] = field(default_factory=list)  # to be closed

    def client(self, key: str = "") -> openai.OpenAI:
        secret = self.keys.get(key, key) or "none"
        made = openai.OpenAI(base_url=f"{self.url}/v1", api_key=secret, max_retries=0, timeout=300)
        self.clients.append(made)
        return made

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", int(self.url.rsplit(":", 1)[1])

    def stop(self) -> None:
        """As a signal would."""
        assert self.server._loop is not None
        with contextlib.suppress(RuntimeError):  # it has stopped by itself
            self.server._loop.call_soon_threadsafe(self.server.stop)


Serve = Callable[..., Running]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers: `serve(speaker, Limits(...), keys={"ada": {"at_once": 1}})`."""
    with servers(tmp_path) as start:
        yield start


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[Serve]:
    """What `serve` is; keys and uploads lie in a folder."""
    started: list[Running] = []

    def start(
        speaker: Speaker,
        limits: Limits | None = None,
        keys: dict[str, dict[str, int]] | None = None,
        drain_s: float = 20.0,
        **options: object,
    ) -> Running:
        made = {name: new_key(name, **given) for name, given in (keys or {}).items()}
        path = folder / "keys.json" if keys else None
        if path:
            save_keys(path, [key for _, key in made.values()])
        notes: list[dict[str, object]] = []
        audit = Audit(lambda line: notes.append(json.loads(line)))
        transcriber = options.pop("transcriber", None)
        store = VoiceStore(speaker, folder / "uploads", transcriber=transcriber)  # type: ignore[arg-type]
        service = Service(speaker, "toy", store, limits, audit, transcriber)  # type: ignore[arg-type]
        app = create_app(Server(service, Guard(path), **options))  # type: ignore[arg-type]
        bound, is_ready = running.bind("127.0.0.1", 0), threading.Event()
        server = running.Draining(app, service.admission, drain_s, is_ready.set)
        thread = threading.Thread(target=lambda: server.run(sockets=[bound]), daemon=True)
        thread.start()
        assert is_ready.wait(30)
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        started.append(Running(url, service, server, notes, thread, {name: s for name, (s, _) in made.items()}))
        return started[-1]

    yield start
    for each in started:
        for client in each.clients:
            client.close()
        each.stop()
        each.stop()
        each.thread.join(30)
        assert not each.thread.is_alive()


def within(seconds: float, fact: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not fact() and time.monotonic() < deadline:
        time.sleep(0.002)
    return fact()
