"""How a word sounds among its neighbours: homographs by the word before them, "the" by the sound behind it.

Rules that are right far more often than not: what is a verb behind "to" is a noun behind "a". The dictionary has each
word under one sound, the commoner; here is the other. Among words in capitals, "US" is "us".
"""

from loquor.text.phonemes import SPELLED_CAPITALS, VOWELS, Phonemes, dictionary_entry, pronounce

# fmt: off
TO = {
    "to", "will", "would", "can", "could", "should", "shall", "must", "may", "might", "not", "don't", "doesn't",
    "didn't", "won't", "can't", "cannot", "couldn't", "wouldn't", "shouldn't", "let's", "i", "you", "we", "they",
    "who", "i'll", "you'll", "we'll", "they'll", "i'd", "you'd", "we'd", "they'd", "please",
}
A = {
    "a", "an", "the", "this", "my", "your", "his", "her", "its", "our", "their", "no", "any", "some", "every",
    "each", "another", "whose",
}
HAVE = {
    "have", "has", "had", "having", "i've", "you've", "we've", "they've", "he's", "she's", "be", "is", "are",
    "was", "were", "been", "being", "isn't", "wasn't", "weren't", "haven't", "hasn't", "hadn't",
}
ON_AIR = {"be", "is", "are", "was", "were", "we're", "they're", "it's", "go", "goes", "going", "went"}
VERBS = {  # behind one of `TO`
    "abuse": "AH0 B Y UW1 Z", "close": "K L OW1 Z", "conduct": "K AH0 N D AH1 K T", "conflict": "K AH0 N F L IH1 K T",
    "contract": "K AH0 N T R AE1 K T", "desert": "D IH0 Z ER1 T", "duplicate": "D UW1 P L AH0 K EY2 T",
    "estimate": "EH1 S T AH0 M EY2 T", "export": "IH0 K S P AO1 R T", "extract": "IH0 K S T R AE1 K T",
    "graduate": "G R AE1 JH AH0 W EY2 T", "house": "HH AW1 Z", "object": "AH0 B JH EH1 K T",
    "perfect": "P ER0 F EH1 K T", "present": "P R IY0 Z EH1 N T", "progress": "P R AH0 G R EH1 S",
    "project": "P R AH0 JH EH1 K T", "protest": "P R AH0 T EH1 S T", "rebel": "R IH0 B EH1 L",
    "record": "R IH0 K AO1 R D", "separate": "S EH1 P ER0 EY2 T", "subject": "S AH0 B JH EH1 K T",
    "wind": "W AY1 N D",
}
NOUNS = {  # or adjectives, behind one of `A`
    "decrease": "D IY1 K R IY2 S", "discount": "D IH1 S K AW2 N T", "excuse": "IH0 K S K Y UW1 S",
    "import": "IH1 M P AO2 R T", "increase": "IH1 N K R IY2 S", "insult": "IH1 N S AH2 L T", "live": "L AY1 V",
    "lives": "L AY1 V Z", "permit": "P ER1 M IH2 T", "produce": "P R OW1 D UW0 S", "refund": "R IY1 F AH2 N D",
    "suspect": "S AH1 S P EH2 K T", "tear": "T IH1 R", "transfer": "T R AE1 N S F ER0", "update": "AH1 P D EY2 T",
    "use": "Y UW1 S",
}
# fmt: on
OTHERS = {
    (before, word): tuple(phonemes.split())
    for befores, words in ((TO, VERBS), (A, NOUNS), (HAVE, {"read": "R EH1 D"}), (ON_AIR, {"live": "L AY1 V"}))
    for before in befores
    for word, phonemes in words.items()
} | {("", "close"): tuple(VERBS["close"].split())}  # "Close the door."
SPELLED_BEHIND = {"IT", "WHO"}  # one of `A`, or "in": "the IT team", "the WHO"


class ConnectedSpeech:
    """The sounds of the words of one text, in order; remembers the word before."""

    def __init__(self) -> None:
        self.before = ""

    def say(self, word: str) -> Phonemes:
        """Phonemes of the next word."""
        before, self.before = self.before, word
        if word in SPELLED_BEHIND and before.lower() in A | {"in"}:
            return tuple(phoneme for letter in word for phoneme in pronounce(letter))
        if word in SPELLED_CAPITALS and is_shouted(before):
            return pronounce(word.lower())
        return OTHERS.get((before.lower(), word.lower())) or pronounce(word)

    def pause(self) -> None:
        """A mark: the word before it says nothing about the one behind it."""
        self.before = ""


def is_shouted(word: str) -> bool:
    """Whether a word is in capitals for no reason of its own."""
    is_word = word not in SPELLED_CAPITALS and word != "THE" and dictionary_entry(word.lower()) is not None
    return len(word) > 1 and word.isupper() and is_word


def starts_with_vowel(phonemes: Phonemes) -> bool:
    """Whether "the" before it sounds as in "the apple"."""
    return phonemes[0].rstrip("012") in VOWELS
