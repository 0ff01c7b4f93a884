"""Speech that is looked at before it is given away: a sentence that came out badly is said again with another seed.

Models that sample now and then skip a word, repeat one, or do not end. A text is cut at its sentences, each piece is
examined as a take of a podcast is (`podcast.health`), and the best of its attempts is kept. What hears the words is
given by the caller, as `Ears`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from loquor.configs import require_int
from loquor.engine.podcast import health
from loquor.engine.podcast.health import Ears, Finding, Limits
from loquor.engine.podcast.plan import pieces
from loquor.engine.podcast.produce import take_seed
from loquor.engine.request import Chunk
from loquor.engine.speech import Speech
from loquor.text.timing import estimated_s, word_count

logger = logging.getLogger(__name__)

PIECE_S = 8.0  # estimated; a sentence or a few short ones, which a small recogniser hears well
TRIES = 3
LIMITS = Limits(word_share=0.2, words_spare=1.0)  # stricter than of a podcast: a sentence is soon said again
Say = Callable[[str, int], Speech]  # a text and a seed


@dataclass(frozen=True)
class CheckedPiece:
    """The best attempt at a piece of a text."""

    number: int  # from 1
    text: str
    speech: Speech
    seed: int  # it was said with
    attempts: int
    findings: tuple[Finding, ...]  # faults or not

    @property
    def is_sound(self) -> bool:
        return health.worst(self.findings) <= 1

    @property
    def faults(self) -> str:
        """What is wrong with it, in words."""
        return "; ".join(f"{finding.kind}: {finding.detail}" for finding in self.findings if finding.is_fault)

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        findings = [asdict(finding) | {"score": round(finding.score, 3)} for finding in self.findings]
        facts = {"text": self.text, "seconds": round(self.speech.seconds, 3), "seed": self.seed}
        return facts | {"attempts": self.attempts, "is_sound": self.is_sound, "findings": findings}


def say_checked(say: Say, text: str, ears: Ears, tries: int = TRIES, seed: int = 0) -> Iterator[CheckedPiece]:
    """The text piece by piece, each said again up to `tries` times while it has a fault.

    The first attempt has the seed that was asked for, so what is sound at once is what would have been said anyway.
    Tells in a warning what was said again, and what has a fault still. ConfigError unless `tries` is 0 to 100.
    """
    require_int("check", 0, 100, tries=tries)
    for number, piece in enumerate(pieces(text, PIECE_S), 1):
        if not word_count(piece):
            logger.warning("left out %r: it has no word", piece[:40])
            continue
        best = _attempt(say, number, piece, seed, ears)
        attempts = 1
        first = best.faults
        while not best.is_sound and attempts <= tries:
            again = _attempt(say, number, piece, take_seed(seed, number, attempts), ears)
            attempts += 1
            if health.worst(again.findings) < health.worst(best.findings):
                best = again
        kept = CheckedPiece(number, piece, best.speech, best.seed, attempts, best.findings)
        _tell(kept, first)
        yield kept


def _attempt(say: Say, number: int, text: str, seed: int, ears: Ears) -> CheckedPiece:
    said = say(text, seed)
    take = health.Take(said.waveform.numpy(), said.sample_rate_hz, text, said.voice, estimated_s(text), said.finish)
    return CheckedPiece(number, text, said, seed, 1, health.examine(take, LIMITS, ears))


def _tell(piece: CheckedPiece, first: str) -> None:
    if piece.attempts == 1 and piece.is_sound:
        return
    shown = piece.text if len(piece.text) <= 40 else f"{piece.text[:37]}..."
    told = "it is sound now" if piece.is_sound else f"the best attempt still has a fault: {piece.faults}"
    logger.warning("check: said %r %d times, as it was bad at first (%s); %s", shown, piece.attempts, first, told)


def chunks_of(checked: Iterator[CheckedPiece], kept: list[CheckedPiece]) -> Iterator[Chunk]:
    """A chunk for each piece, once it is good; the pieces are put into `kept`."""
    start_s, text_end = 0.0, 0
    for piece in checked:
        kept.append(piece)
        end_s, text_end = start_s + piece.speech.seconds, text_end + len(piece.text) + 1
        yield Chunk(piece.speech.waveform, piece.speech.latents, start_s, end_s, text_end, piece.speech.features)
        start_s = end_s
