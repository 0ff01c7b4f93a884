"""A text script line by line: tags, words, directives and comments.

    # a comment, as is a line that begins with //
    [chapter: Welcome]
    Speaker 1: Hello. [pause 300ms] Are you there?
    This line goes on with what Speaker 1 says.
    [pause 1.5s]
    Speaker 2: I am.

Which labels are tags is told in `script_tags`. Lines without a tag go on with the turn before them, blank lines mean
nothing; in a script without any tag all is said by Speaker 1, and blank lines part its turns. Square brackets always
hold a directive, wherever they stand: an unknown one is an error rather than spoken, because "[laughs]" in the middle
of an episode is neither laughed nor meant to be read aloud. `[pause]` alone lasts half a second.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from loquor.text.script_tags import SourceLine, Tags
from loquor.text.timing import joined
from loquor.text.turns import LINE_BREAK, Names, Source, Turn

ONLY_SPEAKER = "Speaker 1"
COMMENTS = ("#", "//")
BRACKETS = re.compile(r"\[([^\[\]]*)\]")
PAUSE = re.compile(r"pause\s*:?\s*(\d+(?:\.\d+)?|\.\d+)\s*(ms|s)", re.IGNORECASE)
CHAPTER = re.compile(r"chapter(?:\s*[:：]\s*|\s+)(\S.*)", re.IGNORECASE)
DEFAULT_PAUSE_S, MAX_PAUSE_S = 0.5, 60.0
RUN_ON_S = 1.0  # a sentence goes on in the next cue if no more than this lies between
SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’)\]»」』]*$")


class TurnBuilder:
    """Collects what a script says into turns."""

    def __init__(self, source: Source, speaker: str | None = None, first_tag: str = "") -> None:
        self.source, self.speaker, self.first_tag = source, speaker, first_tag
        self.turns: list[Turn] = []
        self._silent: int | None = None  # line of a tag whose speaker has said nothing yet
        self._said: list[SourceLine] = []  # of the turn that is open
        self._waiting: int | None = None  # line of a pause or chapter that waits for a turn
        self._pause_s = 0.0
        self._chapter: str | None = None

    def begin(self, speaker: str, line: SourceLine) -> None:
        """A tag; in subtitles the same speaker's sentence may go on behind it."""
        self._require_words()
        if speaker != self.speaker or line.span is None:
            self.close()
        self.speaker, self._silent = speaker, line.number

    def say(self, words: str, line: SourceLine) -> None:
        """Words for the open turn; those that show nothing count as none."""
        if not any(character.isprintable() and not character.isspace() for character in words):
            return
        if self.speaker is None:
            hint = "begin it with a tag"
            if line.span is None:
                hint += f"; if {self.first_tag} is no tag, read the script in format plain"
            raise self.source.fault(line.number, f"nobody says {_short(words)}: no tag stands before it", hint)
        if self._said and not self._goes_on(line):
            self.close()
        self._said.append(SourceLine(line.number, words.strip(), line.span))
        self._silent = None

    def pause(self, seconds: float, line: SourceLine) -> None:
        self.close()
        self._pause_s, self._waiting = self._pause_s + seconds, line.number

    def chapter(self, title: str, line: SourceLine) -> None:
        self.close()
        if self._chapter is not None:
            hint = "give it a turn, or take its mark out"
            raise self.source.fault(line.number, f"the chapter {self._chapter!r} before this one is empty", hint)
        self._chapter, self._waiting = title, line.number

    def close(self) -> None:
        """The end of a turn, if one is open."""
        if not self._said or self.speaker is None:
            return
        first, last, text = self._said[0], self._said[-1], joined([line.text for line in self._said])
        start_s, end_s = (first.span[0], last.span[1]) if first.span and last.span else (None, None)
        self.turns.append(Turn(self.speaker, text, first.number, self._pause_s, self._chapter, start_s, end_s))
        self._said, self._waiting, self._pause_s, self._chapter = [], None, 0.0, None

    def end(self) -> tuple[Turn, ...]:
        """All turns. ScriptError if a tag, a pause or a chapter has nothing behind it."""
        self._require_words()
        self.close()
        if self._waiting is not None:
            raise self.source.fault(self._waiting, "nothing is said after this mark", hint="take it out")
        return tuple(self.turns)

    def _goes_on(self, line: SourceLine) -> bool:
        last = self._said[-1]
        if not last.span or not line.span or last.span == line.span:
            return True
        return not SENTENCE_END.search(last.text[-20:]) and line.span[0] - last.span[1] <= RUN_ON_S

    def _require_words(self) -> None:
        if self._silent is not None:
            hint = "write the words after the colon, or take the line out"
            raise self.source.fault(self._silent, f"{self.speaker} says nothing", hint)


def read_tagged(text: str, source: str, cast_names: Sequence[str]) -> tuple[Turn, ...]:
    """The turns of a text script."""
    lines = [SourceLine(number, line.strip()) for number, line in enumerate(LINE_BREAK.split(text), 1)]
    return read_lines([line for line in lines if not line.text.startswith(COMMENTS)], Source(source), cast_names)


def read_paragraphs(text: str) -> tuple[Turn, ...]:
    """The paragraphs of a text as turns of one speaker, whatever they hold."""
    builder = TurnBuilder(Source(""), ONLY_SPEAKER)
    for number, line in enumerate(LINE_BREAK.split(text), 1):
        if not line.strip():
            builder.close()
        builder.say(line, SourceLine(number, line))
    return builder.end()


def read_lines(lines: Sequence[SourceLine], source: Source, cast_names: Sequence[str]) -> tuple[Turn, ...]:
    """The turns of stripped lines without comments."""
    tags = Tags(lines, source, Names(cast_names))
    said = [(line, *tags.split(line)) for line in lines]
    first_tag = next((f"{name} in line {line.number}" for line, name, _ in said if name), "")
    builder = TurnBuilder(source, None if first_tag else ONLY_SPEAKER, first_tag)
    for line, name, words in said:
        if name:
            builder.begin(name, line)
        elif not line.text and not first_tag:
            builder.close()
        read_words(builder, words, line)
    return builder.end()


def read_words(builder: TurnBuilder, words: str, line: SourceLine) -> None:
    """Words and the directives among them."""
    place = 0
    for found in BRACKETS.finditer(words):
        _read_plain(builder, words[place : found.start()], line)
        _read_directive(builder, found[1].strip(), line, is_alone=found[0] == line.text)
        place = found.end()
    _read_plain(builder, words[place:], line)


def _read_plain(builder: TurnBuilder, words: str, line: SourceLine) -> None:
    if "[" in words or "]" in words:
        hint = "square brackets hold directives; write words to be spoken without them"
        raise builder.source.fault(line.number, f"a square bracket in {_short(words)} has no partner", hint)
    builder.say(words, line)


def _read_directive(builder: TurnBuilder, directive: str, line: SourceLine, is_alone: bool) -> None:
    chapter, pause = CHAPTER.fullmatch(directive), PAUSE.fullmatch(directive)
    if chapter and is_alone:
        builder.chapter(chapter[1], line)
    elif chapter:
        hint = f"write [{directive}] between the lines"
        raise builder.source.fault(line.number, "a chapter's mark needs a line of its own", hint)
    elif pause or directive.lower() == "pause":
        seconds = float(pause[1]) / (1000 if pause[2].lower() == "ms" else 1) if pause else DEFAULT_PAUSE_S
        if seconds > MAX_PAUSE_S:
            raise builder.source.fault(line.number, f"[{directive}] is too long", hint=f"{MAX_PAUSE_S:g} s at most")
        builder.pause(seconds, line)
    else:
        hint = (
            "there are [pause 1.5s] or [pause 300ms], and [chapter: Title]; write words to be spoken without brackets"
        )
        raise builder.source.fault(line.number, f"[{directive}] is no directive", hint)


def _short(words: str) -> str:
    return repr(words if len(words) <= 40 else f"{words[:37]}...")
