"""A voice for LiveKit Agents (1.8): `AgentSession(tts=LoquorTTS(), ...)`. The model runs in the agent's own process.

A stream is one reply of the language model. Its words go out with the sound and their times (aligned transcripts), so
the agent knows after an interruption which were heard; a stream that is closed stops the engine within a frame, and
there is no connection to make anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING

from loquor.engine.speaker import Speaker
from loquor.errors import LoquorError, MissingExtra
from loquor.integrations.replying import Reply, agent_speaker

try:
    from livekit.agents import APIConnectOptions, APIError, tts, utils
    from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS
    from livekit.agents.voice.io import TimedString
except ImportError as error:
    raise MissingExtra("this needs LiveKit Agents", hint="pip install 'loquor[livekit]'") from error

if TYPE_CHECKING:
    from livekit.agents.tts.tts import AudioEmitter

PCM = "audio/pcm"
FRAME_MS = 40  # of the frames LiveKit cuts sound into: an interruption is noticed between two


class LoquorTTS(tts.TTS[str]):
    """Speech by a Realtime model: the embedded voice, or any that `loquor.load` gives."""

    def __init__(self, speaker: Speaker | None = None, voice: str = "default", seed: int = 0) -> None:
        """VoiceError for a voice there is not, ConfigError for a model that cannot speak while text still comes."""
        self.speaker, self.voice, self.seed = agent_speaker(speaker), voice, seed
        if voice != "default":
            self.speaker.voice_path(voice)
        capabilities = tts.TTSCapabilities(streaming=True, aligned_transcript=True)
        super().__init__(capabilities=capabilities, sample_rate=self.speaker.sample_rate_hz, num_channels=1)

    @property
    def model(self) -> str:
        return self.speaker.name

    @property
    def provider(self) -> str:
        return "loquor"

    def prewarm(self) -> None:
        """One frame, so that the first reply does not wait for memory."""
        next(self.speaker.stream("One."), None)

    def synthesize(self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS) -> WholeText:
        return WholeText(tts=self, input_text=text, conn_options=conn_options)

    def stream(self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS) -> TextAsItComes:
        return TextAsItComes(tts=self, conn_options=conn_options)

    def reply(self) -> Reply:
        return Reply(self.speaker, self.voice, self.seed, self.sample_rate)


class WholeText(tts.ChunkedStream):
    """A text that is there."""

    async def _run(self, output_emitter: AudioEmitter) -> None:
        _begin(output_emitter, self._tts, is_streamed=False)
        await _speak(self._tts, _whole(self.input_text), output_emitter)


class TextAsItComes(tts.SynthesizeStream):
    """A text that is still being written. It ends with the first `flush`, as LiveKit asks of streams."""

    async def _run(self, output_emitter: AudioEmitter) -> None:
        _begin(output_emitter, self._tts, is_streamed=True)
        pieces = self._pieces()
        first = await anext(pieces, None)
        if first is None:
            return
        self._mark_started()
        output_emitter.start_segment(segment_id=utils.shortuuid())
        await _speak(self._tts, _joined(first, pieces), output_emitter)
        output_emitter.end_segment()

    async def _pieces(self) -> AsyncIterator[str]:
        async for piece in self._input_ch:
            if not isinstance(piece, str):
                return
            yield piece


async def _whole(text: str) -> AsyncIterator[str]:
    yield text


async def _joined(first: str, rest: AsyncIterator[str]) -> AsyncIterator[str]:
    yield first
    async for piece in rest:
        yield piece


def _begin(emitter: AudioEmitter, made: tts.TTS[str], is_streamed: bool) -> None:
    emitter.initialize(
        request_id=utils.shortuuid(),
        sample_rate=made.sample_rate,
        num_channels=1,
        mime_type=PCM,
        frame_size_ms=FRAME_MS,
        stream=is_streamed,
    )


async def _speak(made: tts.TTS[str], pieces: AsyncIterator[str], emitter: AudioEmitter) -> None:
    """A text to its last sample, unless the task is cancelled; APIError, not to be tried again, for what cannot be."""
    assert isinstance(made, LoquorTTS)
    try:
        reply = await asyncio.to_thread(made.reply)
        pushing = asyncio.create_task(_push(reply, pieces))
        try:
            async with aclosing(reply.said()) as said:  # type: ignore[type-var]
                async for piece in said:
                    for word in piece.words:
                        emitter.push_timed_transcript(TimedString(word.text, word.start_s, word.end_s))
                    emitter.push(piece.pcm)
            await pushing
        finally:
            reply.cancel()
            pushing.cancel()
            await asyncio.gather(pushing, return_exceptions=True)
    except LoquorError as error:
        raise APIError(str(error), retryable=False) from error


async def _push(reply: Reply, pieces: AsyncIterator[str]) -> None:
    try:
        async for piece in pieces:
            await reply.push(piece)
        await reply.end()
    except BaseException:
        reply.cancel()
        raise
