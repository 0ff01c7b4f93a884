"""Conversations on disk whose recordings are told by their names, and a feed of them."""

from __future__ import annotations

import json
from pathlib import Path

from loquor.errors import AudioError
from loquor.models.vita.vocabulary import AudioTokens, Vocabulary
from loquor.training.vita.feed import Ears, Feed, FeedOptions
from loquor.training.vita.mixture import Mixture, Share

VOCABULARY = Vocabulary(AudioTokens("toy", 12))


def codes_by_name(recording: Path) -> list[int]:
    """ "3.wav" is three codes; "gone.wav" cannot be read."""
    if recording.stem == "gone":
        raise AudioError(f"{recording} does not exist")
    return [i % 12 for i in range(int(recording.stem))]


def write(folder: Path, name: str, recordings: list[str]) -> Path:
    """A file of spoken questions with answers in text; a recording "" is a line that is no JSON."""
    lines = []
    for i, recording in enumerate(recordings):
        messages = [{"role": "user", "content": "<|audio|>"}, {"role": "assistant", "content": f"{name} {i}"}]
        lines.append(json.dumps({"messages": messages, "audios": [recording]}) if recording else "{")
    path = folder / f"{name}.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def feed_of(paths: list[Path], length: int = 96, part: tuple[int, int] = (0, 1), tolerated: float = 0.05) -> Feed:
    mixture = Mixture([Share(path) for path in paths], seed=3)
    return Feed(mixture, VOCABULARY, Ears(codes_by_name), FeedOptions(length, tolerated=tolerated), part)
