"""Everyday sentences of our own making, drawn from the template grammar of a language: `sentences.en.txt` and so on.

A slot grammar in the manner of the Harvard and matrix sentence tests: small, ours to give away, and without an end
of new sentences, so a test list is easily kept out of training. The English file tells the format.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

FORMS = ("do", "does", "did", "doing", "done")
LONGEST_WORDS = 20  # of one sentence; spoken in about 6 s
SHARE_JOINED = 0.12  # of the items: two or three short sentences said in one go


@dataclass(frozen=True)
class Grammar:
    """Slots and their fillings, verb phrases, and frames by kind with the share each kind should have."""

    slots: dict[str, list[str]]
    actions: list[tuple[dict[str, str], list[str]]]  # forms of a verb, and what may follow it
    frames: dict[str, list[str]]
    shares: dict[str, float]

    def expand(self, frame: str, rng: random.Random) -> str:
        """A frame with every slot filled at random, to any depth."""

        def fill(match: re.Match[str]) -> str:
            slot = match[1]
            if slot in FORMS:
                forms, objects = rng.choice(self.actions)
                return self.expand(f"{forms[slot]} {rng.choice(objects)}", rng)
            return self.expand(rng.choice(self.slots[slot]), rng)

        return re.sub(r"\{(\w+)\}", fill, frame)

    def sentence(self, kind: str, rng: random.Random) -> str:
        """One sentence of a kind, as it is written: capital, article and end mark in place."""
        text = self.expand(rng.choice(self.frames[kind]), rng)
        text = re.sub(r"\b([Aa]) (?=[aeiou](?!niversity))", r"\1n ", text)
        return text[0].upper() + text[1:]


@cache
def grammar(language: str = "en") -> Grammar:
    """The grammar of a language that has one, read once."""
    slots: dict[str, list[str]] = {}
    actions: list[tuple[dict[str, str], list[str]]] = []
    frames: dict[str, list[str]] = {}
    shares: dict[str, float] = {}
    section: list[str] = []
    for line in files(__package__).joinpath(f"sentences.{language}.txt").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if heading := re.fullmatch(r"\[say\.(\w+) (\d+)\]", line):
            shares[heading[1]] = float(heading[2])
            section = frames.setdefault(heading[1], [])
        elif line.startswith("["):
            section = slots.setdefault(line.strip("[]"), [])
        elif section is slots.get("action"):
            verbs, objects = line.split(": ", 1)
            actions.append((dict(zip(FORMS, verbs.split(), strict=True)), objects.split(" | ")))
        else:
            section += line.split(" | ")
    return Grammar(slots, actions, frames, shares)


def everyday_sentences(seed: int, language: str = "en") -> Iterator[str]:
    """Sentences without end, all different, the same for the same seed."""
    rng, grammar_ = random.Random(seed), grammar(language)
    kinds, weights = list(grammar_.shares), list(grammar_.shares.values())
    seen: set[str] = set()

    def draw() -> str:
        return grammar_.sentence(rng.choices(kinds, weights)[0], rng)

    while True:
        text = draw()
        if rng.random() < SHARE_JOINED:
            text = " ".join([text, *(draw() for _ in range(rng.choice((1, 1, 2))))])
        if text not in seen and len(text.split()) <= LONGEST_WORDS:
            seen.add(text)
            yield text
