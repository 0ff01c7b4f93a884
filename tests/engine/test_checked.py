"""Speech that is checked: a sentence that came out badly is said again, the best is kept, and it is told."""

import logging

import numpy as np
import pytest
import torch

from loquor.engine.checked import chunks_of, say_checked
from loquor.engine.podcast.health import Ears
from loquor.engine.speech import Speech
from loquor.errors import ConfigError
from loquor.text.timing import estimated_s

RATE = 24_000
SHORT = "She asked for bread, milk and two eggs."
LONG = " ".join(
    [
        "The captain kept the only map of the harbour, and nobody else had ever seen it in his life.",
        "We left before the sun was up, and walked along the river until noon without a word.",
        "In the evening a letter came from the north, and it changed all that we had planned.",
    ]
)


def babble(text, seed):
    """Syllables of chance: as long as the text asks, never the same twice."""
    random, syllables = np.random.default_rng(seed), []
    t = np.arange(int(0.18 * RATE)) / RATE
    for _ in range(int(estimated_s(text) / 0.18)):
        waves = sum(np.sin(2 * np.pi * f * t) for f in random.uniform(150, 5000, 5))
        syllables.append(0.05 * waves * np.hanning(len(t)))
    return np.concatenate(syllables).astype(np.float32)


class Voice:
    """Says babble, and notes what it was asked for; `spoil` changes what is said at some attempts."""

    def __init__(self, spoil=lambda text, attempt, sound: sound):
        self.asked, self.spoil = [], spoil

    def __call__(self, text, seed):
        attempt = sum(said == text for said, _ in self.asked)
        self.asked.append((text, seed))
        sound = torch.from_numpy(self.spoil(text, attempt, babble(text, seed)))
        return Speech(sound, RATE, torch.zeros(0, 8), text, "Ada", "end", 1.0, 1.0)


def test_what_is_sound_at_once_is_said_once_with_the_seed_asked_for(caplog):
    voice = Voice()
    [piece] = say_checked(voice, SHORT, Ears(), seed=7)
    assert voice.asked == [(SHORT, 7)]
    assert (piece.seed, piece.attempts, piece.is_sound) == (7, 1, True)
    assert torch.equal(piece.speech.waveform, torch.from_numpy(babble(SHORT, 7)))
    assert not caplog.records


def test_a_bad_sentence_is_said_again_with_other_seeds_until_it_is_sound(caplog):
    voice = Voice(lambda text, attempt, sound: sound if attempt == 2 else sound[: len(sound) // 5])
    [piece] = say_checked(voice, SHORT, Ears(), tries=5, seed=7)
    assert piece.attempts == 3
    assert piece.is_sound
    assert len({seed for _, seed in voice.asked}) == 3
    assert piece.seed == voice.asked[-1][1]
    assert "said 'She asked for bread, milk and two eggs.' 3 times" in caplog.text
    assert "truncated" in caplog.text


def test_after_the_last_try_the_best_attempt_is_kept_and_its_fault_is_told(caplog):
    shares = [0.15, 0.3, 0.2]
    voice = Voice(lambda text, attempt, sound: sound[: int(shares[attempt] * len(sound))])
    [piece] = say_checked(voice, SHORT, Ears(), tries=2)
    assert (piece.attempts, piece.is_sound) == (3, False)
    assert piece.seed == voice.asked[1][1]
    assert "truncated" in piece.faults
    assert "still has a fault" in caplog.text


def test_misheard_words_are_a_fault_and_a_few_are_forgiven():
    wrong = iter([(4, 8), (2, 8)])
    [piece] = say_checked(Voice(), SHORT, Ears(misheard=lambda take: next(wrong)))
    assert (piece.attempts, piece.is_sound) == (2, True)


def test_only_the_bad_sentence_of_a_long_text_is_said_again():
    hush = np.zeros(RATE * 3, dtype=np.float32)
    spoil = lambda text, attempt, sound: np.concatenate([sound, hush]) if "river" in text and not attempt else sound  # noqa: E731
    voice = Voice(spoil)
    pieces = list(say_checked(voice, LONG, Ears()))
    assert " ".join(piece.text for piece in pieces) == LONG
    assert len(pieces) >= 3
    assert [piece.attempts for piece in pieces] == [2 if "river" in piece.text else 1 for piece in pieces]


def test_the_same_text_and_seed_come_out_the_same_however_often_they_are_checked():
    spoil = lambda text, attempt, sound: sound if attempt else sound[:100]  # noqa: E731
    first, second = (list(say_checked(Voice(spoil), LONG, Ears(), seed=3)) for _ in range(2))
    assert [piece.seed for piece in first] == [piece.seed for piece in second]


def test_chunks_follow_each_other_in_time():
    kept = []
    chunks = list(chunks_of(say_checked(Voice(), LONG, Ears()), kept))
    assert [chunk.start_s for chunk in chunks[1:]] == [chunk.end_s for chunk in chunks[:-1]]
    assert chunks[-1].end_s == pytest.approx(sum(len(chunk.waveform) for chunk in chunks) / RATE)
    assert len(kept) == len(chunks)


def test_no_tries_examine_only_and_fewer_are_refused():
    voice = Voice(lambda text, attempt, sound: sound[:100])
    assert [piece.attempts for piece in say_checked(voice, SHORT, Ears(), tries=0)] == [1]
    with pytest.raises(ConfigError, match="tries"):
        list(say_checked(voice, SHORT, Ears(), tries=-1))


def test_a_piece_without_words_is_left_out(caplog):
    caplog.set_level(logging.WARNING)
    assert list(say_checked(Voice(), "...", Ears())) == []
    assert "no word" in caplog.text
