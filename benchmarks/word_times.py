"""How exact the times of words are that the server tells: against what an ASR hears of speech that is cut there.

Sentences are said by the embedded voice. Each is cut at the told end of some of its words, as an interruption would cut
it, and Moonshine writes down what is left: the last word it has of the sentence should be the one that was named.

    python benchmarks/word_times.py sentences.txt
"""

from __future__ import annotations

import random
import re
import sys
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np

import loquor
from loquor.engine.speaker import Speaker
from loquor.engine.word_times import TimedWord, WordTimes
from loquor.evaluation.transcribers import open_transcriber

CUTS = 3  # of a sentence
SILENCE_S = 0.6  # behind a cut: an ASR makes up an end for what stops abruptly
LENGTHS = range(40, 110)  # characters of a sentence that is one utterance


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def words_heard(text: str, transcript: str) -> int:
    """Words of `text` up to the last one that the transcript of its beginning has too."""
    said, heard = words_of(text), words_of(transcript)[: len(words_of(text))]
    blocks = SequenceMatcher(None, said, heard, autojunk=False).get_matching_blocks()
    return max((block.a + block.size for block in blocks if block.size), default=0)


def timed(speaker: Speaker, text: str, seed: int) -> tuple[np.ndarray, list[TimedWord], dict[int, TimedWord]]:
    """The speech, its words as they were corrected, and as they were told at first, by their place."""
    times, first, parts = WordTimes(speaker.sample_rate_hz), dict[int, TimedWord](), []
    times.push(text)
    for chunk in speaker.stream(text, seed=seed):
        first |= {word.start: word for word in times.hear(chunk)[0]}
        parts.append(chunk.waveform.numpy())
    return np.concatenate(parts), [word for _, word in sorted(times.words.items())], first


def main() -> None:
    speaker, ears, errors = loquor.load(), open_transcriber("moonshine"), dict[str, list[int]]()
    assert isinstance(speaker, Speaker)
    lines = [line.strip() for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    sentences = [line for line in lines if len(line) in LENGTHS and line.isascii() and not re.search(r"\d", line)]
    draw = random.Random(1)
    for seed, text in enumerate(draw.sample(sentences, min(14, len(sentences)))):
        waveform, corrected, first = timed(speaker, text, seed)
        for place in draw.sample(range(1, len(corrected) - 1), min(CUTS, len(corrected) - 2)):
            told = {"corrected": corrected[place], "at first": first.get(corrected[place].start)}
            for kind, word in told.items():
                if word is not None:
                    cut = waveform[: round(word.end_s * speaker.sample_rate_hz)]
                    silence = np.zeros(round(SILENCE_S * speaker.sample_rate_hz), np.float32)
                    transcript = ears.transcribe(np.concatenate([cut, silence]), speaker.sample_rate_hz)
                    errors.setdefault(kind, []).append(words_heard(text, transcript) - place - 1)
    for kind, values in errors.items():
        found = np.array(values)
        right, near = 100 * np.mean(found == 0), 100 * np.mean(np.abs(found) <= 1)
        print(f"{kind}: {len(found)} cuts, {right:.0f} % right, {near:.0f} % within a word, {found.mean():+.1f} words")


if __name__ == "__main__":
    main()
