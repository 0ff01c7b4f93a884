"""Which results there are: what each says, the command that gives it, where its figures lie, and how they are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import results_tables as tables

EMBEDDED = "src/loquor/models/embedded/model.safetensors"
SENTENCES = "benchmarks/sentences.txt"
GOLDENS = "tests/goldens"
OUT, IMAGES = "docs/results", "docs/images"
BENCH = "loquor bench --threads 1 --threads 2"
FRAME = "loquor bench --shape realtime-0.5b --threads 1"


@dataclass(frozen=True)
class Result:
    """A measurement."""

    name: str
    title: str
    words: str  # what was done, and how the figures are to be read
    command: str  # as it is typed, at the top of a checkout
    output: str  # JSON, under docs/
    table: Callable[[Any], list[str]]  # of the JSON: lines of Markdown
    minutes: float  # about, on two cores
    inputs: tuple[str, ...] = ()  # files that make it stale when they change
    prints: bool = False  # the JSON comes from stdout
    leaves: str = ""  # a page that the command leaves behind, which is kept as `page`
    page: str = ""
    picture: str = ""  # that the command draws


def _verified(name: str, title: str, model: str, inputs: tuple[str, ...]) -> Result:
    words = "Every component of the checkpoint, against what it must be equal to; differences are shares of the largest"
    return Result(
        name=f"verify-{name}",
        title=f"Verification: {title}",
        words=f"{words} value.",
        command=f"loquor verify {model} --json",
        output=f"{OUT}/verify-{name}.json",
        table=tables.verification,
        minutes=0.5,
        inputs=inputs,
        prints=True,
    )


def _mini(name: str, title: str, folder: str) -> Result:
    path = f"{GOLDENS}/{folder}"
    return _verified(name, title, path, (f"{path}/config.json", f"{path}/model.safetensors"))


RESULTS = (
    Result(
        name="embedded",
        title="The embedded voice",
        words=(
            "Fifty sentences that nothing was trained on, spoken, heard by Moonshine tiny and judged by DNSMOS; "
            "intervals are 95 %, by bootstrap over sentences. Similarity is that of its sentences to each other. "
            "Latencies are those of one thread."
        ),
        command=f"loquor eval --set {SENTENCES} --players 6 -o build/results/embedded --json",
        output=f"{OUT}/embedded.json",
        table=tables.evaluation,
        minutes=8,
        inputs=(EMBEDDED, SENTENCES),
        prints=True,
        leaves="build/results/embedded/report.html",
        page=f"{OUT}/embedded.html",
    ),
    Result(
        name="self-check",
        title="Saying a bad sentence again",
        words=(
            "The same sentences with `loquor speak --check`: how many are bad at first, and how many still are after "
            "three more tries at most. The recogniser that chooses also counts, so the second rate flatters."
        ),
        command=f"python benchmarks/self_check.py {SENTENCES} --json {OUT}/self-check.json",
        output=f"{OUT}/self-check.json",
        table=tables.self_check,
        minutes=12,
        inputs=(EMBEDDED, SENTENCES),
    ),
    _verified("embedded", "the embedded voice", "embedded", (EMBEDDED,)),
    _mini("realtime", "a recorded Realtime model", "vibevoice/e_realtime"),
    _mini("longform", "a recorded long-form model", "vibevoice/f_longform"),
    _mini("vita", "a recorded VITA-Audio model", "vita/mini_mtp"),
    _mini("vita-plus", "a recorded VITA-Audio Plus model", "vita/mini_plus"),
    Result(
        name="performance",
        title="A spoken frame, part by part",
        words=(
            "Realtime-0.5B in full size with random weights, by backend, for one listener and for several at once, in "
            "turns; medians over rounds, milliseconds of 133 ms of speech. A real-time factor (rtf) below 1 is faster "
            "than real time."
        ),
        command=f"{BENCH} --shape realtime-0.5b --length 24 --memory --plot {IMAGES}/bench-realtime.svg --json",
        output=f"{OUT}/realtime.json",
        table=tables.bench,
        minutes=40,
        prints=True,
        picture=f"{IMAGES}/bench-realtime.svg",
    ),
    Result(
        name="performance-embedded",
        title="A frame of the embedded voice",
        words="The same of the voice in the package.",
        command=f"{BENCH} embedded --memory --plot {IMAGES}/bench-embedded.svg --json",
        output=f"{OUT}/realtime-embedded.json",
        table=tables.bench,
        minutes=15,
        inputs=(EMBEDDED,),
        prints=True,
        picture=f"{IMAGES}/bench-embedded.svg",
    ),
    Result(
        name="frame",
        title="A frame, operator by operator",
        words="What a frame takes, and what reading its weights alone would take, at the bandwidth measured beside it.",
        command=f"{FRAME} --trace build/frame.json --plot {IMAGES}/frame.svg --json",
        output=f"{OUT}/frame.json",
        table=tables.frame,
        minutes=3,
        prints=True,
        picture=f"{IMAGES}/frame.svg",
    ),
    Result(
        name="int8-quality",
        title="What eight bits cost a listener",
        words=(
            "A hundred sentences of the embedded voice with the same seeds, by torch in float32 and by OpenVINO in "
            "eight bits; differences are eight bits less float32, with 95 % intervals by bootstrap over sentences."
        ),
        command=f"python benchmarks/int8_quality.py --json {OUT}/int8-quality.json",
        output=f"{OUT}/int8-quality.json",
        table=tables.int8_quality,
        minutes=35,
        inputs=(EMBEDDED, SENTENCES, "benchmarks/sentences_more.txt"),
    ),
    Result(
        name="long-text",
        title="Ten minutes without a stop",
        words=(
            "A story of 2,033 words, read by the embedded voice in one go, by minutes. Similarity (GE2E) is that of "
            "a minute to the first one; in the first row, that of its halves to each other."
        ),
        command=f"python benchmarks/long_text.py --json {OUT}/long-text.json",
        output=f"{OUT}/long-text.json",
        table=tables.long_text,
        minutes=5,
        inputs=(EMBEDDED, "benchmarks/story.txt"),
    ),
    Result(
        name="longform",
        title="A frame of long-form 1.5B",
        words="Full shape, random weights in bfloat16, two voices of 10 s and 150 words before it, 10 solver steps.",
        command=f"{BENCH} --shape longform-1.5b --length 10 --rounds 3 --memory --json",
        output=f"{OUT}/longform.json",
        table=tables.bench,
        minutes=15,
        prints=True,
    ),
    Result(
        name="vita",
        title="Tokens a second of VITA-Audio's schedules",
        words="Qwen2.5-0.5B's shape with ten modules and random weights; ratios to plain decoding, round by round.",
        command="loquor bench --shape vita-0.5b --threads 1 --threads 2 --rounds 4 --length 28 --json",
        output=f"{OUT}/vita.json",
        table=tables.bench,
        minutes=6,
        prints=True,
    ),
    Result(
        name="load-memory",
        title="Memory at load",
        words="Random bfloat16 checkpoints of 1.2 GB in shards: highest resident memory by the bytes of the weights.",
        command=f"python benchmarks/load_memory.py --json {OUT}/load-memory.json",
        output=f"{OUT}/load-memory.json",
        table=tables.load_memory,
        minutes=3,
    ),
    Result(
        name="podcast-memory",
        title="A podcast of ninety minutes",
        words="Resident memory of `loquor podcast` with stems, subtitles and master, by the toy model of the tests.",
        command="python benchmarks/podcast_memory.py",
        output="docs/podcast-memory.json",
        table=tables.podcast,
        minutes=7,
    ),
    Result(
        name="training-step",
        title="A step of fine-tuning",
        words="Batches by length against a loop of one utterance at a time, on the same utterances.",
        command=f"python benchmarks/training_step.py --json {OUT}/training-step.json",
        output=f"{OUT}/training-step.json",
        table=tables.training_step,
        minutes=20,
    ),
)
