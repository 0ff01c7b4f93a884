"""Words on the screen as they are heard: a text that is told while it still comes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from loquor.cli.player import Player
from loquor.engine.request import Chunk
from loquor.engine.word_times import WordTimes

TICK_S = 0.05  # between two looks at the loudspeaker


class Telling:
    """What was pushed, said and heard of one text. Text is taken in a thread of its own, chunks in another."""

    def __init__(self, sample_rate_hz: int, show: Callable[[str], None]) -> None:
        self.player: Player | None = None  # without one, all that was made counts as heard
        self._times, self._show = WordTimes(sample_rate_hz), show
        self._shown = 0  # characters
        self._lock = threading.Lock()

    @property
    def text(self) -> str:
        """All there is so far."""
        return self._times.text

    @property
    def seconds(self) -> float:
        """Of speech made."""
        return self._times.end_s

    @property
    def heard(self) -> str:
        """The text up to the last word that was heard."""
        with self._lock:
            until = self._times.heard_until(self.player.played_s if self.player else self._times.end_s)
            return self.text[:until]

    def noted(self, pieces: Iterable[str]) -> Iterator[str]:
        """The same pieces, known here from then on."""
        for piece in pieces:
            with self._lock:
                self._times.push(piece)
            yield piece

    def hear(self, chunk: Chunk) -> None:
        with self._lock:
            self._times.hear(chunk)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Show words as they are heard; where the block ends by itself, all of the text."""
        is_over = threading.Event()

        def follow() -> None:
            while not is_over.wait(TICK_S):
                self._show_to(self.heard)

        thread = threading.Thread(target=follow, name="loquor-captions", daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
            self._show_to(self.heard)
        self._show_to(self.text)

    def _show_to(self, text: str) -> None:
        if len(text) > self._shown:
            self._show(text[self._shown :])
            self._shown = len(text)
