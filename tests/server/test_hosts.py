"""Which names a server answers to: those of its own machine, where only that can reach it and nobody needs a key."""

from __future__ import annotations

from socket import create_connection

import httpx2
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from loquor.engine.speaker import Speaker
from loquor.server.hosts import names_for
from server_fixtures import Serve

OWN = names_for("127.0.0.1", "127.0.0.1", ("tts.local",), has_keys=False)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:{port}", 200),
        ("LOCALHOST.", 200),
        ("127.0.0.1:{port}", 200),
        ("[::1]:{port}", 200),
        ("[::1]", 200),
        ("tts.local:8443", 200),  # whatever port a tunnel or a proxy has
        ("rebound.example:{port}", 403),
        ("localhost.rebound.example", 403),
        ("127.0.0.1.rebound.example", 403),
        ("tts.local.rebound.example", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
def test_only_names_of_this_machine_are_answered_to(serve: Serve, speaker: Speaker, host: str, status: int) -> None:
    running = serve(speaker, hosts=OWN)
    headers = {"Host": host.format(port=running.address[1])}
    reply = httpx2.get(f"{running.url}/v1/audio/voices", headers=headers, timeout=60)
    assert reply.status_code == status
    if status == 403:
        error = reply.json()["error"]
        assert error["code"] == "wrong_host" and "--allow-host" in error["message"]


def test_a_page_whose_name_was_made_to_mean_this_machine_can_do_nothing(serve: Serve, speaker: Speaker) -> None:
    """To such a page's browser the server is the page's own site: its origin and its host are the same."""
    running = serve(speaker, hosts=OWN)
    site = f"rebound.example:{running.address[1]}"
    headers = {"Host": site, "Origin": f"http://{site}"}
    body = {"model": "toy", "voice": "Toy", "input": "Hello."}
    assert httpx2.post(f"{running.url}/v1/audio/speech", json=body, headers=headers, timeout=60).status_code == 403
    for path in ("/v1/audio/speech/stream", "/v1/realtime", "/stream?text=Hello"):
        with create_connection(running.address) as raw, pytest.raises(InvalidStatus) as refused:
            connect(f"ws://{site}{path}", sock=raw, origin=headers["Origin"])
        assert refused.value.response.status_code == 403 and b"wrong_host" in refused.value.response.body
    raw = create_connection(running.address)
    with connect(f"ws://localhost:{running.address[1]}/v1/audio/speech/stream", sock=raw) as opened:
        opened.send('{"type": "session.close"}')
        assert "session.closed" in opened.recv(timeout=60)


@pytest.mark.parametrize(
    ("address", "allowed", "has_keys", "is_checked"),
    [
        ("127.0.0.1", (), False, True),
        ("127.0.0.9", (), False, True),
        ("::1", (), False, True),
        ("127.0.0.1", (), True, False),  # such a page has no key
        ("0.0.0.0", (), False, False),
        ("::", (), False, False),
        ("fe80::1%eth0", (), False, False),
        ("192.0.2.1", ("tts.example",), True, True),
    ],
)
def test_names_are_looked_at_where_nothing_else_keeps_pages_out(
    address: str, allowed: tuple[str, ...], has_keys: bool, is_checked: bool
) -> None:
    names = names_for(address, "loquor.local", allowed, has_keys)
    assert bool(names) == is_checked
    if is_checked:
        assert {"localhost", "127.0.0.1", "::1", address, "loquor.local", *allowed} == set(names)
