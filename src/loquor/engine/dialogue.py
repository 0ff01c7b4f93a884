"""Speaks whole scripts, all voices in one pass, as the paper does (arXiv:2508.19205): the friendly face of long-form.

A script of several speakers is given with its cast: a recording for each. What is too long for one pass, or has too
many speakers, is what `loquor podcast` is for.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loquor.configs import read_json
from loquor.engine.hub import model_name
from loquor.engine.listening import FrameListening
from loquor.engine.longform import LongformBatch, LongformStream, voice_latents
from loquor.engine.request import Chunk, Frame, LongformFrame, Sampling
from loquor.engine.speaker import DEFAULTS_FILE, require_text
from loquor.engine.speech import Progress, Recording, Speech
from loquor.engine.worker import Lane, Worker
from loquor.errors import CapacityError, ConfigError, InputError, ScriptError, VoiceError
from loquor.models import LONGFORM, Adapters
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.models.longform.checkpoint import load_longform
from loquor.models.longform.model import LongformModel
from loquor.models.longform.prompt import MOST_VOICES, Line, SpecialIds, write_prompt
from loquor.text.qwen_tokenizer import QwenTokenizer
from loquor.text.script import Script, parse_script, plain_quotes
from loquor.text.timing import estimated_s
from loquor.text.turns import Names
from loquor.voices.catalogue import catalogue, voice_file
from loquor.voices.recording import RecordedVoice, open_voice

logger = logging.getLogger(__name__)

AnyVoice = RecordedVoice | str | Path  # a recording, its name in the catalogue, or its file
Cast = Mapping[str, AnyVoice] | AnyVoice | None  # speakers' names to voices; one voice for the only speaker; or none

GUIDANCE, STEPS = 1.3, 10  # what the published demo of long-form uses
GENERATION_FILE = "generation_config.json"  # of the transformers layout
GENERATION_KEYS = {"guidance_scale": "guidance", "num_diffusion_steps": "steps"}
LENGTH_TIMES = 3.0  # frames allowed for a token of the prompt; ordinary speech has 2.3, the published limit is 2
AT_ONCE = 8  # scripts of `speak_many` that share a batch
VOICES_KEPT = 32  # whose latents are remembered


@dataclass(frozen=True, eq=False)
class Part:
    """A script ready to be spoken."""

    stream: LongformStream
    text: str
    voice: str  # names of its voices


class DialogueSession(FrameListening[LongformStream]):
    """A script being spoken: take its chunks. Nothing can be added to it."""

    def __init__(self, lane: Lane[LongformStream], part: Part, frame_s: float) -> None:
        super().__init__(lane, frame_s)
        self.part = part
        lane.waiting.append(part.stream)
        self.end()

    def end(self) -> None:
        self._lane.closed = True
        self._lane.notify()

    def _chunk(self, frame: Frame, waveform: Tensor, start_s: float) -> Chunk:
        assert isinstance(frame, LongformFrame)
        return Chunk(
            waveform=waveform,
            latents=frame.latent[None],
            start_s=start_s,
            end_s=start_s + self._frame_s,
            text_end=len(self.part.text),  # all of it is read before the first word is said
            features=frame.features[None],
        )


class DialogueSpeaker:
    """Speaks with one long-form model. All methods may be called from any thread; they share the model and one batch.

    `script` is a `Script`, or the text of one (see `loquor.text.script`). `cast` gives a voice for every speaker; one
    voice will do for a script of one speaker. Without any the model makes up voices. Arguments that are None take the
    model's own default.
    """

    def __init__(self, model: LongformModel, folder: Path | None = None) -> None:
        self.model, self.folder, self.tokenizer = model, folder, QwenTokenizer()
        if self.tokenizer.vocab_size > model.config.decoder.vocab_size:
            raise ConfigError(
                f"the tokenizer has {self.tokenizer.vocab_size} ids, the model {model.config.decoder.vocab_size}",
                hint="long-form models are built on Qwen2.5, which has more than 151 000",
            )
        self.sample_rate_hz = SAMPLE_RATE_HZ
        self.watermark = True  # what listeners get is marked as made here
        self.defaults = _defaults(folder)
        self._worker = Worker(LongformBatch(model, SpecialIds.of(self.tokenizer)))
        self._recordings: dict[Path, RecordedVoice] = {}
        self._latents = lru_cache(maxsize=VOICES_KEPT)(partial(voice_latents, model))

    @classmethod
    def open(
        cls, folder: Path, device: str = "cpu", dtype: torch.dtype | None = None, adapter: Adapters = ()
    ) -> DialogueSpeaker:
        """The speaker of a checkpoint folder, with adapters merged into its weights.

        `dtype` None is what the file holds: in float32 these models would take twice their memory. But on the CPU
        float16 becomes float32, as it is slow there.
        """
        model = load_longform(folder, dtype)
        if dtype is None and device == "cpu" and model.embedding.weight.dtype == torch.float16:
            model = model.float()
        LONGFORM.merge(model, adapter)
        return cls(model.to(device), folder)

    @property
    def name(self) -> str:
        """Of the model, as files of its speech give it: that of its folder."""
        return model_name(self.folder)

    @property
    def frame_s(self) -> float:
        return self.model.config.hop_samples / self.sample_rate_hz

    @property
    def voices(self) -> list[str]:
        """Names of the voices at hand."""
        return list(catalogue(self.folder))

    def session(
        self,
        script: Script | str,
        cast: Cast = None,
        guidance: float | None = None,
        steps: int | None = None,
        seed: int = 0,
    ) -> DialogueSession:
        """The script being spoken. Raises at once what is wrong with it: see `speak`."""
        return self._begin(self._part(script, cast, self._sampling(guidance, steps, seed)))

    def stream(
        self,
        script: Script | str,
        cast: Cast = None,
        guidance: float | None = None,
        steps: int | None = None,
        seed: int = 0,
    ) -> Iterator[Chunk]:
        """Chunks of one frame, as soon as they exist. Raises at once like `speak`; closing it cancels the speech."""
        return _chunks(self.session(script, cast, guidance, steps, seed))

    def speak(
        self,
        script: Script | str,
        cast: Cast = None,
        guidance: float | None = None,
        steps: int | None = None,
        seed: int = 0,
        progress: Callable[[Progress], None] | None = None,
    ) -> Speech:
        """The whole script as speech.

        ScriptError if it cannot be read or has too many speakers, VoiceError if a speaker has no voice, InputError if
        the cast has somebody else, CapacityError if it is too long for one pass.
        """
        recording = Recording(progress)
        with self.session(script, cast, guidance, steps, seed) as session:
            return self._gather(session, recording)

    def speak_many(
        self,
        scripts: Sequence[Script | str],
        cast: Cast = None,
        guidance: float | None = None,
        steps: int | None = None,
        seed: int = 0,
    ) -> list[Speech]:
        """Several scripts with one cast, side by side: each sounds as if it were spoken alone. Raises like `speak`.

        Times in the results are those since the call.
        """
        sampling = self._sampling(guidance, steps, seed)
        waiting = deque(self._part(script, cast, sampling) for script in scripts)
        recordings = deque(Recording() for _ in scripts)
        spoken, sessions = list[Speech](), deque[DialogueSession]()
        try:
            while waiting or sessions:
                while waiting and len(sessions) < AT_ONCE:
                    sessions.append(self._begin(waiting.popleft()))
                spoken.append(self._gather(sessions[0], recordings.popleft()))
                sessions.popleft()
        finally:
            for session in sessions:
                session.cancel()
        return spoken

    def _begin(self, part: Part) -> DialogueSession:
        session = DialogueSession(self._worker.open(), part, self.frame_s)
        if self.watermark:
            session.watermark(self.sample_rate_hz)
        return session

    def _gather(self, session: DialogueSession, recording: Recording) -> Speech:
        for chunk in session:
            recording.add(chunk)
        if not recording.chunks:
            raise InputError("the model ended before it said anything", hint="try another seed, or more text")
        session.tell_of_limits()
        part = session.part
        return recording.speech(self.sample_rate_hz, part.text, part.voice, session.finish or "end", self.name)

    def _sampling(self, guidance: float | None, steps: int | None, seed: int) -> Sampling:
        return Sampling(
            guidance=self.defaults["guidance"] if guidance is None else guidance,
            steps=self.defaults["steps"] if steps is None else steps,
            seed=seed,
        )

    def _part(self, script: Script | str, cast: Cast, sampling: Sampling) -> Part:
        """What is asked for, checked; only the voices take time."""
        read = _script(script, cast)
        if any(turn.pause_before_s or turn.chapter for turn in read.turns):
            logger.warning("pauses and chapters are not spoken in one pass: `loquor podcast` keeps them")
        voices = [self._recording(voice) for voice in self._voices(read.speakers, cast)]
        hop = self.model.config.hop_samples
        lines = [Line(read.speakers.index(turn.speaker), plain_quotes(turn.text)) for turn in read.turns]
        prompt = write_prompt(self.tokenizer, lines, [-(-len(voice.waveform) // hop) for voice in voices])
        self._require_room(len(prompt), sum(estimated_s(turn.text) for turn in read.turns))
        latents = [self._latents(voice.waveform, sampling.seed) for voice in voices]
        stream = LongformStream(prompt, latents, sampling, max_length_times=LENGTH_TIMES)
        text = script if isinstance(script, str) else "\n".join(f"{t.speaker}: {t.text}" for t in read.turns)
        return Part(stream, text, ", ".join(voice.name for voice in voices))

    def _require_room(self, prompt: int, seconds: float) -> None:
        frames, context = round(seconds / self.frame_s), self.model.config.context
        if prompt + frames > context:
            raise CapacityError(
                f"the script is too long for one pass: with its voices it takes {prompt} positions, and about {frames} "
                f"more to say it ({seconds / 60:.0f} min), but the model has {context}",
                hint="`loquor podcast` speaks scripts of any length",
            )

    def _voices(self, speakers: Sequence[str], cast: Cast) -> list[AnyVoice]:
        """The voices of all speakers, or none at all."""
        if cast is None and len(speakers) == 1:
            cast = self.defaults.get("voice")
        if not cast:
            return []
        if not isinstance(cast, Mapping):
            if len(speakers) > 1:
                raise VoiceError(
                    f"there is one voice for {len(speakers)} speakers: {', '.join(speakers)}",
                    hint="give a cast: a voice for each of them",
                )
            return [cast]
        names = Names(speakers)
        known = {names.spelled(name): voice for name, voice in cast.items()}
        for speaker in speakers:
            if speaker not in known:
                raise VoiceError(f"there is no voice for {speaker}", hint=f"the cast has {', '.join(cast)}")
        return [known[speaker] for speaker in speakers]

    def _recording(self, voice: AnyVoice) -> RecordedVoice:
        """The recording that is meant; those of files are kept."""
        if isinstance(voice, RecordedVoice):
            return voice
        path = voice_file(str(voice), self.folder)
        if path not in self._recordings:
            opened = open_voice(path)
            if not isinstance(opened, RecordedVoice):
                raise VoiceError(
                    f"{path} is the voice of a Realtime model, and a long-form model needs a recording",
                    hint="make one: loquor voices create NAME --audio FILE",
                )
            self._recordings[path] = opened
        return self._recordings[path]


def _script(script: Script | str, cast: Cast) -> Script:
    """The script, with turns and no more speakers than one pass can have."""
    if isinstance(script, str):
        require_text(script)
        script = parse_script(script, cast_names=list(cast) if isinstance(cast, Mapping) else [])
    if not isinstance(script, Script):
        raise InputError(f"a script must be text or a Script, got {type(script).__name__}")
    if not script.turns:
        raise ScriptError("the script has no turn", hint="write one a line: Speaker 1: Hello.")
    if len(script.speakers) > MOST_VOICES:
        raise ScriptError(
            f"the script has {len(script.speakers)} speakers, one pass at most {MOST_VOICES}: "
            f"{', '.join(script.speakers)}",
            hint="`loquor podcast` speaks scripts of any number",
        )
    return script


def _defaults(folder: Path | None) -> dict[str, Any]:
    """Guidance and steps, and perhaps a voice: ours, those of the transformers layout, or the published demo's."""
    found: dict[str, Any] = {"guidance": GUIDANCE, "steps": STEPS}
    if folder and (folder / GENERATION_FILE).exists():
        values = read_json(folder / GENERATION_FILE)
        found |= {ours: values[name] for name, ours in GENERATION_KEYS.items() if values.get(name) is not None}
    if folder and (folder / DEFAULTS_FILE).exists():
        found |= read_json(folder / DEFAULTS_FILE)
    return found


def _chunks(session: DialogueSession) -> Iterator[Chunk]:
    """The chunks of `session`, which ends with this iterator."""
    try:
        yield from session
    finally:
        session.cancel()
    session.tell_of_limits()
