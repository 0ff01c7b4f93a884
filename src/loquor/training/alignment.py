"""Which letters of a word make which of its sounds: monotone alignment by expectation maximisation.

Each letter makes none, one or two phonemes ("x" -> K S). The counts start uniform and are re-estimated from the
expected use of every (letter, phonemes) pair over all alignments of all words, as in Black, Lenzo and Pagel,
"Issues in building general letter to sound rules" (1998), with two phonemes allowed. All words run together in numpy.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_PHONEMES = 2  # by one letter
TINY = 1e-30

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Words:
    """Words of equal length: `letters` [N, L] from 1, `phonemes` [N, P] from 1, 0 beyond a word's own `sounds` [N]."""

    letters: Ints
    phonemes: Ints
    sounds: Ints

    def chunks(self, phoneme_count: int) -> list[Ints]:
        """For k = 0, 1, 2: the number [N, P + 1 - k] of the chunk of k phonemes that begins at each place."""
        empty = np.zeros((len(self.phonemes), self.phonemes.shape[1] + 1), dtype=np.int64)
        pairs = self.phonemes[:, :-1] * (phoneme_count + 1) + self.phonemes[:, 1:]
        return [empty, self.phonemes, pairs]


def group(words: list[tuple[str, list[int]]]) -> list[tuple[list[int], Words]]:
    """Words by their number of letters, each group with the places of its words in the list."""
    groups = []
    for length in sorted({len(spelling) for spelling, _ in words}):
        places = [i for i, (spelling, _) in enumerate(words) if len(spelling) == length]
        phonemes = np.zeros((len(places), MAX_PHONEMES * length), dtype=np.int64)
        for row, i in enumerate(places):
            phonemes[row, : len(words[i][1])] = words[i][1]
        letters = np.array([[ord(c) - 96 for c in words[i][0]] for i in places])
        groups.append((places, Words(letters, phonemes, np.array([len(words[i][1]) for i in places]))))
    return groups


def spend(score: Floats, probability: list[Floats], best: bool) -> Floats:
    """Score [N, P + 1] of having spent p phonemes after one more letter: summed over, or the best of, 0, 1 or 2."""
    after = score * probability[0]
    combine = np.maximum if best else np.add
    for k in range(1, MAX_PHONEMES + 1):
        after[:, k:] = combine(after[:, k:], score[:, :-k] * probability[k])
    return after


def letter_probabilities(words: Words, table: Floats, phoneme_count: int) -> list[list[Floats]]:
    """Per letter of the words and per k, the probability [N, P + 1 - k] that it makes the chunk at each place."""
    chunks = words.chunks(phoneme_count)
    return [[table[letter[:, None], chunk] for chunk in chunks] for letter in words.letters.T]


def expected_counts(words: Words, table: Floats, phoneme_count: int) -> Floats:
    """How often each letter makes each chunk in these words, by forward and backward sums; a table [27, chunks]."""
    probability = letter_probabilities(words, table, phoneme_count)
    rows, columns = len(words.letters), words.phonemes.shape[1] + 1
    forward = [np.eye(1, columns).repeat(rows, axis=0)]
    for step in probability:
        forward.append(spend(forward[-1], step, best=False))
    backward = (np.arange(columns) == words.sounds[:, None]).astype(float)
    total = (forward[-1] * backward).sum(axis=1, keepdims=True) + TINY
    counts = np.zeros(table.size)
    chunks = words.chunks(phoneme_count)
    for i in range(words.letters.shape[1] - 1, -1, -1):
        earlier = np.zeros_like(backward)
        for k, p in enumerate(probability[i]):
            here = p * backward[:, k:]
            share = forward[i][:, : columns - k] * here / total
            cells = words.letters[:, i : i + 1] * table.shape[1] + chunks[k]
            counts += np.bincount(cells.ravel(), share.ravel(), minlength=table.size)
            earlier[:, : columns - k] += here
        backward = earlier
    return counts.reshape(table.shape)


def best_alignments(words: Words, table: Floats, phoneme_count: int) -> tuple[Ints, Floats]:
    """How many phonemes each letter makes [N, L] in the likeliest alignment, and its log-probability [N]."""
    probability = letter_probabilities(words, table, phoneme_count)
    rows, columns = len(words.letters), words.phonemes.shape[1] + 1
    scores = [np.eye(1, columns).repeat(rows, axis=0)]
    for step in probability:
        scores.append(spend(scores[-1], step, best=True))
    spent, row = words.sounds.copy(), np.arange(rows)
    lengths = np.zeros_like(words.letters)
    for i in range(words.letters.shape[1] - 1, -1, -1):
        options = np.zeros((rows, MAX_PHONEMES + 1))
        for k, p in enumerate(probability[i]):
            place = np.maximum(spent - k, 0)
            options[:, k] = np.where(spent >= k, scores[i][row, place] * p[row, np.minimum(place, p.shape[1] - 1)], 0)
        lengths[:, i] = options.argmax(axis=1)
        spent = np.maximum(spent - lengths[:, i], 0)
    return lengths, np.log(scores[-1][row, words.sounds] + TINY)


def align(words: list[tuple[str, list[int]]], phoneme_count: int, rounds: int = 8) -> list[tuple[list[int], float]]:
    """For each word (letters a-z, phoneme numbers from 1) phonemes and log-probability per letter."""
    groups = group(words)
    table = np.full((27, (phoneme_count + 1) ** 2), 1.0)
    table /= table.sum(axis=1, keepdims=True)
    for _ in range(rounds):
        counts = np.full_like(table, TINY)
        for _, g in groups:
            counts += expected_counts(g, table, phoneme_count)
        table = counts / counts.sum(axis=1, keepdims=True)
    aligned: dict[int, tuple[list[int], float]] = {}
    for places, g in groups:
        lengths, score = best_alignments(g, table, phoneme_count)
        for i, row, log_probability in zip(places, lengths, score, strict=True):
            aligned[i] = (row.tolist(), float(log_probability) / len(row))
    return [aligned[i] for i in range(len(words))]
