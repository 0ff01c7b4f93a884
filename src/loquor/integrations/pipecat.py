"""A voice for Pipecat (1.14): `LoquorTTSService()` in a pipeline, after the language model. The model runs in process.

Tokens go to the engine as the language model writes them: a turn is one session, spoken as one text. Words go out with
their times, so what the assistant's context keeps of an interrupted turn is what was heard; an interruption stops the
engine within a frame, and there is no connection to make anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from loquor.engine.speaker import Speaker
from loquor.errors import LoquorError, MissingExtra
from loquor.integrations.replying import Reply, Sounded, agent_speaker
from loquor.text.timing import UNSPACED

try:
    from pipecat.frames.frames import CancelFrame, ErrorFrame, Frame, TTSAudioRawFrame, TTSStoppedFrame
    from pipecat.services.settings import TTSSettings
    from pipecat.services.tts_service import TextAggregationMode, TTSService
except ImportError as error:
    raise MissingExtra("this needs Pipecat", hint="pip install 'loquor[pipecat]'") from error

SILENT_S = 60.0  # without sound, then Pipecat takes a turn for ended: language models think, and call tools


@dataclass
class LoquorTTSSettings(TTSSettings):
    """`voice` is a name from `loquor voices list`; a new one counts from the next turn on."""


@dataclass
class Turn:
    """What is being said in one of Pipecat's audio contexts."""

    reply: Reply
    taking: asyncio.Task[None] | None = None
    ends_at: float | None = None  # when all sound so far has been played
    late_s: float = 0.0  # how much later words are heard than without the pauses in which there was no text

    def play(self, sounded: Sounded, now: float) -> None:
        if self.ends_at is not None and now > self.ends_at:
            self.late_s += now - self.ends_at
            self.ends_at = now
        self.ends_at = (now if self.ends_at is None else self.ends_at) + sounded.seconds


class LoquorTTSService(TTSService):
    """Speech by a Realtime model: the embedded voice, or any that `loquor.load` gives."""

    Settings = LoquorTTSSettings
    _settings: LoquorTTSSettings

    def __init__(
        self,
        speaker: Speaker | None = None,
        *,
        seed: int = 0,
        settings: LoquorTTSSettings | None = None,
        text_aggregation_mode: TextAggregationMode = TextAggregationMode.TOKEN,
        **kwargs: Any,
    ) -> None:
        """VoiceError for a voice there is not, ConfigError for a model that cannot speak while text still comes."""
        self._speaker, self._seed = agent_speaker(speaker), seed
        chosen = LoquorTTSSettings(model=self._speaker.name, voice="default", language=None)
        if settings is not None:
            chosen.apply_update(settings)
        if chosen.voice != "default":
            self._speaker.voice_path(str(chosen.voice))
        super().__init__(
            text_aggregation_mode=text_aggregation_mode,
            push_text_frames=False,  # words are, with their times
            push_start_frame=True,
            append_trailing_space=True,  # between sentences, where Pipecat gathers them
            stop_frame_timeout_s=SILENT_S,
            settings=chosen,
            **kwargs,
        )
        self._turns: dict[str, Turn] = {}  # by the audio context they are said in
        self._failed: set[str] = set()  # contexts that could not be begun: their text is passed over

    def can_generate_metrics(self) -> bool:
        return True

    @property
    def supports_processing_metrics(self) -> bool:
        """Not: `run_tts` hands text over, sound comes later."""
        return False

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Text for a turn; its sound is put into the turn's audio context as it is made."""
        await self.start_tts_usage_metrics(text)
        if context_id in self._failed:
            return
        try:
            turn = self._turns.get(context_id) or await self._begin(context_id)
            await turn.reply.push(text)
            yield None
        except LoquorError as error:
            self._failed.add(context_id)
            yield ErrorFrame(error=str(error))

    async def flush_audio(self, context_id: str | None = None) -> None:
        """The turn's text is complete."""
        context_id = context_id or self.get_active_audio_context_id() or ""
        if turn := self._turns.get(context_id):
            await turn.reply.end()
        elif context_id in self._failed:
            await self._close(context_id)

    async def on_audio_context_interrupted(self, context_id: str) -> None:
        await self.stop_all_metrics()
        await self._drop(context_id)
        await super().on_audio_context_interrupted(context_id)

    async def cancel(self, frame: CancelFrame) -> None:
        await super().cancel(frame)
        await self._drop_all()

    async def cleanup(self) -> None:
        await super().cleanup()
        await self._drop_all()

    async def _begin(self, context_id: str) -> Turn:
        voice = str(self._settings.voice)
        turn = self._turns[context_id] = Turn(
            await asyncio.to_thread(Reply, self._speaker, voice, self._seed, self.sample_rate)
        )
        turn.taking = self.create_task(self._take(turn, context_id), name=f"speech {context_id}")
        return turn

    async def _take(self, turn: Turn, context_id: str) -> None:
        """A turn's sound and words into its context, to its end."""
        try:
            async for sounded in turn.reply.said():
                turn.play(sounded, asyncio.get_running_loop().time())
                for word in sounded.words:
                    text, at_s = word.text.strip(), word.start_s + turn.late_s
                    await self.add_word_timestamps([(text, at_s)], context_id, bool(UNSPACED.search(text)))
                if sounded.pcm:
                    frame = TTSAudioRawFrame(sounded.pcm, self.sample_rate, 1, context_id=context_id)
                    await self.append_to_audio_context(context_id, frame)
        except Exception as error:  # whatever it is, the turn must end, or Pipecat waits for it
            await self.append_to_audio_context(context_id, ErrorFrame(error=str(error), exception=error))
            await self._close(context_id)
            self._failed.add(context_id)  # the rest of its text is passed over
            return
        await self._close(context_id)

    async def _close(self, context_id: str) -> None:
        """Nothing more will be said in this context."""
        self._turns.pop(context_id, None)
        self._failed.discard(context_id)
        if self.audio_context_available(context_id):
            await self.append_to_audio_context(context_id, TTSStoppedFrame(context_id=context_id))
            await self.remove_audio_context(context_id)

    async def _drop(self, context_id: str) -> None:
        """Be silent, and forget the turn."""
        turn = self._turns.pop(context_id, None)
        self._failed.discard(context_id)
        if turn:
            turn.reply.cancel()
            if turn.taking:
                await self.cancel_task(turn.taking)

    async def _drop_all(self) -> None:
        for context_id in list(self._turns):
            await self._drop(context_id)
