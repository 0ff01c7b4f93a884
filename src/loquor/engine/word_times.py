"""When each word of a text is heard in speech that was made of it, told while the speech is made.

Nothing here listens for words. A word is not heard before the model has read it; from there on the words share the time
in which there is a voice, each as long as its characters usually take (`loquor.text.timing`), at the pace this voice
had so far. When an utterance ends its length is known, and its words are placed once more: its pauses are matched with
its marks, by dynamic programming, and the words between two of them share what lies between.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from loquor.engine.request import Chunk
from loquor.text.timing import WORD, estimated_s

HOP_S = 0.01
SILENCE = 0.03  # of the loudest hop, -30 dB: below it there is no voice
QUIET = 0.05  # what even a quiet voice reaches in its loudest hop
PAUSE_HOPS = 8  # of silence; what is shorter is a stop inside a word
MARKS = re.compile(r"[^\w\s'’\"“”-]")  # between two words: here a voice may pause
UNMATCHED_S = 0.4  # a mark without a pause, or a pause without a mark, costs as much as one this far from its place
USUAL_PACE = 0.75  # seconds of voice for a second of `estimated_s`, which counts pauses too; of the embedded voice
MOST_PAIRS = 20_000  # of marks and pauses that are compared: some milliseconds
EARLIER = 0.5  # what the utterances before count for in the pace, beside the last one

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TimedWord:
    """A word and when it is heard."""

    text: str
    start: int  # characters of the whole text before it
    end: int
    start_s: float
    end_s: float


@dataclass
class _Sound:
    """An utterance as far as it has been made."""

    start_s: float
    text_start: int
    text_end: int = 0
    levels: list[float] = field(default_factory=list)  # of hops
    loudest: float = QUIET
    voiced: int = 0  # hops, as far as that was known when each came
    silent: int = 0  # hops since the last one with a voice
    reached: int = 0  # characters of the text, by the words that were told of
    weight: float = 0.0  # of these words

    def add(self, levels: list[float]) -> None:
        self.levels += levels
        for level in levels:
            self.loudest = max(self.loudest, level)
            self.silent = self.silent + 1 if level <= SILENCE * self.loudest else 0
            self.voiced += 1 - (PAUSE_HOPS if self.silent == PAUSE_HOPS else self.silent > PAUSE_HOPS)

    def voice_s(self) -> Floats:
        """Seconds of voice before each hop, and at the end [N + 1]; pauses have none."""
        silent = np.array(self.levels) <= SILENCE * self.loudest
        for start, end in _runs(silent):
            if end - start < PAUSE_HOPS:
                silent[start:end] = False
        return np.concatenate([[0.0], np.cumsum(~silent) * HOP_S])

    def time_s(self, hop: int) -> float:
        return self.start_s + hop * HOP_S


class WordTimes:
    """Follows one text through its speech: text is pushed, chunks are heard."""

    def __init__(self, sample_rate_hz: int) -> None:
        self.text, self.end_s = "", 0.0
        self.words: dict[int, TimedWord] = {}  # told so far, by where they start
        self._hop_samples = round(HOP_S * sample_rate_hz)
        self.pace = USUAL_PACE  # learned from every utterance
        self._sound: _Sound | None = None

    def push(self, text: str) -> None:
        self.text += text

    def hear(self, chunk: Chunk) -> tuple[list[TimedWord], list[TimedWord]]:
        """The words that begin in this chunk, as well as that can be known; and, if an utterance ends with it, all
        words of the utterance, better."""
        sound = self._sound
        if sound is None:
            sound = self._sound = _Sound(chunk.start_s, chunk.text_start, reached=chunk.text_start)
        sound.text_end, self.end_s = max(sound.text_end, chunk.text_end), chunk.end_s
        hops = chunk.waveform.numpy()[: len(chunk.waveform) // self._hop_samples * self._hop_samples]
        sound.add(np.sqrt(np.square(hops.reshape(-1, self._hop_samples), dtype=np.float64).mean(1)).tolist())
        fresh = self._begun(sound)
        return fresh, self.settle() if chunk.finish else []

    def settle(self) -> list[TimedWord]:
        """All words of the utterance that has just ended; of speech whose chunks do not tell where one does, all."""
        sound, self._sound = self._sound, None
        words = self._words(sound.text_start, sound.text_end) if sound and sound.levels else []
        if not sound or not words:
            return []
        voice = sound.voice_s()
        planned = np.concatenate([[0.0], np.cumsum([_weight(word) for word in words])])
        if voice[-1] > 0:
            self.pace = EARLIER * self.pace + (1 - EARLIER) * voice[-1] / planned[-1]
        marks = [i for i in range(1, len(words)) if MARKS.search(self.text[words[i - 1].end() : words[i].start()])]
        at = np.interp(planned, *_anchors(planned * voice[-1] / planned[-1], marks, _pauses(voice), planned))
        settled = [self._timed(sound, voice, word, *ends) for word, ends in zip(words, pairwise(at), strict=True)]
        self.words |= {word.start: word for word in settled}
        return settled

    def heard_until(self, played_s: float) -> int:
        """Characters of the text whose words have been heard, at least by half, after so many seconds."""
        heard = [word for word in self.words.values() if (word.start_s + word.end_s) / 2 <= played_s]
        end = max((word.end for word in heard), default=0)
        while end and end < len(self.text) and not self.text[end].isspace() and not WORD.match(self.text, end):
            end += 1  # a mark goes with the word before it
        return end

    def _begun(self, sound: _Sound) -> list[TimedWord]:
        """Words that were read and, at the pace of so far, have begun in the sound there is."""
        fresh = list[TimedWord]()
        for word in WORD.finditer(self.text, sound.reached):
            start, end = self.pace * sound.weight, self.pace * (sound.weight + _weight(word))
            if word.end() > sound.text_end or sound.voiced * HOP_S <= start:
                break
            fresh.append(self._timed(sound, sound.voice_s(), word, start, end))
            sound.reached, sound.weight = word.end(), sound.weight + _weight(word)
        self.words |= {word.start: word for word in fresh}
        return fresh

    def _words(self, start: int, end: int) -> list[re.Match[str]]:
        return [word for word in WORD.finditer(self.text, start) if word.end() <= end]

    def _timed(self, sound: _Sound, voice: Floats, word: re.Match[str], start: float, end: float) -> TimedWord:
        """A word that is said from one moment of `voice` to another, which may not have come yet."""
        first = int(np.searchsorted(voice, start + HOP_S / 2, side="right")) - 1  # after a pause
        last = int(np.searchsorted(voice, end - HOP_S / 2, side="left"))  # before one
        still_s = max(0.0, end - float(voice[-1]))
        start_s, end_s = sound.time_s(first), sound.time_s(min(last, len(voice) - 1)) + still_s
        return TimedWord(word[0], word.start(), word.end(), start_s, max(start_s, float(end_s)))


def _weight(word: re.Match[str]) -> float:
    return estimated_s(word[0] + " ")


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where flags [N] are set without a break: first, and one past the last."""
    steps = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    return list(zip(steps[::2].tolist(), steps[1::2].tolist(), strict=True))


def _pauses(voice: Floats) -> list[float]:
    """At which second of voice it stands still, but before and after all of it."""
    stands = np.diff(voice) == 0
    return [float(voice[start]) for start, end in _runs(stands) if 0 < voice[start] < voice[-1]]


def _anchors(
    expected: Floats, marks: list[int], pauses: list[float], planned: Floats
) -> tuple[list[float], list[float]]:
    """Places in the plan, and the seconds of voice that belong to them: both ends, and marks with their pauses."""
    is_short = len(marks) * len(pauses) <= MOST_PAIRS
    matched = _match([float(expected[i]) for i in marks], pauses) if is_short else []
    places = [0.0, *(float(planned[marks[i]]) for i, _ in matched), float(planned[-1])]
    return places, [0.0, *(pauses[j] for _, j in matched), float(expected[-1])]


def _match(marks: list[float], pauses: list[float]) -> list[tuple[int, int]]:
    """Pairs in order, of the least total distance and number of those left over."""
    costs = np.zeros((len(marks) + 1, len(pauses) + 1))
    costs[:, 0], costs[0] = UNMATCHED_S * np.arange(len(marks) + 1), UNMATCHED_S * np.arange(len(pauses) + 1)
    for i, mark in enumerate(marks, 1):
        for j, pause in enumerate(pauses, 1):
            left_over = min(costs[i - 1, j], costs[i, j - 1]) + UNMATCHED_S
            costs[i, j] = min(left_over, costs[i - 1, j - 1] + abs(mark - pause))
    pairs, i, j = list[tuple[int, int]](), len(marks), len(pauses)
    while i and j:
        if costs[i, j] == costs[i - 1, j - 1] + abs(marks[i - 1] - pauses[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif costs[i, j] == costs[i - 1, j] + UNMATCHED_S:
            i -= 1
        else:
            j -= 1
    return pairs[::-1]
