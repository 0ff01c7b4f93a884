"""Many listeners, one model: nobody waits for a slow one, who hangs up is gone at once, who comes too late is told."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from http.client import HTTPResponse
from pathlib import Path

import httpx2
import openai
import pytest
import torch

import loquor
from loquor.audio import pcm16
from loquor.engine.decoding import GROUP
from loquor.engine.speaker import Speaker
from loquor.server import running as running_module
from loquor.server.keys import ANONYMOUS
from loquor.server.service import Limits, Service
from loquor.server.synthesis import Wish
from loquor.server.voice_store import VoiceStore
from server_fixtures import HOP, LONG, SENTENCE, Running, Serve, within

HELLO = {"model": "toy", "voice": "Toy", "input": "Hello."}
CLOSE = 1e-2  # of samples: in a batch the order of sums differs, and what is said is fed back (see engine/test_batch)


def asked(running: Running, text: str, read_bytes: int = 4096) -> socket.socket:
    """A client that has sent its request and reads when the test says so."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, read_bytes)
    client.connect(running.address)
    body = json.dumps({"model": "toy", "voice": "Toy", "input": text, "response_format": "pcm"}).encode()
    head = f"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    client.sendall(f"{head}\r\n\r\n".encode() + body)
    return client


def reply_to(client: socket.socket) -> tuple[HTTPResponse, bytes]:
    """What it is told, to the end, however it was cut on its way."""
    reply = HTTPResponse(client)
    reply.begin()
    return reply, reply.read()


def test_a_client_that_hangs_up_is_gone_within_two_frames(serve: Serve, paced: Speaker) -> None:
    running = serve(paced)
    client = asked(running, LONG)
    assert client.recv(100)
    (stream,) = paced._worker.batch.streams
    said = stream.frames
    client.close()
    assert within(10, lambda: stream.finish == "cancelled" and not running.service.admission.running)
    assert stream.frames <= said + 2
    assert within(10, lambda: bool(running.audit)) and running.audit[0]["outcome"] == "cancelled"


def test_a_client_that_hangs_up_in_the_queue_leaves_it(serve: Serve, paced: Speaker) -> None:
    running = serve(paced, Limits(slots=1))
    first, second = asked(running, LONG), asked(running, LONG)
    assert within(10, lambda: len(running.service.admission.waiting) == 1)
    waiting = second if first.recv(100) else first
    waiting.close()
    assert within(10, lambda: not running.service.admission.waiting)
    first.close()
    assert within(10, lambda: not running.service.admission.running)


def test_one_address_does_not_keep_others_out_of_the_queue(serve: Serve, paced: Speaker) -> None:
    """Without keys clients are told apart by where they come from."""
    running = serve(paced, Limits(slots=1, queue=3))
    admission, greedy = running.service.admission, list[socket.socket]()
    for count in range(1, 5):
        greedy.append(asked(running, LONG))
        assert within(10, lambda: len(admission.running) + len(admission.waiting) == count)  # noqa: B023

    def waiting() -> list[str]:
        return sorted(ticket.client.address for ticket in admission.waiting)

    with ThreadPoolExecutor(1) as threads:
        body = {"model": "toy", "voice": "Toy", "input": "Hello."}
        there = httpx2.HTTPTransport(local_address="127.0.0.2")
        with httpx2.Client(transport=there, timeout=60) as other:
            modest = threads.submit(other.post, f"{running.url}/v1/audio/speech", json=body)
            assert within(10, lambda: waiting() == ["127.0.0.1", "127.0.0.1", "127.0.0.2"])
            refused, told = reply_to(greedy[-1])
            assert refused.status == 429 and "retry-after" in refused.headers and b"your newest lost its place" in told
            for client in greedy:
                client.close()
            assert modest.result(60).status_code == 200
    assert 'loquor_refusals_total{reason="share"} 1.0' in httpx2.get(f"{running.url}/metrics", timeout=60).text


def test_a_slow_reader_holds_only_its_own_stream(
    serve: Serve, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_module, "SEND_BUFFER_BYTES", 1 << 12)
    text, room = LONG[:600], 4
    whole = speaker.speak(text).waveform
    running = serve(speaker, Limits(buffer_frames=room, stall_s=300))
    slow = asked(running, text)
    assert within(60, lambda: any(stream.held for stream in speaker._worker.batch.streams))
    (stream,), (lane,) = speaker._worker.batch.streams, speaker._worker.lanes
    stands_at = stream.frames
    for _ in range(2):  # others speak as if it were not there, and it stands
        reply = running.client().audio.speech.create(model="toy", voice="Toy", input="Hello.", response_format="pcm")
        assert len(reply.content) >= 2 * HOP
    assert stream.frames == stands_at and room <= lane.events.qsize() < room + GROUP  # groups are handed out whole
    heard = torch.frombuffer(bytearray(reply_to(slow)[1]), dtype=torch.int16)  # it goes on where it stood
    assert len(heard) == len(whole) > 2 * stands_at * HOP
    assert (heard / 32767 - whole.clamp(-1, 1)).abs().max() < CLOSE
    slow.close()


def test_a_listener_that_takes_nothing_for_too_long_is_hung_up_on(
    serve: Serve, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_module, "SEND_BUFFER_BYTES", 1 << 12)
    running = serve(speaker, Limits(buffer_frames=4, stall_s=0.2))
    slow = asked(running, LONG)
    assert within(20, lambda: bool(running.service.admission.running))
    assert within(20, lambda: not running.service.admission.running)
    slow.close()


def test_a_request_sounds_in_a_full_batch_as_it_does_alone(serve: Serve, speaker: Speaker) -> None:
    """Alone, to the last bit; together, but for the order of sums: here 16-bit samples differ by less than `CLOSE`."""
    create = serve(speaker, Limits(slots=8)).client().audio.speech.create

    def said(seed: int) -> torch.Tensor:
        text = f"{SENTENCE} {'And again. ' * seed}"
        extra = {"seed": seed, "cfg_scale": 1.0 + seed / 4}
        reply = create(model="toy", voice="Toy", input=text, response_format="pcm", extra_body=extra)
        return torch.frombuffer(bytearray(reply.content), dtype=torch.int16)

    alone = [said(seed) for seed in range(6)]
    assert torch.equal(said(3), alone[3])
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(said, range(6)))
    for one, other in zip(alone, together, strict=True):
        assert len(one) == len(other)
        assert (one / 32767 - other / 32767).abs().max() < CLOSE


@pytest.mark.slow
def test_the_embedded_voice_sounds_in_a_batch_of_eight_as_it_does_alone(tmp_path: Path) -> None:
    """The largest difference found was 3e-6 of full scale: a tenth of what a step of 16 bits is."""
    speaker = loquor.load()
    assert isinstance(speaker, Speaker)
    service = Service(speaker, "loquor", VoiceStore(speaker, tmp_path))

    async def say(seed: int) -> torch.Tensor:
        text = "Good morning to everybody who listens."
        async with aclosing(service.speak(text, Wish(seed=seed), ANONYMOUS, "test")) as chunks:
            return torch.cat([chunk.waveform async for chunk in chunks])

    async def all_of_them() -> None:
        alone = [await say(seed) for seed in range(8)]
        together = await asyncio.gather(*map(say, range(8)))
        for one, other in zip(alone, together, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-4)

    asyncio.run(all_of_them())


def test_no_request_gets_anothers_sound(serve: Serve, speaker: Speaker) -> None:
    """Ever more clients than slots, coming and going."""
    running = serve(speaker, Limits(slots=3, queue=40, patience_s=300))
    create = running.client().audio.speech.create
    texts = [f"{'word ' * (1 + n % 5)}{n % 5}." for n in range(20)]
    expected = {text: len(pcm16(speaker.speak(text, seed=1).waveform.numpy()).tobytes()) for text in texts}

    def length(text: str) -> int:
        reply = create(model="toy", voice="Toy", input=text, response_format="pcm", extra_body={"seed": 1})
        return len(reply.content)

    with ThreadPoolExecutor(10) as threads:
        assert list(threads.map(length, texts)) == [expected[text] for text in texts]
    assert within(10, lambda: not running.service.admission.running and not speaker._worker.batch.streams)
    assert len(running.audit) == 20 and {note["outcome"] for note in running.audit} <= {"end", "runaway"}


def test_when_slots_and_queue_are_full_a_client_is_told_when_to_come_again(serve: Serve, paced: Speaker) -> None:
    running = serve(paced, Limits(slots=1, queue=1))
    others = [asked(running, LONG) for _ in range(2)]
    assert within(10, lambda: len(running.service.admission.waiting) == 1)
    with pytest.raises(openai.InternalServerError) as caught:
        running.client().audio.speech.create(model="toy", voice="Toy", input="Hello.")
    assert caught.value.status_code == 503 and caught.value.code == "overloaded"
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
    for each in others:
        each.close()


def test_who_waits_too_long_is_told_so(serve: Serve, paced: Speaker) -> None:
    running = serve(paced, Limits(slots=1, patience_s=0.1))
    first = asked(running, LONG)
    assert first.recv(100)
    with pytest.raises(openai.InternalServerError, match="no slot was free within"):
        running.client().audio.speech.create(model="toy", voice="Toy", input="Hello.")
    assert not running.service.admission.waiting
    first.close()


def test_told_to_stop_it_says_what_it_began_and_takes_nothing_new(serve: Serve, paced: Speaker) -> None:
    whole, said = pcm16(paced.speak(LONG[:400]).waveform.numpy()).tobytes(), list[bytes]()
    running = serve(paced)
    create = running.client().audio.speech.create

    def speak() -> None:
        reply = create(model="toy", voice="Toy", input=LONG[:400], response_format="pcm")
        said.append(reply.content)

    speaking = threading.Thread(target=speak)
    speaking.start()
    assert within(10, lambda: bool(running.service.admission.running))
    running.stop()
    assert within(10, lambda: not running.service.admission.is_open)
    refused = httpx2.post(f"{running.url}/v1/audio/speech", json=HELLO, timeout=60)
    assert refused.status_code == 503 and int(refused.headers["retry-after"]) >= 1
    assert httpx2.get(f"{running.url}/ready", timeout=60).status_code == 503
    assert httpx2.get(f"{running.url}/health", timeout=60).status_code == 200
    speaking.join(30)
    assert said == [whole]
    running.thread.join(30)
    assert not running.thread.is_alive()


def test_what_takes_too_long_to_end_is_cut_off(serve: Serve, paced: Speaker) -> None:
    running = serve(paced, drain_s=0.2)
    client = asked(running, LONG)
    assert client.recv(100)
    running.stop()
    running.stop()  # now
    running.thread.join(30)
    assert not running.thread.is_alive()
    assert within(10, lambda: not paced._worker.batch.streams)
    client.close()


@pytest.mark.parametrize(
    ("route", "values"),
    [("voices", {"name": "ada", "consent": "mine"}), ("transcriptions", {"model": "whisper-1"})],
)
def test_a_recording_is_not_even_opened_before_there_is_a_slot(
    serve: Serve, paced: Speaker, route: str, values: dict[str, str]
) -> None:
    class Ears:
        def transcribe(self, waveform: object, sample_rate_hz: int) -> str:
            return ""

    running = serve(paced, Limits(slots=1, queue=0), transcriber=Ears())
    client = asked(running, LONG)
    assert client.recv(100)
    field = "audio_sample" if route == "voices" else "file"
    send = partial(httpx2.post, f"{running.url}/v1/audio/{route}", data=values, timeout=60)
    refused = send(files={field: ("a.wav", b"no sound at all", "audio/wav")})
    assert refused.status_code == 503 and "retry-after" in refused.headers
    client.close()
    assert within(10, lambda: not running.service.admission.running)
    assert send(files={field: ("a.wav", b"no sound at all", "audio/wav")}).status_code == 400
