"""A guess at how a word that is not in the dictionary sounds.

A joint n-gram model in the manner of Bisani and Ney, "Joint-sequence models for grapheme-to-phoneme conversion" (2008):
a word is a sequence of graphones, a letter with the phonemes it makes, and the likeliest sequence for its letters is
found by a beam search. `loquor.training.letter_to_sound` trains it on the dictionary and writes `data/`.
"""

import io
import lzma
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

BITS = 8  # of a graphone's number in a packed n-gram, the last graphone lowest; 0 stands before the beginning
BEGIN, FINISH = 1, 2
STEPS = 8  # of a natural logarithm, as stored in a byte
BEAM = 32  # hypotheses kept a letter: 8 finds 4 % fewer words
ODD_STRESS = 4.0  # log-probability lost by a word with no primary stress, or another one: 1 % of the dictionary

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Ngrams:
    """A back-off model. Per order: packed n-grams sorted, log-probability of the last given the others, and the weight
    of backing off after the whole n-gram."""

    keys: tuple[Ints, ...]
    log_probability: tuple[Floats, ...]
    log_backoff: tuple[Floats, ...]

    def place(self, order: int, ngrams: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """Where each n-gram of this order is, and whether it is there at all."""
        keys = self.keys[order - 1]
        places = np.minimum(np.searchsorted(keys, ngrams), len(keys) - 1)
        return places, keys[places] == ngrams

    def score(self, sequences: Ints) -> Floats:
        """Log-probability of the last graphone of each packed sequence, given as many before it as the model knows."""
        score = np.zeros(sequences.shape, dtype=np.float32)
        open_ = np.ones(sequences.shape, dtype=bool)
        for order in range(len(self.keys), 0, -1):
            ngrams = sequences & ((1 << BITS * order) - 1)
            places, found = self.place(order, ngrams)
            score += np.where(open_ & found, self.log_probability[order - 1][places], 0)
            open_ &= ~found
            if order > 1:
                places, found = self.place(order - 1, ngrams >> BITS)
                score += np.where(open_ & found, self.log_backoff[order - 2][places], 0)
        return score


@dataclass(frozen=True)
class LetterToSound:
    """The n-grams and what their numbers mean: graphone i + 3 is `letters[i]` making `sounds[i]`."""

    ngrams: Ngrams
    letters: str
    sounds: tuple[tuple[str, ...], ...]

    def choices(self, letter: str) -> Ints:
        """The graphones of a letter."""
        return np.array([i + 3 for i, c in enumerate(self.letters) if c == letter], dtype=np.int64)

    def stresses(self, graphones: Ints) -> Ints:
        """How many primary stresses each graphone has."""
        return np.array([sum(p.endswith("1") for p in self.sounds[i - 3]) for i in graphones.tolist()], dtype=np.int64)

    def guess(self, word: str) -> tuple[str, ...]:
        """Phonemes of a word of letters a to z."""
        mask = (1 << BITS * len(self.ngrams.keys)) - 1
        scores, histories = np.zeros(1, dtype=np.float32), np.full(1, BEGIN, dtype=np.int64)
        paths, stress = np.zeros((1, 0), dtype=np.int64), np.zeros(1, dtype=np.int64)
        for letter in word:
            choices = self.choices(letter)
            stresses = self.stresses(choices)
            longer = ((histories[:, None] << BITS) | choices) & mask
            too_many = np.minimum(stress[:, None] + stresses - 1, stresses).clip(min=0)
            total = scores[:, None] + self.ngrams.score(longer) - ODD_STRESS * too_many
            best = np.argsort(-total, axis=None, kind="stable")[:BEAM]
            row, column = np.divmod(best, len(choices))
            scores, histories = total[row, column], longer[row, column]
            paths = np.concatenate([paths[row], choices[column, None]], axis=1)
            stress = stress[row] + stresses[column]
        scores = scores + self.ngrams.score(((histories << BITS) | FINISH) & mask) - ODD_STRESS * (stress == 0)
        return tuple(phoneme for graphone in paths[scores.argmax()] for phoneme in self.sounds[graphone - 3])

    def pack(self) -> bytes:
        """The data file: the n-grams as a tree, by order the last graphones and how many follow each shorter n-gram."""
        names = " ".join(f"{c}:{'+'.join(s)}" for c, s in zip(self.letters, self.sounds, strict=True))
        arrays: dict[str, NDArray[np.generic]] = {"graphones": np.frombuffer(names.encode(), dtype=np.uint8)}
        contexts = np.zeros(1, dtype=np.int64)
        for i, keys in enumerate(self.ngrams.keys):
            followers = np.bincount(np.searchsorted(contexts, keys >> BITS), minlength=len(contexts))
            arrays[f"followers{i}"] = followers.astype(np.uint8)
            arrays[f"last{i}"] = (keys & ((1 << BITS) - 1)).astype(np.uint8)
            arrays[f"log_probability{i}"] = to_bytes(self.ngrams.log_probability[i])
            arrays[f"log_backoff{i}"] = to_bytes(self.ngrams.log_backoff[i])
            contexts = keys
        file = io.BytesIO()
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy types its keyword arguments too narrowly
        return lzma.compress(file.getvalue(), preset=9)


def to_bytes(values: Floats) -> NDArray[np.int8]:
    """Natural logarithms between -30 and 1.9, rounded to 1/8, in a byte."""
    return (np.clip(np.round(values * STEPS), -240, 15) + 112).astype(np.int8)


def from_bytes(stored: NDArray[np.int8]) -> Floats:
    """The inverse of `to_bytes`."""
    return ((stored.astype(np.float32) - 112) / STEPS).astype(np.float32)


def unpack(data: bytes) -> LetterToSound:
    """The model in a data file."""
    with np.load(io.BytesIO(lzma.decompress(data))) as arrays:
        orders = range(sum(name.startswith("last") for name in arrays))
        keys = [np.zeros(1, dtype=np.int64)]
        for i in orders:
            keys.append(keys[-1].repeat(arrays[f"followers{i}"]) << BITS | arrays[f"last{i}"])
        ngrams = Ngrams(
            tuple(keys[1:]),
            tuple(from_bytes(arrays[f"log_probability{i}"]) for i in orders),
            tuple(from_bytes(arrays[f"log_backoff{i}"]) for i in orders),
        )
        graphones = [name.partition(":") for name in arrays["graphones"].tobytes().decode().split(" ")]
    sounds = tuple(tuple(s for s in name[2].split("+") if s) for name in graphones)
    return LetterToSound(ngrams, "".join(name[0] for name in graphones), sounds)


@lru_cache(maxsize=1)
def letter_to_sound() -> LetterToSound:
    """The model that ships with the package."""
    return unpack(files("loquor.text").joinpath("data/letter_to_sound.npz.xz").read_bytes())
