"""What listens while a model speaks: misheard words of English, and none of what it does not know."""

import numpy as np

from loquor.engine.podcast.health import Take
from loquor.evaluation.self_check import listening_ears


class Scribe:
    """Writes down the same whatever it hears."""

    def __init__(self, text):
        self.text = text

    def transcribe(self, waveform, sample_rate_hz):
        return self.text


def take(text):
    return Take(np.zeros(100, dtype=np.float32), 24_000, text, "Ada", 1.0, "end")


def test_words_are_counted_after_both_sides_are_spelled_alike():
    ears = listening_ears(Scribe("it is thirteen cats, is not it"))
    assert ears.misheard(take("It's 13 dogs, isn't it?"))[0] == 1


def test_the_built_in_recogniser_hears_english(spoken):
    text = "The quick brown fox jumps over the lazy dog, and then it runs away into the dark wood."
    errors, words = listening_ears().misheard(Take(spoken[0], 24_000, text, "Ada", 5.0, "end"))
    assert words == 18
    assert errors <= 6


def test_what_the_recogniser_does_not_know_is_no_fault_and_told_once(caplog):
    ears = listening_ears()
    assert [ears.misheard(take("سلام دنیا"))[0] for _ in range(2)] == [0, 0]
    assert caplog.text.count("English only") == 1


def test_another_transcriber_is_asked_in_any_language():
    errors, characters = listening_ears(Scribe("سلام")).misheard(take("سلام دنیا"))
    assert (errors, characters) == (4, 8)
