"""A server on a Ray cluster: sessions stay where they are, and a replica that is killed takes only its own streams."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from loquor.engine.speaker import Speaker
from loquor.errors import ConfigError
from loquor.server.ray_proxy import ToldOfLoss
from loquor.server.running import bind
from server_fixtures import HOP, LONG, SENTENCE, within

ray = pytest.importorskip("ray")
pytest.importorskip("ray.serve")

LASTING = LONG[:400]  # hundreds of frames
STREAMS = 6
BEGUN = 3 * 2 * HOP  # bytes a stream has given when a replica is killed
PATIENCE_S = 300


@pytest.fixture
def ray_module() -> Any:
    return importlib.import_module("loquor.server.ray")


def test_settings_come_from_arguments_then_from_the_environment(ray_module: Any) -> None:
    found = ray_module.settings({"slots": "3"}, {"LOQUOR_RAY_SLOTS": "9", "LOQUOR_RAY_CPUS": "0.5", "SLOTS": "1"})
    assert (found.slots, found.cpus, found.queue) == (3, 0.5, 8)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"slot": "3"}, "slot: Extra inputs are not permitted"),
        ({"slots": "none"}, "slots: .* got 'none'"),
        ({"min_replicas": "5"}, "min_replicas 5 is more than max_replicas 4"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(ray_module: Any, given: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        ray_module.settings(given, {})


def through_proxy(kind: str, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """What a client gets of an application that sends these messages and then is lost."""
    sent = list[dict[str, Any]]()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    scope = {"type": kind, "path": "/v1/audio/speech", "method": "POST", "headers": []}
    asyncio.run(ToldOfLoss(application)(scope, receive, send))
    return sent


def begun(media_type: str) -> tuple[dict[str, Any], dict[str, Any]]:
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", media_type.encode())]}
    return start, {"type": "http.response.body", "body": b"some", "more_body": True}


def test_who_lost_a_replica_before_the_first_sound_is_told_to_ask_again() -> None:
    start, body = through_proxy("http")
    assert start["status"] == 503 and (b"retry-after", b"1") in start["headers"]
    assert json.loads(body["body"])["error"]["code"] == "overloaded"


def test_events_that_lost_their_replica_end_with_an_error() -> None:
    *_, last = through_proxy("http", *begun("text/event-stream"))
    event = json.loads(last["body"].removeprefix(b"data: "))
    assert event["type"] == "speech.audio.error" and "was lost" in event["error"]["message"]
    assert not last["more_body"]


def test_sound_that_lost_its_replica_has_no_end() -> None:
    messages = begun("audio/mpeg")
    assert through_proxy("http", *messages) == list(messages)


def test_a_socket_that_lost_its_replica_is_closed_for_a_restart() -> None:
    assert through_proxy("websocket", {"type": "websocket.accept"})[-1]["code"] == 1012


def test_what_came_to_its_end_is_left_alone() -> None:
    whole = [*begun("audio/mpeg"), {"type": "http.response.body", "body": b"", "more_body": False}]
    assert through_proxy("http", *whole) == whole
    closed = [{"type": "websocket.accept"}, {"type": "websocket.close", "code": 1000}]
    assert through_proxy("websocket", *closed) == closed


@contextmanager
def cluster_of(ray_module: Any, **given: str) -> Iterator[str]:
    """A server on a cluster of its own, and its address."""
    from ray import serve

    with bind("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(ray_module.app({"cpus": "0.5", **given}))
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()


@pytest.fixture
def cluster(ray_module: Any, talkative: Speaker) -> Iterator[str]:
    """Two replicas of the toy that does not stop talking."""
    with cluster_of(ray_module, model=str(talkative.folder), min_replicas="2", max_replicas="2") as url:
        yield url


def replica_of(url: str, session: str) -> str:
    reply = httpx2.get(f"{url}/health", headers={"x-session-id": session}, timeout=PATIENCE_S)
    return str(reply.json()["replica"])


def pid_of(replica: str) -> int:
    """Of the process of a replica."""
    names = ray.util.list_named_actors(all_namespaces=True)
    (found,) = [each for each in names if each["name"].startswith("SERVE_REPLICA") and replica in each["name"]]
    actor = ray.get_actor(found["name"], found["namespace"])
    return int(ray.get(actor.__ray_call__.remote(lambda _: os.getpid())))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_replica_that_is_killed_takes_only_its_own_streams(cluster: str) -> None:
    sessions = dict[str, str]()  # of each replica
    for number in range(100):
        sessions.setdefault(replica_of(cluster, f"session {number}"), f"session {number}")
        if len(sessions) == 2:
            break
    (killed, doomed), (_, spared) = sessions.items()
    assert replica_of(cluster, doomed) == killed
    got, pid = dict.fromkeys(range(STREAMS), 0), pid_of(killed)

    def speak(number: int) -> str:
        """How a stream ended; each of a session, every third as events."""
        session, is_events = (doomed, spared)[number % 2], number >= STREAMS - 2
        body = {"model": "tts-1", "input": LASTING, "response_format": "pcm", "seed": number}
        if is_events:
            body["stream_format"] = "sse"
        asked = httpx2.stream(
            "POST", f"{cluster}/v1/audio/speech", json=body, headers={"x-session-id": session}, timeout=PATIENCE_S
        )
        last = b""
        try:
            with asked as reply:
                for part in reply.iter_raw():
                    got[number] += len(part)
                    last = part
        except httpx2.RemoteProtocolError:
            return "broke off"
        return "error event" if b"speech.audio.error" in last else "whole"

    with ThreadPoolExecutor(STREAMS) as threads:
        running = [threads.submit(speak, number) for number in range(STREAMS)]
        deadline = time.monotonic() + PATIENCE_S
        while min(got.values()) < BEGUN and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not any(each.done() for each in running)
        os.kill(pid, signal.SIGKILL)
        ends = [each.result(PATIENCE_S) for each in running]
    assert ends == ["broke off", "whole", "broke off", "whole", "error event", "whole"]
    frames = {got[number] // (2 * HOP) for number in (1, 3)}
    assert min(frames) > 100
    assert replica_of(cluster, doomed) != killed  # its sessions have another place
    assert replica_of(cluster, spared) != killed


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_more_listeners_than_a_replica_has_slots_bring_another(ray_module: Any, talkative: Speaker) -> None:
    with cluster_of(ray_module, model=str(talkative.folder), slots="1", max_replicas="2") as url:
        assert len({replica_of(url, f"session {number}") for number in range(20)}) == 1
        is_enough = threading.Event()

        def listen(number: int) -> int:
            """Until another replica is there; gives how many replies were not whole speech."""
            broken = 0
            while not is_enough.is_set():
                body = {"model": "tts-1", "input": SENTENCE, "response_format": "pcm", "seed": number}
                reply = httpx2.post(f"{url}/v1/audio/speech", json=body, timeout=PATIENCE_S)
                broken += reply.status_code != 200 or not reply.content
            return broken

        with ThreadPoolExecutor(4) as threads:
            listeners = [threads.submit(listen, number) for number in range(4)]
            has_grown = within(PATIENCE_S, lambda: len({replica_of(url, f"session {n}") for n in range(20)}) == 2)
            is_enough.set()
            assert has_grown
            assert [each.result(PATIENCE_S) for each in listeners] == [0, 0, 0, 0]
