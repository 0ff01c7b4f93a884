"""A model of ours at work: what it says, when each piece of it came, and the memory it took."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from loquor.audio.resample import Waveform
from loquor.engine.conversation import Conversation
from loquor.engine.converser import Converser
from loquor.engine.dialogue import DialogueSpeaker
from loquor.engine.load import load
from loquor.engine.speaker import Speaker
from loquor.evaluation.choices import Choices
from loquor.evaluation.performance import Performance
from loquor.evaluation.sets import Item
from loquor.models.vita.prompt import OMNI

Performed = tuple[Performance, Waveform]
SILENCE = np.zeros(0, dtype=np.float32)


@dataclass
class Take:
    """What a session says, with the time of each piece of sound since it was asked."""

    session: Any
    pieces: list[Waveform] = field(default_factory=list)
    arrivals_s: list[float] = field(default_factory=list)
    stalled_s: float = 0.0  # of somebody who listens from the first piece on

    def listen(self, asked_at: float) -> None:
        try:
            for chunk in self.session:
                if len(chunk.waveform):
                    self.arrivals_s.append(time.perf_counter() - asked_at)
                    self.pieces.append(chunk.waveform.float().cpu().numpy())
                    late = self.arrivals_s[-1] - self.arrivals_s[0] - chunk.start_s
                    self.stalled_s = max(self.stalled_s, late)
        finally:
            self.session.cancel()


class LoadedModel:
    """A model that speaks, and a VITA-Audio model, which transcribes and answers as well.

    Long-form models and VITA-Audio imitate the prompt of an item; a Realtime model speaks in a voice it has.
    """

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self._model = load(choices.model, choices.device, choices.dtype, choices.adapter, backend=choices.backend)
        self._is_warm = False

    def perform(self, item: Item) -> Performed:
        """What the model makes of an item: facts and waveform [T]. Raises what it raises."""
        if not self._is_warm:  # the first call of a process allocates and plans: it says nothing of the second
            self._warm_up(item)
        asked_at = time.perf_counter()
        if item.task == "transcribe":
            assert isinstance(self._model, Converser) and item.heard
            text = self._model.transcribe(item.heard, seed=self._choices.seed_of(item))
            took = time.perf_counter() - asked_at
            return Performance(text=text, compute_s=took, **memory_held(self._choices.device)), SILENCE
        take = Take(self._session(item))
        take.listen(asked_at)
        return self._performed(item, take)

    def _warm_up(self, item: Item) -> None:
        self._is_warm = True
        if item.task != "transcribe":
            session = self._session(item)
            next(iter(session), None)
            session.cancel()

    def _session(self, item: Item) -> Any:
        model, choices, seed = self._model, self._choices, self._choices.seed_of(item)
        voice = None if choices.voice == "default" else choices.voice
        if isinstance(model, Converser):
            if item.task == "answer":
                assert item.heard
                asked = (item.text, item.heard) if item.text else (item.heard,)
                return model.chat(*asked, history=Conversation(OMNI), seed=seed)
            return model.say(item.text, item.prompt or voice, seed=seed)
        sampling: dict[str, Any] = {"guidance": choices.guidance, "steps": choices.steps, "seed": seed}
        if isinstance(model, DialogueSpeaker):
            return model.session(item.text, str(item.prompt) if item.prompt else voice, **sampling)
        session = model.session(choices.voice, **sampling)
        session.push(item.text)
        session.end()
        return session

    def _performed(self, item: Item, take: Take) -> Performed:
        waveform = np.concatenate(take.pieces) if take.pieces else SILENCE
        facts = Performance(
            text=take.session.text if isinstance(self._model, Converser) else "",
            finish=take.session.finish or "end",
            imitates=item.prompt is not None and not isinstance(self._model, Speaker),
            **memory_held(self._choices.device),
        )
        if not take.pieces:
            return facts, waveform
        heard = replace(
            facts,
            seconds=len(waveform) / self._model.sample_rate_hz,
            sample_rate_hz=self._model.sample_rate_hz,
            first_audio_ms=1000 * take.arrivals_s[0],
            gaps_ms=tuple(round(1000 * (later - earlier), 3) for earlier, later in pairwise(take.arrivals_s)),
            stall_ms=1000 * take.stalled_s,
            compute_s=take.arrivals_s[-1],
        )
        return heard, waveform


def memory_held(device: str) -> dict[str, Any]:
    """The most this process has held so far, in MB; where the system does not tell, nothing."""
    measured: dict[str, Any] = {}
    if sys.platform != "win32":
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB; on macOS bytes
        measured["peak_memory_mb"] = peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
    if device != "cpu" and torch.cuda.is_available():
        measured["accelerator_memory_mb"] = torch.cuda.max_memory_allocated() / 1e6
    return measured
