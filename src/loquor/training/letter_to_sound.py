"""Trains the letter-to-sound model in `text/data` on the CMU Pronouncing Dictionary, and says how good it is.

    $ python -m loquor.training.letter_to_sound cmudict.dict

Words are aligned (`alignment.py`), counted as graphone n-grams, smoothed by interpolated Kneser-Ney and pruned by
weighted difference (Seymore and Rosenfeld, "Scalable backoff language models", 1996). It first trains on 95 % of the
words to report the error on the other 5 %, then on all of them. Pure numpy, under a minute.
"""

import random
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loquor.text.letter_to_sound import BEGIN, BITS, FINISH, Floats, Ints, LetterToSound, Ngrams
from loquor.text.phonemes import CONSONANTS, VOWELS, Phonemes
from loquor.training.alignment import align
from loquor.training.dictionary import read_cmudict

ORDER = 6
PRUNING = 2.6  # an n-gram stays if it improves the log-likelihood of the training words by this many nats in all
WORST_ALIGNMENT = -2.3  # log-probability per letter: below are abbreviations ("iraq" is fine, "mr" is not)
RAREST_GRAPHONE = 5

Aligned = tuple[tuple[str, Phonemes], ...]  # a word as graphones: letter and the phonemes it makes


def aligned_words(words: dict[str, Phonemes]) -> list[Aligned]:
    """The words as graphones, without those whose letters do not tell their sound."""
    numbers = {phoneme: i + 1 for i, phoneme in enumerate((*VOWELS, *CONSONANTS))}
    plain = [(w, [numbers[p.rstrip("012")] for p in ps]) for w, ps in words.items()]
    plain = [(w, ps) for w, ps in plain if re.fullmatch("[a-z]+", w) and len(ps) <= 2 * len(w)]
    result: list[Aligned] = []
    for (word, _), (lengths, score) in zip(plain, align(plain, len(numbers)), strict=True):
        if score < WORST_ALIGNMENT:
            continue
        ends = np.cumsum(lengths).tolist()
        result.append(tuple((c, words[word][e - n : e]) for c, n, e in zip(word, lengths, ends, strict=True)))
    counts: dict[tuple[str, Phonemes], int] = {}
    for graphone in (g for aligned in result for g in aligned):
        counts[graphone] = counts.get(graphone, 0) + 1
    return [aligned for aligned in result if all(counts[g] >= RAREST_GRAPHONE for g in aligned)]


@dataclass
class Order:
    """The n-grams of one order: packed and sorted, how often they occur, and what smoothing makes of it."""

    keys: Ints
    occurrences: Ints  # in the words
    counts: Ints  # Kneser-Ney: kinds of continuation below the highest order
    probability: Floats
    backoff: Floats  # the share that discounting left to the lower order, in the n-gram's own context

    def place(self, keys: Ints) -> Ints:
        return np.searchsorted(self.keys, keys)


def count(sequences: list[list[int]], order: int) -> tuple[Ints, Ints]:
    """N-grams that do not begin before their word, and their number of occurrences."""
    packed = []
    for sequence in sequences:
        ngram = 0
        for i, symbol in enumerate(sequence):
            ngram = (ngram << BITS | symbol) & ((1 << BITS * order) - 1)
            if i + 1 >= order:
                packed.append(ngram)
    keys, occurrences = np.unique(np.array(packed, dtype=np.int64), return_counts=True)
    return keys, occurrences.astype(np.int64)


def continuation_counts(keys: Ints, occurrences: Ints, higher: Ints, order: int) -> Ints:
    """In how many ways each n-gram goes on to the left; one that begins a word counts as often as it occurs."""
    suffixes, kinds = np.unique(higher & ((1 << BITS * order) - 1), return_counts=True)
    counts = np.where(keys >> BITS * (order - 1) == BEGIN, occurrences, 0)
    counts[np.searchsorted(keys, suffixes)] += kinds
    return counts


def smoothed(sequences: list[list[int]], graphones: int) -> list[Order]:
    """Interpolated Kneser-Ney probabilities of all n-grams up to `ORDER`."""
    found = [count(sequences, order) for order in range(1, ORDER + 1)]
    orders: list[Order] = []
    for i, (keys, occurrences) in enumerate(found):
        counts = occurrences if i == ORDER - 1 else continuation_counts(keys, occurrences, found[i + 1][0], i + 1)
        counts = np.maximum(counts, 1)
        once, twice = (counts == 1).sum(), (counts == 2).sum()
        discount = once / (once + 2 * twice + 1)
        _, context = np.unique(keys >> BITS, return_inverse=True)
        total = np.bincount(context, counts)[context]
        backoff = discount * np.bincount(context)[context] / total
        suffix = keys & ((1 << BITS * i) - 1)
        lower = orders[-1].probability[orders[-1].place(suffix)] if orders else 1 / graphones
        probability = np.maximum(counts - discount, 0) / total + backoff * lower
        orders.append(Order(keys, occurrences, counts, probability.astype(np.float32), backoff.astype(np.float32)))
    return orders


def kept(orders: list[Order], pruning: float) -> list[Order]:
    """The n-grams that earn their place, and the contexts of those that stay."""
    result: list[Order] = []
    contexts = np.zeros(0, dtype=np.int64)
    for i in range(ORDER - 1, -1, -1):
        order = orders[i]
        keep = np.isin(order.keys, contexts)
        if i == 0:
            keep[:] = True
        else:
            lower = orders[i - 1]
            instead = order.backoff * lower.probability[lower.place(order.keys & ((1 << BITS * i) - 1))]
            keep |= order.occurrences * np.log(order.probability / instead) > pruning
        result.insert(0, Order(*(getattr(order, name)[keep] for name in order.__dataclass_fields__)))
        contexts = np.unique(order.keys[keep] >> BITS)
    return result


def backed_off(orders: list[Order]) -> Ngrams:
    """The model with weights that make the probabilities after every context sum to one again."""
    ngrams = Ngrams((), (), ())
    for order in orders:
        weights = np.zeros(0, dtype=np.float32)
        if ngrams.keys:
            contexts, context = np.unique(order.keys >> BITS, return_inverse=True)
            depth = len(ngrams.keys)
            lower = np.exp(ngrams.score(order.keys & ((1 << BITS * depth) - 1)))
            left = 1 - np.bincount(context, order.probability)
            rest = 1 - np.bincount(context, lower)
            weights = np.zeros(len(ngrams.keys[-1]), dtype=np.float32)
            weights[np.searchsorted(ngrams.keys[-1], contexts)] = np.log(
                np.maximum(left, 1e-6) / np.maximum(rest, 1e-6)
            )
            ngrams = Ngrams(ngrams.keys, ngrams.log_probability, (*ngrams.log_backoff[:-1], weights))
        empty = np.zeros(len(order.keys), dtype=np.float32)
        log_probability = np.log(order.probability).astype(np.float32)
        ngrams = Ngrams(
            (*ngrams.keys, order.keys), (*ngrams.log_probability, log_probability), (*ngrams.log_backoff, empty)
        )
    return ngrams


def train(words: list[Aligned], pruning: float = PRUNING) -> LetterToSound:
    """The model of these words."""
    graphones = sorted({graphone for word in words for graphone in word})
    numbers = {graphone: i + 3 for i, graphone in enumerate(graphones)}
    assert len(numbers) + 3 <= 1 << BITS
    sequences = [[BEGIN, *(numbers[g] for g in word), FINISH] for word in words]
    ngrams = backed_off(kept(smoothed(sequences, len(graphones)), pruning))
    return LetterToSound(ngrams, "".join(c for c, _ in graphones), tuple(s for _, s in graphones))


def distance(a: Phonemes, b: Phonemes) -> int:
    """Edits that turn a into b."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        corner, row[0] = row[0], i + 1
        for j, y in enumerate(b):
            corner, row[j + 1] = row[j + 1], min(row[j + 1] + 1, row[j] + 1, corner + (x != y))
    return row[-1]


def report(model: LetterToSound, words: list[Aligned]) -> str:
    """Phoneme error rate and share of right words on held-out words, with stress and without."""
    lines = []
    pairs = [(tuple(p for _, s in word for p in s), model.guess("".join(c for c, _ in word))) for word in words]
    for name, digits in (("with stress", ""), ("without", "012")):
        plain = [[tuple(p.rstrip(digits) for p in side) for side in pair] for pair in pairs]
        errors = sum(distance(a, b) for a, b in plain) / sum(len(a) for a, _ in plain)
        right = sum(a == b for a, b in plain) / len(plain)
        lines.append(f"{name}: phoneme error rate {errors:.1%}, words right {right:.1%}")
    return "\n".join(lines)


def main(source: Path) -> None:
    """Reports on held-out words, then writes the model of all words beside the code that reads it."""
    words = aligned_words(read_cmudict(source))
    random.Random(0).shuffle(words)
    held_out = len(words) // 20
    print(f"{len(words)} words, of these {held_out} held out")
    print(report(train(words[held_out:]), words[:held_out]))
    target = Path(__file__).parents[1] / "text" / "data" / "letter_to_sound.npz.xz"
    model = train(words)
    target.write_bytes(model.pack())
    print(f"{sum(len(k) for k in model.ngrams.keys)} n-grams, {target.stat().st_size} bytes: {target}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
