"""What listens to a model while it speaks: a recogniser, so that a sentence with wrong words can be said again."""

from __future__ import annotations

import logging

from loquor.engine.podcast.health import Ears, Take
from loquor.evaluation.error_rate import compare_texts, language_of_text
from loquor.evaluation.transcriber import Moonshine, Transcriber

logger = logging.getLogger(__name__)

HEARD_LANGUAGE = "en"


def listening_ears(transcriber: Transcriber | None = None) -> Ears:
    """Ears that count misheard words, with Moonshine if no other transcriber is given.

    Moonshine knows English alone: of a text in other letters no word counts as misheard, and a warning says so once.
    Raises MissingExtra, with the line that installs them, where the instruments are absent.
    """
    heard = transcriber or Moonshine()
    compare_texts("ready", "ready")  # MissingExtra now rather than after the first sentence
    told = set[str]()

    def misheard(take: Take) -> tuple[int, int]:
        language = language_of_text(take.text)
        if transcriber is None and language != HEARD_LANGUAGE:
            if language not in told:
                told.add(language)
                logger.warning(
                    "check: words are heard in English only; for %s, silence, loops and length are", language
                )
            return 0, 1
        found = compare_texts(take.text, heard.transcribe(take.waveform, take.sample_rate_hz), language)
        return found.errors, found.tokens

    return Ears(misheard=misheard)
