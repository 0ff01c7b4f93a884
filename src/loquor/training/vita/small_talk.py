"""Small talk: spoken conversations of 55 words, to try the training of VITA-Audio for real on one machine.

    python -m loquor.training.vita.small_talk --out DIR

writes what a small grammar says, read by one free synthesiser, as conversations in the published JSON: speech to be
written down, texts to be read, sums answered aloud and in words. `alignment.yaml` and `supervised.yaml` mix them for
the stages of training; `held_out.yaml` has none of their sentences. What is there already stays as it is.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from rich.progress import track

from loquor.checkpoints import write_atomically, write_text
from loquor.errors import InputError, LoquorError
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.models.vita.prompt import LUKE, SPEAK, TRANSCRIBE
from loquor.models.vita.vocabulary import AUDIO_TAG
from loquor.training.corpus import TEACHER, at_level, read_take, trim
from loquor.training.synthesis import Synthesiser, synthesiser

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
COLOURS = ("red", "blue", "green", "yellow", "black", "white", "brown")
THINGS = ("book", "table", "window", "bottle", "picture", "letter", "basket", "car")
PLACES = ("kitchen", "garden", "station", "river", "school", "forest")
NAMES = ("Mary", "Robert", "Susan", "Thomas")
VERBS = ("find", "paint", "clean", "move", "open")
AT_ONCE = 50  # sentences one process of the synthesiser says
KEPT_OUT = 10  # one sentence of so many is held out
TRAIN, HELD_OUT = "train", "held_out"
MIXTURES = {
    "alignment": {"speech": 1, "questions": 0, "text": 1},
    "supervised": {"speech": 1, "questions": 10, "text": 1},
}  # how often a stage goes through what, as published: stage 4 is about answers

Sounds = Mapping[str, str]  # recordings by their texts


@dataclass(frozen=True)
class Question:
    """Something asked, and what is said to it."""

    text: str
    answer: str


def sentences() -> list[str]:
    """All that the grammar says, four to seven words each."""
    said = [f"{verb} the {colour} {thing}" for verb in VERBS for colour in COLOURS for thing in THINGS]
    said += [
        f"{name} has {number} {colour} {thing}s"
        for name in NAMES
        for number in NUMBERS[1:]
        for colour in COLOURS
        for thing in THINGS
    ]
    said += [f"the {colour} {thing} is in the {place}" for colour in COLOURS for thing in THINGS for place in PLACES]
    said += [f"{name} wants the {colour} {thing}" for name in NAMES for colour in COLOURS for thing in THINGS]
    said += [f"{name} is in the {place}" for name in NAMES for place in PLACES]
    return [f"{text[0].upper()}{text[1:]}." for text in said]


def questions() -> list[Question]:
    """Sums of two numbers, up to ten."""
    sums = [(a, b) for a in range(1, 10) for b in range(1, 11 - a)]
    words = dict(enumerate(NUMBERS, 1))
    asked = [(f"what is {words[a]} plus {words[b]}", f"{words[a]} plus {words[b]} is {words[a + b]}") for a, b in sums]
    return [Question(f"{q[0].upper()}{q[1:]}?", f"{a[0].upper()}{a[1:]}.") for q, a in asked]


def split(items: Sequence[Any], seed: int) -> tuple[list[Any], list[Any]]:
    """Items in random order: those to learn from, and one of KEPT_OUT that is not."""
    order = random.Random(seed).sample(list(items), len(items))
    held_out = max(1, len(order) // KEPT_OUT)
    return order[held_out:], order[:held_out]


def speech(texts: Sequence[str], sounds: Sounds) -> Iterator[dict[str, Any]]:
    """Each text heard and written down, and read aloud."""
    for text in texts:
        yield _conversation(TRANSCRIBE + AUDIO_TAG, text, sounds[text])
        yield _conversation(SPEAK + text, AUDIO_TAG, sounds[text])


def answers(asked: Sequence[Question], sounds: Sounds) -> Iterator[dict[str, Any]]:
    """Each question heard, and answered in words and aloud."""
    for question in asked:
        audios = sounds[question.text], sounds[question.answer]
        yield _conversation("\n" + AUDIO_TAG, question.answer + AUDIO_TAG, *audios, system=LUKE)


def written(asked: Sequence[Question]) -> Iterator[dict[str, Any]]:
    """Each question read, and answered in words."""
    return (_conversation(question.text, question.answer) for question in asked)


def _conversation(user: str, assistant: str, *audios: str, system: str = "") -> dict[str, Any]:
    turns = [("system", system)] if system else []
    turns += [("user", user), ("assistant", assistant)]
    return {"messages": [{"role": role, "content": content} for role, content in turns], "audios": list(audios)}


def speak(texts: Sequence[str], folder: Path, teacher: Synthesiser) -> Iterator[tuple[str, str]]:
    """Say each text into `folder`, at the level codecs expect; gives texts with their files, as they are there.

    InputError if a text cannot be said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(texts), AT_ONCE):
        wanted = {file_name(text): text for text in texts[first : first + AT_ONCE]}
        missing = {name: text for name, text in wanted.items() if not (folder / name).exists()}
        with tempfile.TemporaryDirectory() as takes:
            teacher.say(Path(takes), {Path(name).stem: text for name, text in missing.items()})
            for name, text in missing.items():
                _keep(Path(takes) / Path(name).stem, folder / name, text, teacher)
        yield from ((text, name) for name, text in wanted.items())


def file_name(text: str) -> str:
    """That of the recording of a text of letters."""
    return "-".join(text.lower().strip(".?").split()) + ".wav"


def _keep(take: Path, path: Path, text: str, teacher: Synthesiser) -> None:
    try:
        waveform = at_level(trim(*read_take(take))[0])
    except (OSError, soundfile.LibsndfileError, ValueError) as error:
        raise InputError(f"{teacher.voice} cannot say {text!r}: {error}", hint=teacher.install) from None
    write_atomically(path, lambda partial: soundfile.write(partial, waveform, SAMPLE_RATE_HZ, "PCM_16", format="WAV"))


def build(out: Path, count: int, held_out: int, teacher: Synthesiser, seed: int) -> Iterator[str]:
    """Write the conversations of `count` sentences, and of `held_out` others, to `out`; yields texts as they are said.

    InputError if the teacher is not installed or cannot say one.
    """
    teacher.check()
    known, unknown = split(sentences(), seed)
    asked, unasked = split(questions(), seed)
    parts = {TRAIN: (known[:count], asked), HELD_OUT: (unknown[:held_out], unasked)}
    for name, (texts, some) in parts.items():
        said = [*texts, *(text for question in some for text in (question.text, question.answer))]
        sounds = {}
        for text, file in speak(said, out / "recordings", teacher):
            sounds[text] = f"../recordings/{file}"
            yield text
        kinds = {"speech": speech(texts, sounds), "questions": answers(some, sounds), "text": written(some)}
        for kind, talks in kinds.items():
            write_text(out / name / f"{kind}.jsonl", "".join(json.dumps(talk) + "\n" for talk in talks))
    for name, ratios in MIXTURES.items():
        write_text(out / f"{name}.yaml", mixture(TRAIN, ratios))
    write_text(out / "held_out.yaml", mixture(HELD_OUT, dict.fromkeys(("speech", "questions", "text"), 1)))


def mixture(folder: str, ratios: Mapping[str, float]) -> str:
    """The YAML that `loquor train` takes as data."""
    sets = {kind: {"ratio": ratio, "data_paths": [f"{folder}/{kind}.jsonl"]} for kind, ratio in ratios.items()}
    return json.dumps({"dataset": sets}, indent=1) + "\n"  # which is YAML too


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m loquor.training.vita.small_talk`."""
    parser = argparse.ArgumentParser(prog="python -m loquor.training.vita.small_talk", description=build.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--sentences", type=int, default=2000, help="to learn from (default 2000, about an hour)")
    parser.add_argument("--held-out", type=int, default=100, help="others, to measure with (default 100)")
    parser.add_argument("--teacher", default=TEACHER, help=f"who speaks: program:voice (default {TEACHER})")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        teacher = synthesiser(options.teacher)
        spoken = build(options.out, options.sentences, options.held_out, teacher, options.seed)
        total = options.sentences + options.held_out + 2 * len(questions())
        for _ in track(spoken, "sentences", total=total):
            pass
    except LoquorError as error:
        raise SystemExit(f"error: {error}\nhint: {error.hint}") from error


if __name__ == "__main__":
    main()
