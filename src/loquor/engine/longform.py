"""Long-form generation: many scripts, each of its own length and age, in one batch (arXiv:2508.19205, section 2.2).

A step is one token of every stream: a frame, speech end or start, or the end of it all. A frame is sampled, decoded,
heard again, and becomes the stream's next input. The negative branch of guidance is fed the same inputs in the same
pass; what it was fed is taken back where no frame came of it, as the published order has it advance for frames only. So
what a stream says does not depend on who shares the batch. Streams join and leave between steps, and one that joins
reads its prompt in pieces while the others speak.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from loquor.diffusion.noise import Noise, SeededNoise
from loquor.diffusion.sample import Sampler
from loquor.engine.latents import LatentSampler
from loquor.engine.request import LongformFrame, Sampling
from loquor.errors import CapacityError
from loquor.models.longform.model import LongformModel, LongformState
from loquor.models.longform.prompt import Prompt, SpecialIds, Spoken, embed_prompt
from loquor.nn.attention import KVCache

PIECE = 512  # positions read per step: memory for attention stays small, and others do not wait long
VOICE_DRAWS = 2**63  # the noise of frames has lower numbers, that of voices these
AHEAD = 512  # positions a stream has room for when it joins; caches grow with what is said


@dataclass(eq=False)
class LongformStream:
    """A prompt being spoken; `frames` counts what it has said, `tokens` are what it chose."""

    prompt: Prompt
    voices: Sequence[Tensor]  # latents [N, D] of each, normalised
    sampling: Sampling
    spoken: Spoken | None = None  # what it carries on from
    noise: Noise | None = None  # None: from the seed
    first_frame: int = 0  # number of the first frame, for the noise
    max_length_times: float = 2.0  # tokens it may choose, as a multiple of those of the prompt
    refresh_negative: bool = True  # False: the negative branch hears all tokens and never starts anew
    cancelled: bool = False
    held: bool = False
    finish: str | None = None  # end, limit or cancelled
    frames: int = 0
    tokens: list[int] = field(default_factory=list)
    limit: int = 0  # tokens it may choose


@dataclass(frozen=True, eq=False)
class Aside:
    """A stream that is held, and what it goes on from."""

    stream: LongformStream
    state: LongformState
    inputs: Tensor  # [1, H]


class LongformBatch:
    """Streams that share every pass of one model. Not thread-safe: one thread steps it."""

    def __init__(self, model: LongformModel, special: SpecialIds) -> None:
        self.model, self.special = model, special
        self.device = model.embedding.weight.device
        self.choices = sorted({special.start, special.end, special.frame, special.eos})  # of two equals the first wins
        self.choice_weights = model.token_weights[self.choices]  # [4, H], all of the token head that is ever needed
        self.sampler = LatentSampler(model.config.head, lambda plan, _: Sampler(model.head, plan))
        self.clear()

    def clear(self) -> None:
        """Drop all streams."""
        self.waiting: deque[LongformStream] = deque()
        self.reading: Reading | None = None
        self.aside: list[Aside] = []
        self.speaking: list[LongformStream] = []
        self.state: LongformState | None = None  # of those that speak
        self.inputs: Tensor | None = None  # [B, H], what they chose or said last

    @property
    def streams(self) -> list[LongformStream]:
        aside = [one.stream for one in self.aside]
        return [*self.speaking, *aside, *([self.reading.stream] if self.reading else []), *self.waiting]

    @property
    def can_speak(self) -> bool:
        """Whether a step would do anything."""
        return any(stream.cancelled or not stream.held for stream in self.streams)

    def is_ready(self, stream: LongformStream) -> bool:
        """Whether `stream` has something to say: always."""
        return True

    def join(self, stream: LongformStream) -> None:
        """Let `stream` take part from the next step on; CapacityError if its prompt fills the context."""
        assert int(stream.prompt.is_voice.sum()) == sum(map(len, stream.voices))
        read = len(stream.prompt) + (len(stream.spoken) if stream.spoken else 0)
        context = self.model.config.context
        room = context - read
        if room < 1:
            raise CapacityError(
                f"the prompt takes {read} of the context's {context} positions and leaves none for speech",
                hint="give less text, or shorter voices",
            )
        longest = max(1, stream.max_length_times * len(stream.prompt))
        stream.limit = int(min(room, stream.sampling.max_new_tokens or room, longest))
        stream.noise = stream.noise or SeededNoise(stream.sampling.seed)
        self.waiting.append(stream)

    @torch.no_grad()
    def step(self) -> list[tuple[LongformStream, LongformFrame]]:
        """One token of every stream; gives the frames among them. Streams that have ended are gone afterwards."""
        self._leave()
        self._hold()
        conditions = [self._advance()] if self.speaking else []
        conditions += self._read()
        if not conditions:
            return []
        positive, negative = (torch.cat(branch) for branch in zip(*conditions, strict=True))
        spoken = self._choose(positive, negative)
        self._leave()
        return spoken

    def _leave(self) -> None:
        """Drop the streams that ended or were cancelled."""
        for stream in self.streams:
            if stream.cancelled and not stream.finish:
                stream.finish = "cancelled"
        self.waiting = deque(stream for stream in self.waiting if not stream.finish)
        self.reading = self.reading if self.reading and not self.reading.stream.finish else None
        self.aside = [one for one in self.aside if not one.stream.finish]
        self._keep([i for i, stream in enumerate(self.speaking) if not stream.finish])

    def _keep(self, rows: list[int]) -> None:
        """Of those that speak, only these go on."""
        if len(rows) < len(self.speaking):
            assert self.state is not None and self.inputs is not None
            index = torch.tensor(rows, device=self.device)
            self.state, self.inputs = (self.state.select(index), self.inputs[index]) if rows else (None, None)
            self.speaking = [self.speaking[i] for i in rows]

    def _hold(self) -> None:
        """Set aside those that are held, and take back those that are held no more: long memories are copied then
        only, and not at every step."""
        for i, stream in enumerate(self.speaking):
            if stream.held:
                assert self.state is not None and self.inputs is not None
                index = torch.tensor([i], device=self.device)
                self.aside.append(Aside(stream, self.state.select(index), self.inputs[index]))
        self._keep([i for i, stream in enumerate(self.speaking) if not stream.held])
        back = [one for one in self.aside if not one.stream.held]
        if back:
            self.aside = [one for one in self.aside if one.stream.held]
            states, inputs = [one.state for one in back], [one.inputs for one in back]
            if self.state is not None and self.inputs is not None:
                states, inputs = [self.state, *states], [self.inputs, *inputs]
            self.state, self.inputs = LongformState.join(states), torch.cat(inputs)
            self.speaking += [one.stream for one in back]

    def _advance(self) -> tuple[Tensor, Tensor]:
        assert self.state is not None and self.inputs is not None
        return self.model.advance(self.inputs, self.state)

    def _read(self) -> list[tuple[Tensor, Tensor]]:
        """Pieces of the prompts that wait, first come, first served; the conditions of those that are through."""
        left, through = PIECE, list[Reading]()
        while left > 0 and (self.reading or self.waiting):
            self.reading = self.reading or Reading(self.waiting.popleft(), self.model, self.special.start)
            left -= self.reading.read()
            if not self.reading.pieces:
                through.append(self.reading)
                self.reading = None
        if through:
            states = [*([self.state] if self.state else []), *(reading.state for reading in through)]
            self.state = LongformState.join(states) if len(states) > 1 else states[0]
            self.speaking += [reading.stream for reading in through]
        return [(reading.conditions[0], reading.conditions[1]) for reading in through]

    def _choose(self, positive: Tensor, negative: Tensor) -> list[tuple[LongformStream, LongformFrame]]:
        """The next token of all that speak, from the states of both branches [B, H], and what follows from it."""
        tokens = self._tokens(positive)
        for stream, token in zip(self.speaking, tokens, strict=True):
            stream.tokens.append(token)
            if token == self.special.eos:
                stream.finish = "end"
            elif len(stream.tokens) >= stream.limit:
                stream.finish = "limit"
        self._rewind(tokens)
        self.inputs = self.model.embedding(torch.tensor(tokens, device=self.device))
        rows = [i for i, token in enumerate(tokens) if token == self.special.frame]
        return self._speak(rows, positive[rows], negative[rows]) if rows else []

    def _tokens(self, positive: Tensor) -> list[int]:
        """The likeliest of the tokens that are allowed."""
        picks = F.linear(positive, self.choice_weights).float().argmax(-1).tolist()
        return [self.choices[pick] for pick in picks]

    def _rewind(self, tokens: list[int]) -> None:
        """Take the last input back from the negative branch where no frame came of it; begin anew where speech does."""
        assert self.state is not None
        heard = self.state.negative.length
        for i, (stream, token) in enumerate(zip(self.speaking, tokens, strict=True)):
            if token == self.special.start and stream.refresh_negative:
                heard[i] = 0
            elif token != self.special.frame and stream.refresh_negative:
                heard[i] -= 1
        ended = [i for i, token in enumerate(tokens) if token == self.special.end]
        if ended:
            self._forget_sound(ended)

    def _forget_sound(self, rows: list[int]) -> None:
        """Speech that begins after an end has no past to be decoded or heard with."""
        assert self.state is not None
        fresh = self.model.init_state(len(rows))
        index = torch.tensor(rows, device=self.device)
        self.state.decoder.put(index, fresh.decoder)
        self.state.semantic.put(index, fresh.semantic)

    def _speak(
        self, rows: list[int], conditions: Tensor, negatives: Tensor
    ) -> list[tuple[LongformStream, LongformFrame]]:
        """A frame of the streams at `rows` [R], from their conditions [R, H]."""
        assert self.state is not None and self.inputs is not None
        streams = [self.speaking[i] for i in rows]
        latents = self.sampler(streams, conditions, negatives)
        with self.state.decoder.part(rows) as decoder, self.state.semantic.part(rows) as semantic:
            sound = self.model.decode(latents, decoder)
            features = self.model.hear(sound, semantic)
        self.inputs[rows] = self.model.embed_speech(latents, features)
        waveforms = sound.float().cpu()
        spoken = []
        for i, stream in enumerate(streams):
            stream.frames += 1
            frame = LongformFrame(
                waveform=waveforms[i],
                latent=latents[i],
                condition=conditions[i],
                negative_condition=negatives[i],
                finish=stream.finish,
                features=features[i],
            )
            spoken.append((stream, frame))
        return spoken


class Reading:
    """A stream whose prompt is being read, piece by piece, into a state of its own."""

    def __init__(self, stream: LongformStream, model: LongformModel, start: int) -> None:
        self.stream, self.model, self.state = stream, model, model.init_state()
        prompt = embed_prompt(model, stream.prompt, stream.voices)
        lone = model.embedding(torch.tensor([start], device=prompt.device))
        said = prompt[:0]
        if stream.spoken:
            said = model.embed_speech(stream.spoken.latents.to(prompt), stream.spoken.features.to(prompt))
        self.conditions = [lone, lone]  # of both branches, [1, H], once all is read
        self.pieces: deque[tuple[int, Tensor]] = deque()
        for branch, inputs in enumerate((prompt, lone)):
            self.caches[branch].reserve(len(inputs) + len(said) + min(stream.limit, AHEAD))
            self.pieces += [(branch, piece[None]) for piece in torch.split(torch.cat([inputs, said]), PIECE)]

    @property
    def caches(self) -> tuple[KVCache, KVCache]:
        return self.state.positive, self.state.negative

    def read(self) -> int:
        """One piece; gives how many positions it had."""
        branch, piece = self.pieces.popleft()
        self.conditions[branch] = self.model.language_model(piece, self.caches[branch])[:, -1]
        return piece.shape[1]


@torch.no_grad()
def voice_latents(model: LongformModel, waveform: Tensor, seed: int) -> Tensor:
    """What a prompt holds of a voice [T] at 24 kHz: latents [ceil(T / hop), D], normalised.

    They follow from the sound and the seed alone: in every cast and every take a voice is the same.
    """
    frames = -(-len(waveform) // model.config.hop_samples)
    sound = zlib.crc32(waveform.numpy().tobytes())
    draws = SeededNoise(seed).frame(VOICE_DRAWS + sound, (1 + frames, model.config.latent_size))
    return model.encode_voice(waveform, draws[0, 0], draws[1:])
