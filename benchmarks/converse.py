"""Whether a model of VITA-Audio speaks and listens: word error rates on conversations that it was not trained on.

    python benchmarks/converse.py MODEL --audio-tokenizer DIR --data held_out/speech.jsonl [--count 60] [--json FILE]

Listening: what the model writes down of a recording. Speaking: what moonshine tiny-en hears of a text the model reads.
Both without modules (vanilla) and with them (boost), greedily. Beside them: what moonshine hears of the recordings
themselves, and of these after the audio tokenizer alone, the best that any model can hope for; and chance, the error
rate where what was heard is compared with the sentence of another conversation. Intervals are 95 %.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import loquor
from loquor.audio.io import read
from loquor.engine.converser import Converser
from loquor.errors import InputError
from loquor.evaluation.transcriber import Moonshine
from loquor.evaluation.wer import word_error_rate
from loquor.models.vita.prompt import SPEAK
from loquor.training.vita.conversations import ConversationFile

MODES = ("vanilla", "boost")


@dataclass(frozen=True)
class Sentence:
    """A text and its recording."""

    text: str
    recording: Path


def sentences(path: Path, count: int) -> list[Sentence]:
    """The first `count` texts that conversations ask to be read."""
    file, found = ConversationFile(path), list[Sentence]()
    for number in range(len(file)):
        question, answer = file[number].turns[-2:]
        asked, (recording, *_) = question.parts[0], answer.parts
        if isinstance(asked, str) and asked.startswith(SPEAK) and isinstance(recording, Path):
            found.append(Sentence(asked.removeprefix(SPEAK), recording))
    return found[:count]


def figures(texts: Sequence[str], heard: Sequence[str]) -> dict[str, Any]:
    """Error rate, interval and chance, as shares; and all that was heard."""
    report = word_error_rate(texts, heard)
    half = len(texts) // 2
    chance = word_error_rate([*texts[half:], *texts[:half]], heard)
    pairs = [[text, words] for text, words in zip(texts, heard, strict=True)]
    return {"wer": report.wer, "interval": report.interval, "chance": chance.wer, "words": report.words, "heard": pairs}


def measure(model: Converser, said: Sequence[Sentence], modes: Sequence[str]) -> dict[str, Any]:
    """All figures, by what they are of."""
    listener, texts, rate = Moonshine(), [sentence.text for sentence in said], model.sample_rate_hz
    recordings = [read(sentence.recording, rate) for sentence in said]

    def measured(name: str, words_of: Callable[[int], str]) -> dict[str, Any]:
        began = time.perf_counter()
        found = figures(texts, [words_of(i) for i in range(len(said))])
        found["seconds"] = time.perf_counter() - began
        low, high = found["interval"]
        print(
            f"| {name} | {found['wer']:.1%} ({low:.1%} to {high:.1%}) | {found['chance']:.1%} "
            f"| {found['seconds']:.0f} |",
            flush=True,
        )
        return found

    def copied(i: int) -> str:
        return listener.transcribe(model.codec.decode(model.codec.encode(recordings[i], rate)).numpy(), rate)

    def spoken(i: int, mode: str) -> str:
        try:
            return listener.transcribe(model.speak(texts[i], mode=mode).waveform.numpy(), rate)
        except InputError:  # it says nothing
            return ""

    print("| what | word error rate | chance | seconds |\n|---|---|---|---|")
    result = {
        "recordings": measured("recordings", lambda i: listener.transcribe(recordings[i], rate)),
        "audio tokenizer": measured("audio tokenizer", copied),
    }
    for mode in modes:
        result[f"listening, {mode}"] = measured(
            f"listening, {mode}", lambda i, mode=mode: model.transcribe((recordings[i], rate), mode=mode)
        )
        result[f"speaking, {mode}"] = measured(f"speaking, {mode}", lambda i, mode=mode: spoken(i, mode))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="its folder")
    parser.add_argument("--audio-tokenizer", required=True, help="the folder of its audio tokenizer")
    parser.add_argument("--data", type=Path, required=True, help="conversations that ask for texts to be read")
    parser.add_argument("--count", type=int, default=60, help="sentences (default 60)")
    parser.add_argument("--modes", default=",".join(MODES), help=f"schedules (default {','.join(MODES)})")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = loquor.load(options.model, audio_tokenizer=options.audio_tokenizer)
    assert isinstance(model, Converser), "the model is one of VITA-Audio"
    result = measure(model, sentences(options.data, options.count), options.modes.split(","))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
