"""How words sound among their neighbours, in a text that may arrive piece by piece."""

import pytest

from loquor.text.connected import OTHERS
from loquor.text.phoneme_tokenizer import SYMBOLS, PhonemeTokenizer
from loquor.text.phonemes import ARPABET, dictionary_entry, supplement

PHONEMES = PhonemeTokenizer()


def sounds(text: str) -> list[str]:
    """A word or mark an item."""
    symbols = " ".join("|" if SYMBOLS[i] == " " else SYMBOLS[i] for i in PHONEMES.encode(text)[:-2])
    return symbols.split(" | ")


@pytest.mark.parametrize(
    ("text", "articles"),
    [
        ("the apple", "IY0"),
        ("the pear", "AH0"),
        ("The hour", "IY0"),
        ("the one", "AH0"),
        ("the US", "AH0"),
        ("the FBI", "IY0"),
        ("the 8 of us", "IY0"),
        ("the", "AH0"),
        ("the, ah", "AH0"),
    ],
)
def test_the_article_sounds_by_the_word_behind_it(text, articles):
    assert sounds(text)[0].startswith(f"DH {articles}")


def test_an_article_waits_for_its_word_and_keeps_its_place():
    stream = PHONEMES.stream()
    before = stream.push("Eat the ")
    after = stream.push("apple ")
    assert [SYMBOLS[token.id] for token in before[-2:]] == [" ", "DH"]
    assert (SYMBOLS[after[0].id], after[0].start, after[0].end) == ("IY0", 4, 7)


@pytest.mark.parametrize(
    ("text", "word", "phonemes"),
    [
        ("We live here", 1, "L IH1 V"),
        ("a live show", 1, "L AY1 V"),
        ("We are live", 2, "L AY1 V"),
        ("I read it", 1, "R IY1 D"),
        ("I have read it", 2, "R EH1 D"),
        ("to use it", 1, "Y UW1 Z"),
        ("the use of it", 1, "Y UW1 S"),
        ("Close the door", 0, "K L OW1 Z"),
        ("very close to it", 1, "K L OW1 S"),
        ("the record", 1, "R EH1 K ER0 D"),
        ("to record it", 1, "R IH0 K AO1 R D"),
        ("a present", 1, "P R EH1 Z AH0 N T"),
        ("will present it", 1, "P R IY0 Z EH1 N T"),
    ],
)
def test_homographs_are_told_apart_by_the_word_before_them(text, word, phonemes):
    assert sounds(text)[word] == phonemes


def test_a_mark_keeps_words_apart():
    assert sounds("Is it to? Record it.")[2] == "T AH0 ? R EH1 K ER0 D"


def test_abbreviations_are_words_among_words_in_capitals():
    assert sounds("GIVE US TIME") == sounds("give us time")
    assert sounds("the US economy")[1] == "Y UW1 EH1 S"
    assert sounds("The IT team")[1] == "AY1 T IY1" and sounds("DO IT NOW") == sounds("do it now")


def test_a_paragraph_and_an_item_of_a_list_end_a_sentence_and_a_line_does_not():
    assert PHONEMES.encode("Title\n\nText") == PHONEMES.encode("Title. Text")
    assert PHONEMES.encode("To buy:\n- milk\n- bread\n2. eggs") == PHONEMES.encode("To buy: milk. bread. 2. eggs")
    assert PHONEMES.encode("one\ntwo - three") == PHONEMES.encode("one two - three")


def test_every_sound_written_by_hand_is_a_known_one_and_differs_from_the_dictionary():
    for phonemes in (*supplement().values(), *OTHERS.values()):
        assert phonemes and set(phonemes) <= set(ARPABET)
        assert sum(phoneme.endswith("1") for phoneme in phonemes) >= (phonemes != ("P", "S", "T"))
    assert all(dictionary_entry(word) != phonemes for (_, word), phonemes in OTHERS.items())


@pytest.mark.parametrize(
    ("word", "like"), [("podcasts", "podcast"), ("Googled", "Google"), ("Lyft's", "Lyft"), ("Wi", "why"), ("EVs", "EV")]
)
def test_modern_words_and_their_forms_sound_as_written_by_hand(word, like):
    whole, stem = sounds(word)[0].split(), sounds(like)[0].split()
    assert [p.rstrip("012") for p in whole[: len(stem)]] == [p.rstrip("012") for p in stem]
