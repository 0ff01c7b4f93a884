"""Our own WebSocket, with a real client: text as it comes, sound as it is made, words with their times."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from loquor.audio import pcm16
from loquor.engine.decoding import GROUP
from loquor.engine.playback import Playback
from loquor.engine.speaker import Speaker
from loquor.server import running as running_module
from loquor.server.keys import read_keys, remove_keys, save_keys
from loquor.server.service import Limits
from loquor.server.turns import Patience
from server_fixtures import HOP, LONG, SENTENCE, Running, Serve, within

PATH = "/v1/audio/speech/stream"


@dataclass
class Listener:
    """A client that keeps apart what it is told and what it hears."""

    socket: ClientConnection
    messages: list[dict[str, Any]] = field(default_factory=list)
    sound: bytes = b""

    def send(self, kind: str, **values: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **values}))

    def say(self, *parts: str) -> None:
        for part in parts:
            self.send("input.text", text=part)
        self.send("input.done")

    def hear(self, until: str, seconds: float = 60.0) -> dict[str, Any]:
        """The next message of a kind, after everything before it."""
        while True:
            message = self.socket.recv(seconds)
            if isinstance(message, bytes):
                self.sound += message
                continue
            self.messages.append(json.loads(message))
            if self.messages[-1]["type"] == until:
                return self.messages[-1]
            assert self.messages[-1]["type"] != "error", message

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]


@contextmanager
def listening(running: Running, config: dict[str, Any] | None = None, **options: Any) -> Iterator[Listener]:
    with connect(running.url.replace("http", "ws") + PATH, **options) as opened:
        listener = Listener(opened)
        if config is not None:
            listener.send("session.config", **config)
            listener.hear("session.configured")
        yield listener


def expected(speaker: Speaker, *texts: str, **sampling: Any) -> bytes:
    """What the library says of texts that are flushed one after the other, as 16-bit samples."""
    with speaker.session("Toy", **sampling) as session:
        for text in texts:
            session.push(text)
            session.flush()
        session.end()
        return b"".join(pcm16(chunk.waveform.numpy()).tobytes() for chunk in session)


@pytest.fixture
def paced(talkative: Speaker, monkeypatch: pytest.MonkeyPatch) -> Speaker:
    """A step takes a twentieth of a second: time to interrupt, and to count frames in."""
    step = talkative._worker.batch.step

    def slowly() -> Any:
        time.sleep(0.05)
        return step()

    monkeypatch.setattr(talkative._worker.batch, "step", slowly)
    return talkative


# Speaking


def test_text_goes_in_and_speech_comes_out(serve: Serve, talkative: Speaker) -> None:
    running = serve(talkative)
    with listening(running) as client:
        client.say(SENTENCE[:10], SENTENCE[10:])
        done = client.hear("audio.done")
    assert client.sound == expected(talkative, SENTENCE)
    start = client.messages[0]
    assert (start["type"], start["turn"], start["sample_rate"], start["channels"]) == ("audio.start", 0, 24_000, 1)
    assert done["characters"] == len(SENTENCE) and done["finish"] == "runaway"
    assert done["audio_ms"] == pytest.approx(len(client.sound) / 48, abs=1)
    assert 0 < start["first_audio_ms"] == done["first_audio_ms"] and done["rtf"] > 0
    assert within(10, lambda: bool(running.audit))
    note = running.audit[0]
    assert (note["id"], note["protocol"], note["outcome"]) == (start["id"], "websocket", "runaway")
    metrics = httpx2.get(f"{running.url}/metrics", timeout=60).text
    assert 'loquor_requests_total{outcome="runaway",protocol="websocket"} 1.0' in metrics


WORDY = "Is it cold? It is, she said, and I have no coat 😀."
UNITS = WORDY.encode("utf-16-le")  # as JavaScript counts: an emoji may be cut in two


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.integers(0, len(UNITS) // 2), max_size=8))
def test_however_the_text_is_cut_the_same_bytes_come(serve: Serve, speaker: Speaker, places: list[int]) -> None:
    cuts = [0, *sorted(2 * place for place in places), len(UNITS)]
    parts = [UNITS[start:end].decode("utf-16-le", "surrogatepass") for start, end in pairwise(cuts)]
    with listening(served(serve, speaker), {"voice": "Toy", "seed": 3}) as client:
        client.say(*parts)
        done = client.hear("audio.done")
    assert client.sound == expected(speaker, WORDY, seed=3)
    assert done["characters"] == len(WORDY)


def served(serve: Serve, speaker: Speaker, kept: list[tuple[Serve, Running]] = []) -> Running:  # noqa: B006
    """One server for all examples of a test."""
    if not kept or kept[0][0] is not serve:
        kept[:] = [(serve, serve(speaker))]
    return kept[0][1]


def test_a_flush_ends_an_utterance_and_not_the_turn(serve: Serve, speaker: Speaker) -> None:
    with listening(serve(speaker)) as client:
        client.send("input.text", text="One two. ")
        client.send("input.flush")
        client.hear("audio.words")  # it is said, though its turn is open
        client.say("Three four.")
        client.hear("audio.done")
    assert client.sound == expected(speaker, "One two. ", "Three four.")
    assert len(client.of("audio.start")) == 1


def test_turns_are_said_one_after_the_other_each_with_the_settings_of_its_beginning(
    serve: Serve, speaker: Speaker
) -> None:
    running = serve(speaker)
    with listening(running, {"seed": 5, "steps": 2}) as client:
        client.send("input.text", text="One ")
        client.send("session.config", seed=6)
        client.say("two.")
        client.say("Three four.")
        assert client.hear("session.configured")["steps"] == 2
        ends = []
        for turn in range(2):
            assert client.hear("audio.done")["turn"] == turn
            ends.append(len(client.sound))
    assert client.sound[: ends[0]] == expected(speaker, "One two.", seed=5, steps=2)
    assert client.sound[ends[0] :] == expected(speaker, "Three four.", seed=6, steps=2)
    assert within(10, lambda: [note["seed"] for note in running.audit] == [5, 6])


def test_sound_comes_in_base64_or_as_a_file_if_that_is_wanted(serve: Serve, speaker: Speaker) -> None:
    running = serve(speaker)
    with listening(running, {"encoding": "base64"}) as client:
        client.say(SENTENCE)
        client.hear("audio.done")
        said = b"".join(base64.b64decode(message["audio"]) for message in client.of("audio.delta"))
        assert said == expected(speaker, SENTENCE) and not client.sound
        for name in ("wav", "mp3", "opus", "aac", "flac"):
            client.sound = b""
            client.send("session.config", encoding="binary", format=name)
            client.say(SENTENCE)
            client.hear("audio.done")
            with av.open(io.BytesIO(client.sound), "r") as container:
                seconds = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
            assert seconds == pytest.approx(len(said) / 48_000, abs=0.15)


def test_a_closed_session_says_what_it_was_sent(serve: Serve, speaker: Speaker) -> None:
    with listening(serve(speaker)) as client:
        client.say("One two.")
        client.send("input.text", text="Three four.")
        client.send("session.close")
        client.hear("session.closed")
        with pytest.raises(ConnectionClosed) as closed:
            client.socket.recv(10)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1000
    assert client.sound == expected(speaker, "One two.") + expected(speaker, "Three four.")


def test_words_have_times_in_order_within_the_sound(serve: Serve, talkative: Speaker) -> None:
    with listening(serve(talkative)) as client:
        client.say(LONG[:100])
        client.hear("audio.done")
    words: dict[int, dict[str, Any]] = {}
    for message in client.of("audio.words"):
        words |= {word["start"]: word for word in message["words"]}
    times = [time for _, word in sorted(words.items()) for time in (word["start_ms"], word["end_ms"])]
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= len(client.sound) / 48 + 1
    assert all(LONG[word["start"] : word["end"]] == word["text"] for word in words.values())
    assert len(words) == len(LONG[:100].split()) and client.of("audio.words")[-1]["final"]


def test_no_words_are_told_to_who_does_not_want_them(serve: Serve, speaker: Speaker) -> None:
    with listening(serve(speaker), {"words": False}) as client:
        client.say(SENTENCE)
        client.hear("audio.done")
    assert not client.of("audio.words") and client.sound


# Interrupting


def test_an_interruption_frees_the_slot_within_two_frames_and_drops_what_was_to_come(
    serve: Serve, paced: Speaker
) -> None:
    running = serve(paced)
    with listening(running) as client:
        for _ in range(3):
            client.say(LONG[:200])
        client.hear("audio.start")
        (stream,) = paced._worker.batch.streams
        before = stream.frames
        client.send("audio.cancel", played_ms=0)
        cancelled = client.hear("audio.cancelled")
        assert (cancelled["turn"], cancelled["dropped"], cancelled["heard"]) == (0, [1, 2], "")
        assert stream.finish == "cancelled" or within(1, lambda: stream.finish == "cancelled")
        assert stream.frames <= before + 3  # one may have been on its way when we looked
        assert not running.service.admission.running
        assert running.audit[0]["outcome"] == "cancelled"
        client.sound = b""
        client.say("Yes.")
        assert client.hear("audio.done")["turn"] == 3
    assert client.sound == expected(paced, "Yes.")


def test_an_interruption_tells_what_was_heard_and_what_remains(serve: Serve, talkative: Speaker) -> None:
    """Playing takes longer than making: interrupted is what was sent long ago."""
    with listening(serve(talkative)) as client:
        client.say(SENTENCE)
        done = client.hear("audio.done")
        lengths = []
        for played in (0, 500, 1500, done["audio_ms"], 10**9):
            client.send("audio.cancel", turn=0, played_ms=played)
            told = client.hear("audio.cancelled")
            assert told["heard"] + told["remaining"] == SENTENCE and told["played_ms"] <= done["audio_ms"]
            lengths.append(len(told["heard"]))
    assert lengths == sorted(lengths) and lengths[0] == 0 and lengths[-1] == len(SENTENCE)
    assert all(length in (0, len(SENTENCE)) or SENTENCE[length] == " " for length in lengths)


def test_an_interruption_of_nothing_is_answered_too(serve: Serve, speaker: Speaker) -> None:
    with listening(serve(speaker)) as client:
        client.send("audio.cancel")
        assert client.hear("audio.cancelled")["turn"] is None


def test_text_that_is_not_ended_yet_is_interrupted_and_what_follows_is_a_new_turn(
    serve: Serve, talkative: Speaker
) -> None:
    with listening(serve(talkative)) as client:
        client.send("input.text", text=LONG[:200])
        client.hear("audio.start")
        client.send("audio.cancel")
        assert client.hear("audio.cancelled")["turn"] == 0
        client.sound = b""
        client.say("Yes.")
        assert client.hear("audio.done")["turn"] == 1
    assert client.sound == expected(talkative, "Yes.")


def test_after_an_interruption_the_next_one_is_of_the_next_turn(serve: Serve, talkative: Speaker) -> None:
    with listening(serve(talkative)) as client:
        for turn in (0, 1):
            client.send("input.text", text=LONG[:200])
            client.hear("audio.start")
            client.send("audio.cancel")
            assert client.hear("audio.cancelled")["turn"] == turn


@pytest.mark.parametrize("is_polite", [True, False], ids=["says goodbye", "is cut off"])
def test_a_client_that_leaves_frees_its_slot_within_two_frames(serve: Serve, paced: Speaker, is_polite: bool) -> None:
    running = serve(paced)
    with listening(running) as client:
        client.say(LONG)
        client.hear("audio.start")
        (stream,) = paced._worker.batch.streams
        before = stream.frames
        if not is_polite:
            client.socket.socket.shutdown(socket.SHUT_RDWR)
        client.socket.close()
        assert within(10, lambda: not running.service.admission.running and stream.finish == "cancelled")
        assert stream.frames <= before + 4
    assert within(10, lambda: [note["outcome"] for note in running.audit] == ["cancelled"])


# What cannot be


@pytest.mark.parametrize(
    ("sent", "status", "says"),
    [
        ("{", 400, "no JSON"),
        ("[" * 100_000, 400, "no JSON"),
        ("[]", 400, "not list"),
        (b"\x00\x01", 400, "not a binary one"),
        ({"text": "Hello."}, 400, "no message of type None"),
        ({"type": "input.txt", "text": "a"}, 400, "no message of type 'input.txt'"),
        ({"type": ["input.text"]}, 400, "no message of type"),
        ({"type": "input.text"}, 400, "text: Field required"),
        ({"type": "input.text", "text": 3}, 400, "text: "),
        ({"type": "input.text", "text": "a", "voice": "Toy"}, 400, "voice: "),
        ({"type": "input.flush"}, 400, "input.flush without text"),
        ({"type": "input.done"}, 400, "input.done without text"),
        ({"type": "session.config", "voice": "Tom"}, 404, "no voice 'Tom'"),
        ({"type": "session.config", "voice": "/etc/passwd"}, 404, "no voice '/etc/passwd'"),
        ({"type": "session.config", "model": "gpt-9"}, 404, "no model 'gpt-9'"),
        ({"type": "session.config", "format": "wma"}, 400, "format: "),
        ({"type": "session.config", "guidance": -1}, 400, "guidance: "),
        ({"type": "audio.cancel", "turn": 7}, 400, "no turn 7"),
        ({"type": "audio.cancel", "played_ms": float("nan")}, 400, "played_ms: "),
    ],
)
def test_a_message_that_cannot_be_gets_one_error_and_changes_nothing(
    serve: Serve, speaker: Speaker, sent: Any, status: int, says: str
) -> None:
    with listening(served(serve, speaker)) as client:
        client.socket.send(sent if isinstance(sent, (str, bytes)) else json.dumps(sent))
        error = json.loads(client.socket.recv(10))
        assert error["type"] == "error" and error["status"] == status and error["turn"] is None
        assert set(error["error"]) == {"message", "type", "param", "code"} and says in error["error"]["message"]
        client.say("Yes.")
        assert client.hear("audio.done")["turn"] == 0
    assert client.sound == expected(speaker, "Yes.")


def error_of(client: Listener) -> dict[str, Any]:
    while not isinstance(message := client.socket.recv(30), str) or (told := json.loads(message))["type"] != "error":
        pass
    return told  # type: ignore[no-any-return]


@pytest.mark.parametrize("parts", [[" ", "\n"], ["?!"], ["a" * 200, "b" * 101]], ids=["space", "marks", "too much"])
def test_a_turn_that_cannot_be_said_is_one_error_and_the_next_is_said(
    serve: Serve, speaker: Speaker, parts: list[str]
) -> None:
    with listening(serve(speaker, Limits(characters=300))) as client:
        client.say(*parts, *(["and so on"] if len(parts[0]) > 2 else []))
        error = error_of(client)
        assert error["status"] == 400 and error["turn"] == 0
        client.sound = b""
        client.say("Yes.")
        assert client.hear("audio.done")["turn"] == 1
    assert client.sound == expected(speaker, "Yes.")


def test_a_turn_whose_text_does_not_go_on_gives_its_slot_back(serve: Serve, speaker: Speaker) -> None:
    running = serve(speaker, Limits(idle_s=0.2))
    with listening(running) as client:
        client.send("input.text", text="One two. Three")
        error = error_of(client)
        assert (error["status"], error["turn"], error["error"]["code"]) == (408, 0, "idle")
        assert not running.service.admission.running
        client.say(" four.")  # of a turn that is over
        client.sound = b""
        client.say("Yes.")
        assert client.hear("audio.done")["turn"] == 1
    assert client.sound == expected(speaker, "Yes.")


def test_what_no_route_would_take_is_not_even_received(serve: Serve, speaker: Speaker) -> None:
    running = serve(speaker)
    with listening(running) as listener:
        with suppress(ConnectionClosed):  # it may be over before the last byte is sent
            listener.socket.send("x" * (17 << 20))
        with pytest.raises(ConnectionClosed) as closed:
            listener.socket.recv(30)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009  # too large
    with listening(running, {}) as listener:
        assert listener.of("session.configured")


def test_a_message_that_is_too_large_ends_the_conversation(serve: Serve, speaker: Speaker) -> None:
    with listening(serve(speaker, Limits(body_bytes=1000))) as client:
        client.send("input.text", text="a" * 1000)
        error = error_of(client)
        assert error["status"] == 413 and error["error"]["code"] == "too_large"
        with pytest.raises(ConnectionClosedError) as closed:
            client.socket.recv(10)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009


def test_a_key_comes_in_a_header_or_in_the_first_message(serve: Serve, speaker: Speaker) -> None:
    running = serve(speaker, keys={"ada": {}})
    with listening(running, {}, additional_headers={"Authorization": f"Bearer {running.keys['ada']}"}) as client:
        client.say("Yes.")
        client.hear("audio.done")
    with listening(running, {"api_key": running.keys["ada"]}) as client:
        assert "api_key" not in client.messages[0]
        client.say("Yes.")
        client.hear("audio.done")
    for first in ({"type": "input.text", "text": "Yes."}, {"type": "session.config", "api_key": "lq-wrong"}):
        with listening(running) as client:
            client.socket.send(json.dumps(first))
            error = error_of(client)
            assert error["status"] == 401 and error["error"]["code"] == "invalid_api_key"
            with pytest.raises(ConnectionClosedError) as closed:
                client.socket.recv(10)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
    assert within(10, lambda: [note["client"] for note in running.audit] == ["ada", "ada"])


def test_every_turn_is_a_request_of_its_key(serve: Serve, speaker: Speaker, tmp_path: Path) -> None:
    running = serve(speaker, keys={"ada": {"per_minute": 2}})
    with listening(running, {"api_key": running.keys["ada"]}) as client:
        for _ in range(2):
            client.say("Yes.")
            client.hear("audio.done")
        client.say("Yes.")
        error = error_of(client)
        assert error["status"] == 429 and error["turn"] == 2 and error["retry_after_s"] > 0
        save_keys(tmp_path / "keys.json", remove_keys(read_keys(tmp_path / "keys.json"), "ada"))
        client.say("Yes.")
        assert error_of(client)["status"] == 401


def test_pages_of_other_sites_may_not_open_it(serve: Serve, speaker: Speaker) -> None:
    running = serve(speaker, origins=("https://friend.example",))
    with pytest.raises(InvalidStatus) as refused, listening(running, origin="https://evil.example"):
        pass
    assert refused.value.response.status_code == 403
    for origin in ("https://friend.example", running.url):
        with listening(running, {}, origin=origin):
            pass


def test_speech_that_breaks_off_is_told_and_tells_nothing_of_our_insides(
    serve: Serve, talkative: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, batch = serve(talkative), talkative._worker.batch
    step, calls = batch.step, [0]

    def break_down() -> Any:
        calls[0] += 1
        if calls[0] == 5:
            raise RuntimeError("the machine is on fire")
        return step()

    monkeypatch.setattr(batch, "step", break_down)
    with listening(running) as client:
        client.say(SENTENCE)
        error = error_of(client)
        assert error["status"] == 500 and error["turn"] == 0 and "fire" not in str(error)
        client.say("Yes.")
        client.hear("audio.done")


# Together with others


def test_who_waits_is_told_their_place_and_who_cannot_wait_is_told_so(serve: Serve, paced: Speaker) -> None:
    running = serve(paced, Limits(slots=1, queue=2))
    with listening(running) as first, listening(running) as second, listening(running) as third:
        first.say(LONG)
        first.hear("audio.start")
        for number, client in enumerate((second, third), 1):
            client.say("Yes.")
            assert client.hear("queue.position") == {"type": "queue.position", "turn": 0, "position": number}
        with listening(running) as late:
            late.say("Yes.")
            error = error_of(late)
            assert error["status"] == 503 and error["retry_after_s"] >= 1
        first.socket.close()
        assert third.hear("queue.position")["position"] == 1
        assert second.hear("audio.done")["queue_ms"] > 0 and third.hear("audio.done")["queue_ms"] > 0


def test_an_open_socket_that_says_nothing_holds_no_slot(serve: Serve, speaker: Speaker) -> None:
    running = serve(speaker, Limits(slots=1, queue=0))
    with listening(running, {}), listening(running, {}), listening(running, {}) as client:
        client.say("Yes.")
        client.hear("audio.done")


def test_a_slow_reader_holds_only_its_own_stream_and_is_hung_up_on(
    serve: Serve, talkative: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_module, "SEND_BUFFER_BYTES", 1 << 12)
    running = serve(talkative, Limits(buffer_frames=4, stall_s=3))
    narrow = socket.create_connection(running.address)
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
    with contextlib.ExitStack() as stack:
        slow = stack.enter_context(listening(running, {}, sock=narrow, max_queue=1, compression=None))
        slow.say(LONG)
        assert within(30, lambda: any(stream.held for stream in talkative._worker.batch.streams))
        (stream,), (lane,) = talkative._worker.batch.streams, talkative._worker.lanes
        stands_at = stream.frames
        with listening(running) as other:  # speaks as if it were not there
            other.say("Yes.")
            other.hear("audio.done")
        assert len(other.sound) >= 2 * HOP
        assert stream.frames <= stands_at + 2 * GROUP and lane.events.qsize() <= 4 + GROUP  # the last may be the end
        assert within(20, lambda: not running.service.admission.running)
        narrow.shutdown(socket.SHUT_RDWR)


def test_told_to_stop_the_server_says_what_it_began_and_takes_no_new_turn(serve: Serve, paced: Speaker) -> None:
    running = serve(paced)
    with listening(running) as client:
        client.say("Yes.")
        client.hear("audio.start")
        running.stop()
        assert within(10, lambda: not running.service.admission.is_open)
        client.say("Yes.")
        assert client.hear("audio.done")["turn"] == 0
        with contextlib.suppress(ConnectionClosed):
            assert error_of(client)["status"] == 503
    assert client.sound == expected(paced, "Yes.")


def test_half_a_surrogate_pair_that_is_told_back_does_not_break_the_socket(serve: Serve, speaker: Speaker) -> None:
    with listening(serve(speaker)) as client:
        client.send("input.text", text="Hello. \udc00 And")
        client.send("audio.cancel", played_ms=0)
        told = client.hear("audio.cancelled")
        assert told["heard"] + told["remaining"] == "Hello. ? And"
        client.say("Hello.")
        client.hear("audio.done")


def test_a_script_has_so_many_speakers_and_no_more(serve: Serve, speaker: Speaker) -> None:
    with listening(serve(speaker)) as client:
        client.send("session.config", cast={f"Speaker {number}": "Toy" for number in range(1, 18)})
        told = json.loads(client.socket.recv(60))
        assert told["status"] == 400 and told["error"]["message"].startswith("cast:")


@pytest.mark.parametrize(("grows_s", "waits"), [([1.0, 2.0, 2.0], 3), ([0.0], 1)])
def test_text_may_take_its_time_while_what_came_before_is_said(grows_s: list[float], waits: int) -> None:
    """So much speech has been made when it is looked; the wait ends when there was no more since the last look."""
    playback, looks = Playback(24_000, room=1), iter(grows_s)
    asked = list[int]()

    async def never() -> None:
        asked.append(1)
        playback.given_s = next(looks)
        await asyncio.Event().wait()

    live = SimpleNamespace(playback=playback)
    with pytest.raises(TimeoutError):
        asyncio.run(Patience(live, 0.01).wait(never))  # type: ignore[arg-type]
    assert len(asked) == waits
