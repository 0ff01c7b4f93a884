"""Whether ten minutes read from a file stay as good as the first: word error rate and similarity, minute by minute.

    python benchmarks/long_text.py [STORY.txt] [--model FOLDER] [--voice NAME] [--json FILE]

The text is spoken in one go. The sound is cut where nobody speaks and written down piece by piece; what was heard is
aligned with the whole text, and a word counts for the minute in which it, or what stands for it, was heard. Similarity
(GE2E) is that of a minute to the first one, beside that of two halves of the first. Needs `eval`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import loquor
from loquor.audio.resample import Waveform
from loquor.engine.speech import Speech
from loquor.evaluation.error_rate import compare_texts, tokens_of
from loquor.evaluation.long_recordings import MARGIN_S, pieces
from loquor.evaluation.similarity import SpeakerEncoder, similarity
from loquor.evaluation.transcriber import Moonshine
from loquor.evaluation.voice_activity import VoiceActivityDetector

STORY = Path(__file__).parent / "story.txt"
MINUTE_S = 60.0
SHORTEST_S = 20.0  # a last minute that is shorter counts as part of the one before


def by_minute(speech: Speech) -> list[dict[str, Any]]:
    """Words, errors and similarity of each minute."""
    sound, rate = speech.waveform.numpy(), speech.sample_rate_hz
    minutes = max(1, int((speech.seconds - SHORTEST_S) // MINUTE_S) + 1)
    words, errors = np.zeros(minutes, int), np.zeros(minutes, int)
    heard = list(_heard(sound, rate))
    times = [time for text, time in heard for _ in tokens_of(text, "en")]
    at = 0
    for said, token in compare_texts(speech.text, " ".join(text for text, _ in heard)).pairs:
        minute = min(minutes - 1, int(times[min(at, len(times) - 1)] // MINUTE_S))
        words[minute] += said is not None
        errors[minute] += said != token
        at += token is not None
    encoder, length = SpeakerEncoder(), round(MINUTE_S * rate)
    voices = [encoder.embed(sound[i * length : (i + 1) * length], rate) for i in range(minutes)]
    halves = [encoder.embed(part, rate) for part in np.array_split(sound[:length], 2)]
    alike = [similarity(*halves), *(similarity(voices[0], other) for other in voices[1:])]
    return [
        {"words": int(w), "errors": int(e), "wer": e / max(w, 1), "similarity": float(s)}
        for w, e, s in zip(words, errors, alike, strict=True)
    ]


def _heard(sound: Waveform, rate: int) -> Iterator[tuple[str, float]]:
    """What is heard between two pauses, and when its middle is, in seconds."""
    listener = Moonshine()
    for piece in pieces(VoiceActivityDetector().listen(sound, rate).stretches, longest_s=10.0):
        start, end = max(0.0, piece.start_s - MARGIN_S), piece.end_s + MARGIN_S
        text = listener.transcribe(sound[round(start * rate) : round(end * rate)], rate)
        yield text, (start + end) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("story", type=Path, nargs="?", default=STORY)
    parser.add_argument("--model", help="a model folder; the embedded voice if left out")
    parser.add_argument("--voice", default="default")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    speech = loquor.load(asked.model).speak(asked.story.read_text(encoding="utf-8"), asked.voice)
    minutes = by_minute(speech)
    facts = {"voice": speech.voice, "seconds": speech.seconds, "finish": speech.finish, "rtf": speech.rtf}
    for number, minute in enumerate(minutes, 1):
        print(f"minute {number:2}: WER {minute['wer']:6.1%}, similarity {minute['similarity']:.3f}")
    if asked.json:
        facts = {"voice": speech.voice, "seconds": speech.seconds, "finish": speech.finish, "rtf": speech.rtf}
        asked.json.write_text(json.dumps({**facts, "minutes": minutes}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
