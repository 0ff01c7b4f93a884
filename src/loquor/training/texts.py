"""The texts a voice is trained on: WordNet's examples, a public-domain book, and everyday sentences of our own.

Only words of the pronouncing dictionary, numbers in words, plain punctuation, so that any teacher reads them as we do.
WordNet 3.0 (Princeton) is free to redistribute; its examples stand in double quotes in the `data.*` files (wndb(5WN)).
"""

import os
import random
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sentencex import segment

from loquor.errors import InputError
from loquor.training.sentences import everyday_sentences

ALLOWED = re.compile(r"[A-Za-z][A-Za-z .,?!';:]*[.?!]")
SHARES = {"book": 0.20, "wordnet": 0.35}  # at most; the everyday sentences make up the rest
WORDS = range(3, 31)  # length of a found sentence
COMMON_COUNT = 25  # times a word occurs in WordNet's glosses and the book before it counts as common
SHARED_WORDS = 5  # consecutive words that make a text too much like a held-out one
PUNCTUATION = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "`": "'", "—": ", ", "_": "", '"': ""})


@dataclass(frozen=True)
class Sources:
    """Where the words come from; a file that is None is left out."""

    wordnet: Path | None  # folder with data.noun, data.verb, data.adj, data.adv
    dictionary: Path | None  # the CMU dictionary, as festival (`("word" ...`) or npm (`"word": ...`) packs it
    book: Path | None = None  # plain text in the public domain
    held_out: Path | None = None  # sentences for tests, one a line, to stay away from

    @classmethod
    def installed(cls) -> "Sources":
        """What Debian's wordnet-base and festlex-cmu have installed, in the data folders of XDG_DATA_DIRS."""

        def found(name: str) -> Path | None:
            folders = os.environ.get("XDG_DATA_DIRS", "/usr/local/share:/usr/share").split(":")
            return next((Path(f, name) for f in folders if Path(f, name).exists()), None)

        return cls(found("wordnet"), found("festival/dicts/cmu/cmudict-0.4.out"))


def corpus_texts(sources: Sources, count: int, seed: int) -> list[str]:
    """`count` different texts in random order, the same for the same sources and seed.

    Raises InputError without a dictionary.
    """
    if sources.dictionary is None:
        raise InputError(
            "no pronouncing dictionary to check the words by", hint="apt install festlex-cmu, or name a file"
        )
    known = dictionary_words(sources.dictionary)
    glosses = wordnet_glosses(sources.wordnet) if sources.wordnet else []
    book = book_text(sources.book) if sources.book else ""
    counts = Counter(w for text in [*glosses, book] for w in words(text))
    common = {word for word, times in counts.items() if times >= COMMON_COUNT}
    tests = sources.held_out.read_text(encoding="utf-8").splitlines() if sources.held_out else []
    wanted = Filter(known, tests)
    rng = random.Random(seed)
    texts: dict[str, None] = {}
    examples = [tidy(e) for gloss in glosses for e in re.findall(r'"([^"]+)"', gloss)]
    found = {"book": book_sentences(book), "wordnet": [e for e in examples if rare(e, common) <= len(e) // 60]}
    for kind, sentences in found.items():
        usable = sorted({s for s in sentences if len(s.split()) in WORDS and wanted(s)} - texts.keys())
        texts |= dict.fromkeys(rng.sample(usable, min(len(usable), round(count * SHARES[kind]))))
    everyday = (s for s in everyday_sentences(seed) if s not in texts and wanted(s))
    texts |= dict.fromkeys(islice(everyday, count - len(texts)))
    shuffled = list(texts)
    rng.shuffle(shuffled)
    return shuffled


class Filter:
    """Which texts may be spoken: plain signs, known words, and nothing close to a held-out sentence."""

    def __init__(self, known: set[str], held_out: Iterable[str]) -> None:
        self.known = known
        held_out = list(held_out)
        self.whole = {tuple(words(text)) for text in held_out}
        self.parts = {run for text in held_out for run in runs(text)}

    def __call__(self, text: str) -> bool:
        if not ALLOWED.fullmatch(text) or re.search(r"[A-Z]{2}|\b[B-HJ-Z]\b|\b(Mr|Mrs|Dr|St|etc|vs)\b", text):
            return False  # abbreviations and letters are read differently by everyone
        spoken = words(text)
        return (
            all(w in self.known for w in spoken)
            and tuple(spoken) not in self.whole
            and self.parts.isdisjoint(runs(text))
        )


def rare(text: str, common: set[str]) -> int:
    """How many words of a text are not common."""
    return sum(word not in common for word in words(text))


def words(text: str) -> list[str]:
    """Lower-case words without punctuation; an apostrophe inside a word belongs to it."""
    return re.findall(r"[a-z]+(?:'[a-z]+)*", text.lower())


def runs(text: str) -> Iterator[tuple[str, ...]]:
    """Every SHARED_WORDS consecutive words of a text."""
    spoken = words(text)
    return (tuple(spoken[i : i + SHARED_WORDS]) for i in range(len(spoken) - SHARED_WORDS + 1))


def split_of(text: str) -> str:
    """`valid` for one text in a hundred, else `train`; by the text alone, so it never changes sides."""
    return "valid" if zlib.crc32(text.encode()) % 100 == 0 else "train"


def tidy(text: str) -> str:
    """A found sentence with plain punctuation, a capital first and an end mark last; brackets and digits stay."""
    text = re.sub(r"-{2,}", ", ", text.translate(PUNCTUATION))
    text = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", text)
    text = re.sub(r"(?<![a-z])'|'(?![a-z])", "", text)  # single quotes around speech
    text = re.sub(r"\s+([,.?!;:])", r"\1", " ".join(text.split()))
    text = re.sub(r"[,;:]+(?=[,.?!;:])", "", text).strip(" ,;:")
    if text and text[-1] not in ".?!":
        text += "."
    return text[:1].upper() + text[1:]


def dictionary_words(path: Path) -> set[str]:
    """The words a dictionary file lists, lower case."""
    return set(re.findall(r"""^\s*\(?"?([a-z][a-z']*)"?[ :]""", path.read_text(encoding="utf-8").lower(), re.MULTILINE))


def wordnet_glosses(folder: Path) -> list[str]:
    """Definition and examples of every synset: what follows the bar in each line of data.*."""
    files = (folder / f"data.{part}" for part in ("noun", "verb", "adj", "adv"))
    lines = (line for file in files for line in file.read_text(encoding="utf-8").splitlines())
    return [line.split("|", 1)[1] for line in lines if not line.startswith("  ") and "|" in line]


def book_text(path: Path) -> str:
    """A book without Project Gutenberg's preface and licence, if it has them."""
    text = path.read_text(encoding="utf-8-sig")
    if inside := re.search(r"\*\*\* ?START OF.*?\*\*\*\n(.*?)\n\*\*\* ?END OF", text, re.DOTALL):
        return inside[1]
    return text


def book_sentences(text: str) -> list[str]:
    """A text's sentences, one by one."""
    if not text:
        return []
    return [tidy(sentence) for sentence in segment("en", " ".join(text.split()))]
