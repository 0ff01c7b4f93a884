"""Loquor as LiveKit's agents use it: their own streams, with the toy behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import pytest

pytest.importorskip("livekit.agents", reason="LiveKit Agents is not installed: pip install 'loquor[livekit]'")

from livekit.agents import APIError
from livekit.agents.tts import SynthesizedAudio
from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT
from livekit.agents.voice.io import TimedString

from loquor.audio import pcm16
from loquor.engine.speaker import Speaker
from loquor.errors import ConfigError, VoiceError
from loquor.integrations.livekit import LoquorTTS
from server_fixtures import LONG, SENTENCE, within

T = TypeVar("T")
HOP_S = 3200 / 24_000


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, timeout=120))


def expected(speaker: Speaker, text: str) -> bytes:
    return pcm16(speaker.speak(text).waveform.numpy()).tobytes()


def sound(events: Sequence[SynthesizedAudio]) -> bytes:
    return b"".join(event.frame.data.tobytes() for event in events)


def words(events: Sequence[SynthesizedAudio]) -> list[TimedString]:
    return [word for event in events for word in event.frame.userdata.get(USERDATA_TIMED_TRANSCRIPT, [])]


async def whole(voice: LoquorTTS, text: str) -> list[SynthesizedAudio]:
    async with voice.synthesize(text) as stream:
        return [event async for event in stream]


async def streamed(voice: LoquorTTS, pieces: Sequence[str]) -> list[SynthesizedAudio]:
    async with voice.stream() as stream:
        for piece in pieces:
            stream.push_text(piece)
        stream.end_input()
        return [event async for event in stream]


def test_it_says_what_it_can_do(speaker: Speaker) -> None:
    voice = LoquorTTS(speaker)
    assert voice.capabilities.streaming and voice.capabilities.aligned_transcript
    assert (voice.sample_rate, voice.num_channels, voice.model, voice.provider) == (24_000, 1, "toy", "loquor")


def test_a_text_is_spoken_as_the_library_speaks_it(speaker: Speaker) -> None:
    assert sound(run(whole(LoquorTTS(speaker), SENTENCE))) == expected(speaker, SENTENCE)


def test_a_text_that_comes_in_pieces_is_spoken_as_the_whole(speaker: Speaker) -> None:
    events = run(streamed(LoquorTTS(speaker), [SENTENCE[at : at + 5] for at in range(0, len(SENTENCE), 5)]))
    assert sound(events) == expected(speaker, SENTENCE)
    assert [event.is_final for event in events] == [False] * (len(events) - 1) + [True]


def test_sound_comes_while_text_is_still_written(speaker: Speaker) -> None:
    async def first() -> SynthesizedAudio:
        async with LoquorTTS(speaker).stream() as stream:
            stream.push_text(SENTENCE)
            return await anext(stream)  # would wait for ever if the text had to end first

    assert run(first()).frame.samples_per_channel


@pytest.mark.parametrize(
    "text", [SENTENCE, f'"{SENTENCE}" - (she said) ... Well - yes!', "第一句话。 And 2nd.\n\nNew."]
)
def test_timed_words_are_the_text_and_come_no_later_than_their_sound(speaker: Speaker, text: str) -> None:
    events = run(streamed(LoquorTTS(speaker), [text]))
    timed = words(events)
    assert "".join(timed) == text
    starts = [word.start_time for word in timed]
    assert starts == sorted(starts) and starts[0] < HOP_S
    made_s = 0.0
    for event in events:
        for word in event.frame.userdata.get(USERDATA_TIMED_TRANSCRIPT, []):
            assert word.start_time >= made_s - HOP_S
        made_s += event.frame.duration
    assert starts[-1] <= made_s + 1e-6


def test_a_stream_that_is_closed_is_silent_at_once_and_the_next_one_speaks(paced: Speaker) -> None:
    voice = LoquorTTS(paced)

    async def interrupted() -> None:
        stream = voice.stream()
        stream.push_text(LONG)
        await anext(stream)
        await stream.aclose()

    async def twice() -> bytes:
        await interrupted()
        assert within(0.5, lambda: not paced._worker.batch.streams)
        return sound(await streamed(voice, ["Hello."]))

    assert run(twice()) == expected(paced, "Hello.")


def test_a_stream_without_a_word_ends_without_a_sound(speaker: Speaker) -> None:
    assert not run(streamed(LoquorTTS(speaker), []))


def test_what_cannot_be_said_is_an_error_and_not_tried_again(speaker: Speaker) -> None:
    voice, told = LoquorTTS(speaker), list[Any]()
    voice.on("error", told.append)
    with pytest.raises(APIError, match="holds nothing that can be spoken"):
        run(streamed(voice, ["..."]))
    assert [error.recoverable for error in told] == [False]


def test_a_voice_there_is_not_is_told_at_once(speaker: Speaker) -> None:
    with pytest.raises(VoiceError, match="there is no voice 'nobody'"):
        LoquorTTS(speaker, voice="nobody")


def test_a_model_that_needs_all_text_first_is_turned_away() -> None:
    class Dialogue:
        name = "VibeVoice-1.5B"

    with pytest.raises(ConfigError, match=r"VibeVoice-1\.5B does not"):
        LoquorTTS(Dialogue())  # type: ignore[arg-type]
