"""How many tokens a second the schedules of VITA-Audio give, against plain decoding, and how soon one hears something.

All say the same: text and audio in turn, as their schedule has it in training. Which token it is is up to the model, so
nothing depends on what random weights would rather say. Plain decoding computes all rows of the token head; schedules
only the rows of audio where audio is said, or, to see what that gives, all rows as well. First audio: from a prompt at
hand to the last id of the first span, and what the decoder of speech then makes of it in as many steps as usual;
coarse, in one step, as VITA-Audio's own stream begins.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from loquor.engine.alternation import Allowed, Alternation, AudioIds, Place, TokenHead
from loquor.engine.interleaved import InterleavedBatch
from loquor.engine.interleaved_stream import InterleavedStream
from loquor.engine.sampling import TokenSampling
from loquor.errors import InputError
from loquor.evaluation.speed.bench import Bench, Options, Watch, watched, with_random_weights
from loquor.evaluation.speed.protocol import Outcome, Subject
from loquor.models.speech_tokens.flow import Flow
from loquor.models.speech_tokens.glm_decoder import GlmDecoder
from loquor.models.speech_tokens.glm_decoder_config import published_config
from loquor.models.speech_tokens.glm_stream import EARLY, USUAL, WindowedDecoder
from loquor.models.speech_tokens.hift import Vocoder
from loquor.models.vita.checkpoint import load_vita
from loquor.models.vita.model import VitaConfig, VitaModel
from loquor.models.vita.schedule import BOOST, SCHEDULES, VANILLA, Schedule
from loquor.models.vita.vocabulary import open_vocabulary
from loquor.nn.qwen2 import Qwen2Config

PROMPT_TOKENS, MARKS = 32, 2
PUBLISHED_AUDIO = AudioIds(begin=151_674, end=151_675, first=151_685, count=16_384)
TOY_AUDIO = AudioIds(begin=900, end=901, first=910, count=100)
RATE, CPU_RATE, PASSES = "tokens/s", "tokens/s of one core", "tokens a backbone pass"
FIRST_SPAN, FIRST_AUDIO, COARSE = "first span, ms", "first audio, ms", "coarse, ms"
PARTS = ("backbone", "modules", "token head", "rest")
GLM = "glm4voice"


@dataclass(frozen=True)
class Shape:
    """What of a model its speed follows from."""

    model: VitaConfig
    audio: AudioIds
    is_spoken: bool  # with the published decoder of speech


def _shape(hidden: int, ffn: int, layers: int, heads: int, kv_heads: int) -> Shape:
    """A Qwen2.5 with ten modules and the published vocabulary."""
    decoder = Qwen2Config(hidden, ffn, layers, heads, kv_heads, vocab_size=168_072, max_position_embeddings=32_768)
    return Shape(VitaConfig(decoder, modules=10, has_own_token_head=True), PUBLISHED_AUDIO, is_spoken=True)


TOY = Qwen2Config(32, 64, 2, 4, 2, vocab_size=1024, max_position_embeddings=1024)
SHAPES = {
    "vita-0.5b": _shape(896, 4864, 24, 14, 2),
    "vita-7b": _shape(3584, 18_944, 28, 28, 4),
    "vita-toy": Shape(VitaConfig(TOY, modules=10, has_own_token_head=True), TOY_AUDIO, is_spoken=False),
}


def bench_shape(name: str, options: Options) -> Bench:
    """A shape with random weights, in bfloat16 unless another type is wanted."""
    options.require_one_stream_of_torch(name)
    shape, chosen = SHAPES[name], options.dtype or torch.bfloat16
    model = with_random_weights(partial(VitaModel, shape.model), chosen)
    return _bench(model, shape.audio, shape.is_spoken, options.length, {"shape": name})


def bench_folder(folder: Path, options: Options) -> Bench:
    """The model in `folder`; its decoder of speech, if it is GLM-4-Voice's, with random weights."""
    options.require_one_stream_of_torch(str(folder))
    model, vocabulary = load_vita(folder, options.dtype), open_vocabulary(folder)
    audio = AudioIds(vocabulary.begin_of_audio, vocabulary.end_of_audio, vocabulary.first_audio, vocabulary.audio.codes)
    return _bench(model, audio, vocabulary.audio.name.endswith(GLM), options.length, {"model": str(folder)})


def _bench(model: VitaModel, audio: AudioIds, is_spoken: bool, tokens: int, what: Mapping[str, object]) -> Bench:
    decoder = GlmDecoder(*_random_decoder()).eval().requires_grad_(False) if is_spoken else None
    runs = Runs(model, audio, tokens, decoder)
    modes = [Mode("vanilla", Course(VANILLA))]
    courses = {name: Course(schedule) for name, schedule in SCHEDULES.items() if schedule != VANILLA}
    modes += [Mode(name, course, has_narrow_head=True) for name, course in courses.items()]
    modes += [Mode(f"{name}, all rows", course) for name, course in courses.items()]
    if "model" in what:  # modules of random weights propose nothing that could be accepted
        modes += [Mode(f"{name}, verified", course, is_verified=True) for name, course in courses.items()]
    config, dtype = model.config, str(model.embedding.weight.dtype).removeprefix("torch.")
    settings = {**what, "dtype": dtype, "parameters": sum(p.numel() for p in model.parameters())}
    settings |= {"modules": config.modules, "prompt tokens": PROMPT_TOKENS, "tokens": tokens}
    return Bench(
        subjects=[Subject(mode.name, partial(runs.go, mode)) for mode in modes],
        claim=RATE,
        columns=[RATE, CPU_RATE, PASSES, FIRST_SPAN, *([FIRST_AUDIO, COARSE] if is_spoken else [])],
        parts=[_part(name) for name in PARTS],
        settings=settings,
    )


def _random_decoder() -> tuple[Flow, Vocoder]:
    flow, vocoder = published_config()
    return Flow(flow), Vocoder(vocoder)


@dataclass(frozen=True)
class Course:
    """How a schedule goes, in tokens. Plain decoding, which has no runs of modules, hears its first span as Boost."""

    schedule: Schedule

    @property
    def first_pair(self) -> tuple[int, int]:
        """Text before the first span, and the span with its marks."""
        return (self.schedule if self.schedule.modules_from(0) else BOOST).pairs[0]

    @property
    def lead(self) -> int:
        """Until the schedule repeats itself, and the first span is said."""
        return max(sum(self.first_pair), sum(map(sum, self.schedule.pairs[:-1])))

    def steady(self, tokens: int) -> int:
        """The whole turns of what repeats that have so many tokens at least."""
        turn = sum(self.schedule.pairs[-1]) if self.schedule.pairs[-1][1] else 1
        return turn * -(-tokens // turn)


@dataclass(frozen=True)
class Mode:
    """A way to say it."""

    name: str
    course: Course
    has_narrow_head: bool = False
    is_verified: bool = False  # and free to say what it likes


@dataclass(frozen=True)
class Scripted(Alternation):
    """Text where the backbone speaks; where modules do, a span of audio for each of their runs, as in training."""

    schedule: Schedule = VANILLA
    limit: int = 0

    def allowed(self, place: Place, is_module: bool, left: int) -> Allowed:
        if not is_module:
            return Allowed(text=True)
        if place is Place.TEXT:
            return Allowed(begin=True)
        is_last = not self.schedule.is_module(self.limit - left + 1)
        return Allowed(end=True) if is_last else Allowed(audio=True)


class Runs:
    """A model, and what it is made to say."""

    def __init__(self, model: VitaModel, audio: AudioIds, tokens: int, decoder: GlmDecoder | None) -> None:
        """So many tokens are counted, in whole turns of a schedule, after its lead."""
        longest = PROMPT_TOKENS + max(c.lead + c.steady(tokens) for c in map(Course, SCHEDULES.values()))
        if longest > model.config.context:
            raise InputError(
                f"{tokens} tokens a go do not fit the context of {model.config.context} positions",
                hint="give a smaller --length",
            )
        self.batch, self.audio = InterleavedBatch(model, audio=audio), audio
        self.narrow, self.wide = self.batch.head, TokenHead(model.token_weights, (), audio, is_narrow=False)
        self.tokens, self.decoder = tokens, decoder

    def go(self, mode: Mode) -> Outcome:
        """Say it once."""
        course = mode.course
        limit = course.lead + course.steady(self.tokens)
        grammar = None if mode.is_verified else Scripted(self.audio, schedule=course.schedule, limit=limit)
        prompt = torch.arange(PROMPT_TOKENS) % self.batch.model.config.vocab_size
        sampling = TokenSampling(max_new_tokens=limit)
        stream = InterleavedStream(prompt, course.schedule, sampling, grammar, mode.is_verified)
        self.batch.head = self.narrow if mode.has_narrow_head else self.wide
        self.batch.clear()  # or what an earlier go has read of the prompt would not be read again
        began = time.perf_counter()
        self.batch.join(stream)
        self._until(stream, sum(course.first_pair))
        span_ms = 1000 * (time.perf_counter() - began)
        codes = course.first_pair[1] - MARKS
        audio_ms = {name: span_ms + ms for name, ms in self._decoding_ms(codes).items()}
        self._until(stream, course.lead)
        return Outcome({FIRST_SPAN: span_ms} | audio_ms | self._steady(stream, limit))

    def _steady(self, stream: InterleavedStream, limit: int) -> dict[str, float]:
        """The rest of what is to be said."""
        said, passes = len(stream.tokens), stream.main_passes
        watch = Watch(time.perf_counter)
        wall, cpu = time.perf_counter(), time.process_time()
        with watched(watch, self._passes()):
            self._until(stream, limit)
        wall, cpu, count = time.perf_counter() - wall, time.process_time() - cpu, limit - said
        spent = {name: watch.spent.get(name, 0.0) for name in PARTS[:-1]}
        spent[PARTS[-1]] = wall - sum(spent.values())
        rates = {RATE: count / wall, CPU_RATE: count / cpu, PASSES: count / (stream.main_passes - passes)}
        return rates | {_part(name): 1000 * seconds / count for name, seconds in spent.items()}

    def _passes(self) -> Iterable[tuple[object, str, str]]:
        """What a step is made of, but for the rest."""
        calls = ((self.batch.model, "read"), (self.batch.model, "predict_on"), (self.batch.head, "logits"))
        return [(*call, name) for call, name in zip(calls, PARTS, strict=False)]

    def _until(self, stream: InterleavedStream, tokens: int) -> None:
        while len(stream.tokens) < tokens:
            self.batch.step()

    def _decoding_ms(self, codes: int) -> dict[str, float]:
        """What the decoder, if there is one, takes for a first span of so many codes, streaming."""
        found = {}
        for name, windows in ((FIRST_AUDIO, USUAL), (COARSE, EARLY)) if self.decoder else ():
            assert self.decoder
            decoder = WindowedDecoder(self.decoder, replace(windows, tokens=(codes, *windows.tokens)))
            began = time.perf_counter()
            decoder.decode(range(codes), decoder.init_state(seed=0), is_final=False)
            found[name] = 1000 * (time.perf_counter() - began)
        return found


def _part(name: str) -> str:
    return f"{name}, ms/token"
