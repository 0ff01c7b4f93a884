"""Home Assistant's protocol from outside, with the client of its own package: what is offered, said, and refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeVoice,
)

from loquor.audio import Waveform, pcm16
from loquor.engine.speaker import Speaker
from loquor.server import running as running_module
from loquor.server.keys import Guard
from loquor.server.service import Limits
from loquor.server.wiring import Server
from loquor.server.wyoming.listener import Listener
from server_fixtures import HOP, LONG, SENTENCE, Running, Serve, within
from toy import named_voice

PATIENCE_S = 60.0
Use = Callable[[AsyncTcpClient], Awaitable[Any]]


@pytest.fixture
def use() -> Iterator[Callable[[Running, Use], Any]]:
    """Runs a client against a server: `use(running, what)`."""
    ports: dict[str, int] = {}

    def port_of(running: Running) -> int:
        """Wyoming's port, opened beside HTTP's as `loquor serve` does."""
        if running.url not in ports:
            bound = running_module.bind("127.0.0.1", 0)
            listener = Listener(Server(running.service, Guard(None), facts={"version": "1.2"}), bound)
            assert running.server._loop is not None
            asyncio.run_coroutine_threadsafe(listener.open(), running.server._loop).result(10)
            running.server._beside = (listener,)
            ports[running.url] = bound.getsockname()[1]
        return ports[running.url]

    def run(running: Running, what: Use) -> Any:
        async def client() -> Any:
            async with AsyncTcpClient("127.0.0.1", port_of(running), read_timeout=PATIENCE_S) as connected:
                return await what(connected)

        return asyncio.run(client())

    return run


async def read_all(client: AsyncTcpClient, last: str = "audio-stop") -> list[Event]:
    """Events until one of type `last`, or the connection's end."""
    events = []
    while (event := await client.read_event()) is not None:
        events.append(event)
        if event.type == last:
            break
    return events


def said(events: list[Event]) -> bytes:
    return b"".join(AudioChunk.from_event(event).audio for event in events if AudioChunk.is_type(event.type))


def expected(speaker: Speaker, text: str, **sampling: Any) -> bytes:
    return pcm16(speaker.speak(text, **sampling).waveform.numpy()).tobytes()


def asking(text: str, voice: SynthesizeVoice | None = None) -> Use:
    async def what(client: AsyncTcpClient) -> list[Event]:
        await client.write_event(Synthesize(text=text, voice=voice).event())
        return await read_all(client)

    return what


def sending(*events: Event) -> Use:
    """Whatever is answered, to the connection's end."""

    async def what(client: AsyncTcpClient) -> list[Event]:
        for event in events:
            await client.write_event(event)
        return await read_all(client, last="never")

    return what


async def described(client: AsyncTcpClient) -> Info:
    await client.write_event(Describe().event())
    event = await client.read_event()
    assert event is not None and Info.is_type(event.type)
    return Info.from_event(event)


def test_it_tells_of_every_voice_and_that_it_streams(serve: Serve, speaker: Speaker, use: Any) -> None:
    info = use(serve(speaker), described)
    (program,) = info.tts
    assert program.supports_synthesize_streaming and program.installed and not info.asr
    voices = {voice.name: voice for voice in program.voices}
    assert list(voices) == ["default", "Toy"]
    for voice in voices.values():
        assert (voice.languages, voice.installed, voice.version) == (["en"], True, "1.2")
        assert voice.attribution.name == "toy"


def test_a_text_is_spoken_as_the_library_speaks_it(serve: Serve, speaker: Speaker, use: Any) -> None:
    running = serve(speaker)
    events = use(running, asking(SENTENCE))
    start, stop = AudioStart.from_event(events[0]), AudioStop.from_event(events[-1])
    assert (start.rate, start.width, start.channels) == (24_000, 2, 1)
    assert said(events) == expected(speaker, SENTENCE)
    assert stop.timestamp == round(1000 * len(said(events)) / 2 / 24_000)
    assert within(10, lambda: bool(running.audit))
    (note,) = running.audit
    assert (note["protocol"], note["outcome"], note["client"]) == ("wyoming", "end", "anonymous")


def test_one_connection_says_one_text_after_the_other(serve: Serve, speaker: Speaker, use: Any) -> None:
    async def two(client: AsyncTcpClient) -> list[bytes]:
        for text in ("One.", "Two words."):
            await client.write_event(Synthesize(text=text).event())
        return [said(await read_all(client)) for _ in range(2)]

    assert use(serve(speaker), two) == [expected(speaker, "One."), expected(speaker, "Two words.")]


def test_speech_begins_while_text_still_comes(serve: Serve, speaker: Speaker, use: Any) -> None:
    """As Home Assistant sends it: with the whole text once more before the end, for servers that do not stream."""

    async def stream(client: AsyncTcpClient) -> tuple[Event, list[Event]]:
        await client.write_event(SynthesizeStart(voice=SynthesizeVoice(name="Toy")).event())
        await client.write_event(SynthesizeChunk(text=f" {SENTENCE[:30]}").event())
        first = await client.read_event()  # would wait for ever if all text had to be there
        assert first is not None
        await client.write_event(SynthesizeChunk(text=SENTENCE[30:]).event())
        await client.write_event(Synthesize(text=SENTENCE).event())
        await client.write_event(SynthesizeStop().event())
        return first, await read_all(client, last="synthesize-stopped")

    first, rest = use(serve(speaker), stream)
    assert AudioStart.is_type(first.type)
    assert said(rest) == expected(speaker, SENTENCE)
    assert AudioStop.is_type(rest[-2].type) and SynthesizeStopped.is_type(rest[-1].type)


def test_a_voice_is_found_by_its_language(serve: Serve, speaker: Speaker, use: Any) -> None:
    assert speaker.folder is not None
    roya = replace(named_voice(speaker.model, "Roya", seed=1), language="fa")
    file = speaker.folder / "voices" / "Roya.safetensors"
    roya.save(file)
    try:
        running = serve(speaker)
        for voice, name in [("fa-IR", "Roya"), ("en_GB", "Toy")]:
            events = use(running, asking(SENTENCE, SynthesizeVoice(language=voice)))
            assert said(events) == expected(speaker, SENTENCE, voice=name)
        assert expected(speaker, SENTENCE, voice="Roya") != expected(speaker, SENTENCE, voice="Toy")
    finally:
        file.unlink()


@pytest.mark.parametrize(
    "voice",
    [
        SynthesizeVoice(name="nobody"),
        SynthesizeVoice(language="de-DE"),
        SynthesizeVoice(name="Toy", speaker="her sister"),
        SynthesizeVoice(name="../../secret.safetensors"),
    ],
)
def test_who_asks_for_a_voice_there_is_not_hears_no_other(
    serve: Serve, speaker: Speaker, use: Any, voice: SynthesizeVoice
) -> None:
    running = serve(speaker)
    for request in (Synthesize(text="Hello.", voice=voice), SynthesizeStart(voice=voice)):
        (event,) = use(running, sending(request.event()))
        assert Error.from_event(event).code == "voice_not_found"
    assert not running.service.admission.running


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([Synthesize(text=" \n").event()], "the text is empty"),
        ([Synthesize(text="...").event()], "holds nothing that can be spoken"),
        ([SynthesizeStart().event(), SynthesizeStop().event()], "the text is empty"),
        ([SynthesizeChunk(text="Hello.").event()], "text came before synthesize-start"),
        ([SynthesizeStart().event(), SynthesizeStart().event()], "before synthesize-stop"),
        ([Synthesize(text="<speak>Hello.</speak>", text_format="ssml").event()], "'ssml' is not read here"),
        ([Synthesize(text="x" * 30_000).event()], "may have 20000 characters"),
        ([Event("synthesize", {"text": 7})], "needs a text"),
        ([Event("synthesize", {"text": "Hello.", "voice": {"name": 7}})], "name of a voice must be text"),
        ([Event("synthesize", {"text": "x" * 2**21})], "data_length must be 0 to 1048576"),
        ([AudioStart(16_000, 4, 1).event()], "samples of 2 bytes"),
        ([AudioStart(16_000, 2, 1).event(), AudioStop().event()], "no transcriber"),
    ],
)
def test_what_cannot_be_is_told_and_ends_the_connection(
    serve: Serve, speaker: Speaker, use: Any, events: list[Event], message: str
) -> None:
    running = serve(speaker)
    *before, last = use(running, sending(*events))
    assert not before and message in Error.from_event(last).text
    assert within(10, lambda: not running.service.admission.running)


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1\r\n", b"[]\n", b"{}\n", b'{"type": "x", "payload_length": 1e99}\n'])
def test_what_is_no_event_is_told(serve: Serve, speaker: Speaker, use: Any, line: bytes) -> None:
    async def send(client: AsyncTcpClient) -> list[Event]:
        assert client._writer is not None
        client._writer.write(line)
        return await read_all(client, last="never")

    (event,) = use(serve(speaker), send)
    assert "no Wyoming event" in Error.from_event(event).text


def test_unknown_events_are_passed_over_and_a_ping_is_answered(serve: Serve, speaker: Speaker, use: Any) -> None:
    async def ping(client: AsyncTcpClient) -> Event | None:
        await client.write_event(Event("select-program", {"name": "loquor"}))
        await client.write_event(Ping(text="there?").event())
        return await client.read_event()

    assert Pong.from_event(use(serve(speaker), ping)).text == "there?"


def test_a_client_that_goes_is_gone_within_two_frames(serve: Serve, paced: Speaker, use: Any) -> None:
    running = serve(paced)

    async def leave(client: AsyncTcpClient) -> Any:
        await client.write_event(Synthesize(text=LONG).event())
        assert await client.read_event()
        (stream,) = paced._worker.batch.streams
        return stream, stream.frames

    stream, frames = use(running, leave)
    assert within(10, lambda: stream.finish == "cancelled" and not running.service.admission.running)
    assert stream.frames <= frames + 2
    assert within(10, lambda: bool(running.audit)) and running.audit[0]["outcome"] == "cancelled"


def test_no_slot_is_held_before_there_is_a_word_nor_long_without_more(serve: Serve, speaker: Speaker, use: Any) -> None:
    running = serve(speaker, Limits(slots=1, stall_s=0.3))

    async def hesitate(client: AsyncTcpClient) -> list[Event]:
        await client.write_event(SynthesizeStart().event())
        await client.write_event(SynthesizeChunk(text="  ").event())
        await client.write_event(Ping().event())
        assert await client.read_event()
        assert not running.service.admission.running
        await client.write_event(SynthesizeChunk(text=SENTENCE).event())
        return await read_all(client, last="never")

    assert "no text came for 0.3 s" in Error.from_event(use(running, hesitate)[-1]).text
    assert within(10, lambda: not running.service.admission.running)


def test_told_to_stop_it_says_what_it_began_and_takes_nothing_new(serve: Serve, paced: Speaker, use: Any) -> None:
    running, whole = serve(paced), expected(paced, SENTENCE)

    async def speak(client: AsyncTcpClient) -> tuple[list[Event], list[Event]]:
        async with AsyncTcpClient(client.host, client.port, read_timeout=PATIENCE_S) as other:
            await client.write_event(Synthesize(text=SENTENCE).event())
            assert await client.read_event()
            running.stop()
            while running.service.admission.is_open:
                await asyncio.sleep(0.01)
            await other.write_event(Synthesize(text=SENTENCE).event())
            return await read_all(other), await read_all(client, last="never")

    refused, heard = use(running, speak)
    assert Error.from_event(refused[0]).code == "overloaded"
    assert said(heard) == whole and AudioStop.is_type(heard[-1].type)
    running.thread.join(20)
    assert not running.thread.is_alive()


def test_a_recording_is_written_down(serve: Serve, speaker: Speaker, use: Any) -> None:
    class Counting:
        def transcribe(self, waveform: Waveform, sample_rate_hz: int) -> str:
            return json.dumps([len(waveform), sample_rate_hz, round(float(waveform.max()), 3)])

    running = serve(speaker, transcriber=Counting())
    sound = np.stack([np.full(1600, 8192), np.full(1600, 0)], axis=1).astype("<i2").tobytes()  # two channels

    async def transcribe(client: AsyncTcpClient) -> Event | None:
        await client.write_event(Transcribe(language="en").event())
        await client.write_event(AudioStart(16_000, 2, 2).event())
        for start in range(0, len(sound), 1000):
            await client.write_event(AudioChunk(16_000, 2, 2, audio=sound[start : start + 1000]).event())
        await client.write_event(AudioStop().event())
        return await client.read_event()

    assert json.loads(Transcript.from_event(use(running, transcribe)).text) == [1600, 16_000, 0.125]
    (program,) = use(running, described).asr
    assert "en" in program.models[0].languages


def test_the_sound_of_a_frame_is_sent_as_it_is_made(serve: Serve, talkative: Speaker, use: Any) -> None:
    running = serve(talkative)

    async def first_frames(client: AsyncTcpClient) -> list[Event]:
        await client.write_event(Synthesize(text=LONG).event())
        events = [await client.read_event() for _ in range(4)]
        assert running.service.admission.running
        return [event for event in events if event is not None]

    assert [len(event.payload or b"") for event in use(running, first_frames)[1:]] == [2 * HOP] * 3
