"""What `loquor speak --check` is worth: how many sentences are bad at first, and how many still are.

    python benchmarks/self_check.py [SENTENCES.txt] [--model FOLDER] [--tries 3] [--limit N] [--json FILE]

Each sentence is spoken with seed 0, listened to, and said again while it has a fault. The same recogniser chooses and
counts, so the word error rate after is better than another listener's would be: faults found say more. Needs `eval`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import loquor
from loquor.engine.checked import TRIES, CheckedPiece, say_checked
from loquor.engine.podcast.health import Ears, Take
from loquor.engine.speech import Speech
from loquor.evaluation.self_check import listening_ears
from loquor.evaluation.statistics import ratio_interval

SENTENCES = Path(__file__).parent / "sentences.txt"


@dataclass
class Witness:
    """Sees every attempt: seeds, seconds of work, and words misheard."""

    speaker: Any
    ears: Ears = field(default_factory=listening_ears)
    heard: dict[int, tuple[int, int]] = field(default_factory=dict)  # by seed, of the piece in work
    compute_s: float = 0.0
    seed: int = 0

    def say(self, text: str, seed: int) -> Speech:
        said = self.speaker.speak(text, seed=seed)
        self.compute_s, self.seed = self.compute_s + said.compute_s, seed
        return said

    def misheard(self, take: Take) -> tuple[int, int]:
        assert self.ears.misheard is not None
        self.heard[self.seed] = self.ears.misheard(take)
        return self.heard[self.seed]

    def facts(self, piece: CheckedPiece) -> dict[str, Any]:
        """Errors of the first attempt and of the kept one."""
        silent = (len(piece.text.split()), len(piece.text.split()))  # what has no sound is not listened to
        (first, words), (kept, _) = self.heard.get(0, silent), self.heard.get(piece.seed, silent)
        self.heard.clear()
        return {"text": piece.text, "words": words, "first": first, "kept": kept, **_outcome(piece)}


def _outcome(piece: CheckedPiece) -> dict[str, Any]:
    return {"attempts": piece.attempts, "is_sound": piece.is_sound, "seconds": piece.speech.seconds}


def figures(rows: list[dict[str, Any]], compute_s: float) -> dict[str, Any]:
    """Rates with 95 % intervals over pieces."""
    words = [row["words"] for row in rows]
    rates = {name: ratio_interval([row[name] for row in rows], words) for name in ("first", "kept")}
    return {
        "pieces": len(rows),
        "words": sum(words),
        "word error rate": {name: list(map(float, interval)) for name, interval in rates.items()},
        "bad at first": sum(row["attempts"] > 1 for row in rows),
        "bad still": sum(not row["is_sound"] for row in rows),
        "said again": sum(row["attempts"] - 1 for row in rows),
        "real-time factor, attempts counted": compute_s / sum(row["seconds"] for row in rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sentences", type=Path, nargs="?", default=SENTENCES)
    parser.add_argument("--model", help="a model folder; the embedded voice if left out")
    parser.add_argument("--tries", type=int, default=TRIES)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    lines = options.sentences.read_text(encoding="utf-8").splitlines()
    sentences = [line.strip() for line in lines if line.strip()][: options.limit]
    witness, rows = Witness(loquor.load(options.model)), []
    for sentence in sentences:
        for piece in say_checked(witness.say, sentence, Ears(misheard=witness.misheard), options.tries):
            rows.append(witness.facts(piece))
    result = {"tries": options.tries, **figures(rows, witness.compute_s), "rows": rows}
    print(json.dumps({name: value for name, value in result.items() if name != "rows"}, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
