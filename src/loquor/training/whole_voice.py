"""The embedded voice from an empty folder: corpora, every stage, the model, its figures and its card.

What is done already is not done again, so a run that was killed goes on when it is started again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, Protocol

from loquor.checkpoints import write_text
from loquor.configs import from_dict, read_json
from loquor.engine.load import load
from loquor.errors import ConfigError, InputError
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.training import embedded
from loquor.training.corpus import CorpusProgress, Samples, build_corpus, read_manifest
from loquor.training.data import Corpus
from loquor.training.recipes.recipe import change_value, require_known
from loquor.training.synthesis import synthesiser
from loquor.training.texts import Sources, corpus_texts

MODEL, FIGURES = "model", "figures.json"
LEAST_SENTENCES, LEAST_STEPS = 600, 2  # of a trial at a small scale; one sentence in a hundred is held out

Said = Iterable[tuple[str, Samples, int]]  # text, waveform, sample rate in Hz


class ErrorRate(Protocol):
    """What a listener makes of sentences."""

    @property
    def wer(self) -> float: ...

    @property
    def interval(self) -> tuple[float, float]: ...


@dataclass(frozen=True)
class Plan:
    """What is trained on what. The first two teachers are the model's own voices."""

    out: str = ""
    teachers: tuple[str, ...] = ("festival:cmu_us_slt_arctic_hts", "flite:rms", "flite:kal16")
    sentences: tuple[int, ...] = (12_000, 5_000, 2_500)  # that each reads
    codec_steps: int = 9_000
    speech_steps: int = 14_000
    decoder_steps: int = 4_000
    test_sentences: int = 50  # of the held-out ones, which every voice reads at the end
    scale: float = 1.0  # of sentences and steps: 0.01 tries everything in minutes
    workers: int = 2
    dictionary: str = ""  # of the CMU, as festival or npm packs it; nothing: the installed
    book: str = ""  # plain text in the public domain
    held_out: str = ""  # sentences to stay away from, one a line

    def __post_init__(self) -> None:
        if not self.out:
            raise InputError("nothing says where to write", hint="such as out=./voice")
        if len(self.teachers) != len(self.sentences):
            raise ConfigError(f"{len(self.teachers)} teachers and {len(self.sentences)} numbers of sentences")
        if not 0 < self.scale <= 1:
            raise ConfigError(f"scale must be above 0 and at most 1, got {self.scale:g}")

    def count(self, sentences: int) -> int:
        return max(LEAST_SENTENCES, round(self.scale * sentences))

    def steps(self, steps: int) -> int:
        return max(LEAST_STEPS, round(self.scale * steps))


def read_plan(changes: Sequence[str] = ()) -> Plan:
    """The plan with `key=value` changes. Raises InputError and ConfigError as recipes do."""
    values: dict[str, Any] = {}
    for change in changes:
        change_value(values, change)
    require_known(values, Plan, "embedded")
    return from_dict(Plan, values, "embedded", ())


def train_voice(
    plan: Plan,
    listen: Callable[[Said], ErrorRate],
    tell: Callable[[str], None],
    progress: Callable[[CorpusProgress], None] | None = None,
) -> Path:
    """Everything; gives the folder of the model. `listen` finds word error rates, `tell` hears of each stage.

    Raises InputError if a teacher or a dictionary is not installed, before anything is made.
    """
    out = Path(plan.out)
    teachers = [synthesiser(name) for name in plan.teachers]
    for teacher in teachers:
        teacher.check()
    clock, sources = _Clock(out), _sources(plan)
    corpora = [out / "corpora" / f"{i}-{teacher.voice}" for i, teacher in enumerate(teachers)]
    for seed, (teacher, corpus, sentences) in enumerate(zip(teachers, corpora, plan.sentences, strict=True)):
        texts = corpus_texts(sources, plan.count(sentences), seed)
        tell(f"corpus: {teacher.voice} reads {len(texts)} texts")
        build_corpus(corpus, texts, teacher, plan.workers, progress)
        clock.stop()
    for stage in _stages(plan, out, corpora):
        tell(stage.title)
        stage.run()
        clock.stop()
    model = out / MODEL
    tell(f"figures: every voice reads {plan.test_sentences} held-out sentences")
    figures = {"plan": asdict(plan), "hours": clock.hours}
    figures |= {"voices": measure(model, corpora, plan.test_sentences, listen)}
    write_text(out / FIGURES, json.dumps(figures, indent=1))
    write_text(model / "README.md", card(plan, corpora, figures))
    return model


def _sources(plan: Plan) -> Sources:
    found = Sources.installed()
    dictionary, book, held_out = (Path(name) if name else None for name in (plan.dictionary, plan.book, plan.held_out))
    return Sources(found.wordnet, dictionary or found.dictionary, book, held_out)


@dataclass(frozen=True)
class _Stage:
    title: str
    run: Callable[[], None]


def _stages(plan: Plan, out: Path, corpora: Sequence[Path]) -> list[_Stage]:
    """What follows the corpora, in order."""
    first, others = corpora[0], list(corpora[1:])
    codec, latents, speech, decoder = (out / name for name in ("codec", "latents", "speech", "decoder"))
    codec_steps, speech_steps, decoder_steps = map(
        plan.steps, (plan.codec_steps, plan.speech_steps, plan.decoder_steps)
    )
    many = partial(partial, workers=plan.workers, other=others)
    return [
        _Stage(f"codec: {codec_steps} steps", many(embedded.codec, first, codec, codec_steps)),
        _Stage("latents of all that was read", many(embedded.latents, first, codec, latents)),
        _Stage(
            f"speech model: {speech_steps} steps", many(embedded.speech, first, latents, speech, steps=speech_steps)
        ),
        _Stage(f"decoder: {decoder_steps} steps", many(embedded.decoder, first, latents, decoder, decoder_steps)),
        _Stage("model", partial(embedded.export, first, latents, speech, out / MODEL, others, decoder)),
    ]


def measure(
    model: Path, corpora: Sequence[Path], count: int, listen: Callable[[Said], ErrorRate]
) -> dict[str, dict[str, Any]]:
    """Word error rate and its 95 % interval of each voice of a model, and of its teacher, on held-out sentences."""
    speaker, figures = load(str(model), backend="torch"), {}
    for (voice, _), folder in zip(embedded.PRESETS, corpora, strict=False):
        held_out = Corpus(folder, "valid")
        chosen = range(min(count, len(held_out)))
        texts = [held_out.utterances[i].text for i in chosen]
        spoken = (speaker.speak(text, voice, seed=i) for i, text in enumerate(texts))
        ours = listen(
            (text, speech.waveform.numpy(), SAMPLE_RATE_HZ) for text, speech in zip(texts, spoken, strict=True)
        )
        teacher = listen(
            (text, held_out.waveform(i).numpy(), SAMPLE_RATE_HZ) for i, text in zip(chosen, texts, strict=True)
        )
        figures[voice] = {"sentences": len(texts)} | {
            name: {"wer": rate.wer, "interval": list(rate.interval)}
            for name, rate in (("model", ours), ("teacher", teacher))
        }
    return figures


def card(plan: Plan, corpora: Sequence[Path], figures: dict[str, Any]) -> str:
    """The model card, in Markdown."""
    seconds = [sum(u.samples for u in read_manifest(folder / "manifest.jsonl")) / SAMPLE_RATE_HZ for folder in corpora]

    def rate(found: dict[str, Any]) -> str:
        low, high = found["interval"]
        return f"{found['wer']:.1%} ({low:.1%} to {high:.1%})"

    template = Template(resources.files("loquor.training").joinpath("whole_voice.md").read_text(encoding="utf-8"))
    return template.substitute(
        teachers="\n".join(
            f"| `{teacher}` | {plan.count(sentences)} | {length / 3600:.1f} h |"
            for teacher, sentences, length in zip(plan.teachers, plan.sentences, seconds, strict=True)
        ),
        codec_steps=plan.steps(plan.codec_steps),
        speech_steps=plan.steps(plan.speech_steps),
        decoder_steps=plan.steps(plan.decoder_steps),
        hours=timedelta(seconds=round(3600 * figures["hours"])),
        rates="\n".join(
            f"| `{voice}` | {found['sentences']} | {rate(found['model'])} | {rate(found['teacher'])} |"
            for voice, found in figures["voices"].items()
        ),
    )


class _Clock:
    """Hours spent on the folder, in this run and in those before it, as of the last stage that came to its end."""

    def __init__(self, out: Path) -> None:
        self._file, self._since = out / "hours.json", time.monotonic()
        self.hours = float(read_json(self._file)["hours"]) if self._file.exists() else 0.0

    def stop(self) -> None:
        now = time.monotonic()
        self.hours, self._since = self.hours + (now - self._since) / 3600, now
        write_text(self._file, json.dumps({"hours": self.hours}))
