"""How words sound, known and unknown, and how the model that guesses is trained."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.text.letter_to_sound import letter_to_sound, unpack
from loquor.text.phonemes import ARPABET, dictionary_entry, dictionary_lines, pronounce, supplement
from loquor.training.alignment import align
from loquor.training.letter_to_sound import aligned_words, distance, train


def sound(word: str) -> str:
    return " ".join(pronounce(word))


def test_every_word_of_the_dictionary_is_found():
    lines = dictionary_lines().split(b"\n")[1:-1]
    assert lines == sorted(lines) and len(lines) > 120_000
    for line in [*lines[:3], *lines[1000::5000], *lines[-3:]]:
        word, codes = line.decode().split("\t")
        phonemes = tuple(ARPABET[ord(code) - 33] for code in codes)
        assert dictionary_entry(word) == supplement().get(word, phonemes)


@given(st.text("abcdefghijklmnopqrstuvwxyz'", max_size=20))
def test_the_dictionary_has_a_word_or_says_it_has_not(word):
    known = word in supplement() or b"\n" + word.encode() + b"\t" in dictionary_lines()
    assert (dictionary_entry(word) is not None) == known


@given(st.from_regex(r"\A'?[A-Za-z]{1,12}('[A-Za-z]{1,4}){0,2}\Z"))
def test_every_word_has_a_sound(word):
    assert pronounce(word) and set(pronounce(word)) <= set(ARPABET)


@pytest.mark.parametrize(
    ("word", "phonemes"),
    [
        ("hello", "HH AH0 L OW1"),
        ("the", "DH AH0"),  # reduced: the model hears the next word
        ("read", "R IY1 D"),
        ("live", "L IH1 V"),
        ("wind", "W IH1 N D"),
        ("don't", "D OW1 N T"),
        ("'em", "AH0 M"),
        ("emojis", "IH0 M OW1 JH IY0 Z"),  # the plural of a word it knows
        ("vibevoices", "V AY1 B V OY2 S IH0 Z"),
        ("tiktok'll", "T IH1 K T AA2 K AH0 L"),
        ("rock'n'roll", "R AA1 K AH0 N R OW1 L"),
    ],
)
def test_words_are_said_the_common_way(word, phonemes):
    assert sound(word) == phonemes


def test_capitals_decide_what_is_spelled_out():
    assert sound("us") == "AH1 S" and sound("US") == "Y UW1 EH1 S"
    assert sound("LLM") == "EH1 L EH1 L EH1 M" and sound("LLMs") == f"{sound('LLM')} Z"
    assert sound("nasa") == sound("NASA") == "N AE1 S AH0"  # a word, whatever its letters
    assert sound("html") == sound("HTML") and sound("css") == "S IY1 EH1 S EH1 S"
    assert sound("ChatGPT") == f"{sound('chat')} JH IY1 P IY1 T IY1"


def test_unknown_words_are_guessed_from_their_letters():
    assert dictionary_entry("brillig") is None
    assert sound("brillig") == "B R IH1 L IH0 G"
    assert sound("glamping") == "G L AE1 M P IH0 NG"


def test_a_word_of_any_length_is_said():
    assert len(pronounce("blah" * 200)) > 400


@pytest.mark.parametrize(
    "word", ["brillig", "slithy", "toves", "borogoves", "outgrabe", "jubjub", "tumtum", "galumphing"]
)
def test_a_guess_has_one_primary_stress(word):
    assert sum(phoneme.endswith("1") for phoneme in letter_to_sound().guess(word)) == 1


def test_letters_are_aligned_with_the_sounds_they_make():
    words = {
        "box": "B AA1 K S",
        "fix": "F IH1 K S",
        "bob": "B AA1 B",
        "fib": "F IH1 B",
        "fob": "F AA1 B",
        "ox": "AA1 K S",
    }
    numbers = {p: i + 1 for i, p in enumerate(sorted({p for ps in words.values() for p in ps.split()}))}
    aligned = align([(w, [numbers[p] for p in ps.split()]) for w, ps in words.items()], len(numbers))
    assert [lengths for lengths, _ in aligned] == [[1, 1, 2], [1, 1, 2], [1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 2]]


@pytest.fixture(scope="module")
def small_model():
    """Trained on every thirtieth word of the dictionary."""
    lines = [line.decode().split("\t") for line in dictionary_lines().split(b"\n")[1:-1]]
    words = {word: tuple(ARPABET[ord(code) - 33] for code in codes) for word, codes in lines[::30]}
    aligned = aligned_words(words)
    return train(aligned, pruning=0.5), aligned


def test_training_learns_the_words_it_saw(small_model):
    model, words = small_model
    seen = [(tuple(p for _, s in word for p in s), model.guess("".join(c for c, _ in word))) for word in words[::20]]
    errors = sum(distance(a, b) for a, b in seen) / sum(len(a) for a, _ in seen)
    assert errors < 0.1  # 0.05 when this was written; guessing without learning is near 1


def test_a_packed_model_guesses_as_before(small_model):
    model, words = small_model
    packed = unpack(model.pack())
    assert unpack(packed.pack()).pack() == packed.pack()  # rounding to bytes happens once
    same = [model.guess(w) == packed.guess(w) for w in ("".join(c for c, _ in word) for word in words[::50])]
    assert sum(same) >= 0.9 * len(same)


@pytest.mark.parametrize(
    ("a", "b", "edits"), [("", "", 0), ("abc", "abc", 0), ("abc", "axc", 1), ("abc", "", 3), ("ab", "bab", 1)]
)
def test_distance_counts_edits(a, b, edits):
    assert distance(tuple(a), tuple(b)) == distance(tuple(b), tuple(a)) == edits
