"""The times of characters, as ElevenLabs tells them beside each piece of sound."""

from __future__ import annotations

from typing import Any

from loquor.engine.word_times import TimedWord


class Alignment:
    """Tells every character of a text once, in order: those of a word share its time, what stands between has none.

    Times are those known when a word begins; the format has no way to better them later.
    """

    def __init__(self) -> None:
        self._reached, self._end_s = 0, 0.0  # of what has been told

    def of(self, text: str, words: list[TimedWord], start_s: float) -> dict[str, Any] | None:
        """The characters up to the end of the words that begin in a piece of sound, relative to its start."""
        times: list[tuple[str, float, float]] = []
        for word in words:
            times += [(mark, word.start_s, 0.0) for mark in text[self._reached : word.start]]
            each_s = (word.end_s - word.start_s) / len(word.text)
            times += [(letter, word.start_s + i * each_s, each_s) for i, letter in enumerate(word.text)]
            self._reached, self._end_s = word.end, word.end_s
        return _as_json(times, start_s)

    def rest(self, text: str, start_s: float) -> dict[str, Any] | None:
        """The characters after the last word."""
        times = [(mark, self._end_s, 0.0) for mark in text[self._reached :]]
        self._reached = len(text)
        return _as_json(times, start_s)


def _as_json(times: list[tuple[str, float, float]], start_s: float) -> dict[str, Any] | None:
    if not times:
        return None
    return {
        "chars": [character for character, _, _ in times],
        "charStartTimesMs": [max(0, round(1000 * (start - start_s))) for _, start, _ in times],
        "charDurationsMs": [round(1000 * duration) for _, _, duration in times],
    }
