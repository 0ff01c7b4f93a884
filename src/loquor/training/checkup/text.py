"""Texts: what the model's tokenizer reads of them, in how many tokens, and whether examples fit the context."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from loquor.errors import InputError
from loquor.models.longform.model import LongformModel
from loquor.models.longform.prompt import Line, write_prompt
from loquor.text.qwen_tokenizer import QwenTokenizer
from loquor.text.tokenizer import TextTokenizer, load_tokenizer
from loquor.training.checkup.findings import Case, Figure, Finding, counted, some
from loquor.training.dataset.records import Record
from loquor.training.dataset.writing import script_of

UNREAD, LITTLE_UNREAD = 0.05, 0.005  # shares of all letters: wrong, and to be looked at
LATE = 0.1  # share of the items that may end before their text is read
CLOSING = 2  # tokens after the frames of a long-form example


@dataclass(frozen=True)
class Reading:
    """What a tokenizer makes of a text. Letters and digits by their script."""

    ids: tuple[int, ...]
    letters: Counter[str]
    unread: Counter[str]  # that no token comes from
    fault: str = ""  # why it cannot be read at all

    @property
    def unread_share(self) -> float:
        return self.unread.total() / max(self.letters.total(), 1)


def tokenizer_of(case: Case) -> TextTokenizer:
    """That which the training reads with."""
    return QwenTokenizer() if isinstance(case.model, LongformModel) else load_tokenizer(case.folder)


def read(tokenizer: TextTokenizer, text: str) -> Reading:
    letters = Counter(_kind(character) for character in text if character.isalnum())
    try:
        ids = tokenizer.encode(text)
    except InputError as error:
        return Reading((), letters, letters, str(error))
    covered = _covered(tokenizer, text)
    unread = Counter(_kind(c) for c, done in zip(text, covered, strict=True) if c.isalnum() and not done)
    return Reading(tuple(ids), letters, unread)


def _covered(tokenizer: TextTokenizer, text: str) -> bytearray:
    """1 for each character that a token comes from. Without marks, whose tokens would count for the word before."""
    stream, covered = tokenizer.stream(), bytearray(len(text))
    tokens = stream.push("".join(character if character.isalnum() else " " for character in text))
    with suppress(InputError):  # there was nothing but marks
        tokens += stream.end()
    for _, start, end in tokens:
        covered[start:end] = b"\1" * (end - start)
    return covered


def _kind(character: str) -> str:
    return "digits" if character.isdigit() else script_of(character).capitalize()


def texts(case: Case, tokenizer: TextTokenizer, readings: Sequence[Reading]) -> Iterator[Finding]:
    """Letters that the tokenizer passes over: the model would learn to say what it cannot see."""
    records, name = case.data.records, type(tokenizer).__name__
    letters, unread = sum((r.letters for r in readings), Counter()), sum((r.unread for r in readings), Counter())
    share = unread.total() / max(letters.total(), 1)
    figures: dict[str, Figure] = {"unread": round(share, 4), "unreadable": sum(bool(r.fault) for r in readings)}
    figures |= {f"unread {script}": round(count / letters[script], 4) for script, count in unread.most_common()}
    if not unread:
        scripts = ", ".join(script for script, _ in letters.most_common(3))
        yield Finding("text", "ok", f"{name} reads all {letters.total():,} letters ({scripts})", figures=figures)
        return
    worst = sorted((i for i, r in enumerate(readings) if r.unread), key=lambda i: -readings[i].unread_share)
    shares = ", ".join(f"{n / letters[s]:.0%} of {letters[s]:,} {s} letters" for s, n in unread.most_common(3))
    shares = shares.replace("digits letters", "digits")
    example = f"{records[worst[0]].id} {records[worst[0]].text[:40]!r}"
    detail = f"{name} does not read {shares}, in {counted(len(worst), 'item')} of {len(records)}, such as {example}"
    advice = "normalise or transliterate (data prepare --language), drop them, or take a model that reads the script"
    is_wrong = share > UNREAD or bool(figures["unreadable"])
    ids = tuple(records[i].id for i in worst)
    yield Finding(
        "text", "fail" if is_wrong else "warn" if share > LITTLE_UNREAD else "ok", detail, advice, figures, ids
    )


def tokens(case: Case, readings: Sequence[Reading]) -> Iterator[Finding]:
    """How finely texts are cut, and whether a Realtime model has read them when it has said them."""
    characters = sum(len(record.text) for record in case.data.records)
    per_character = sum(len(r.ids) for r in readings) / max(characters, 1)
    rows, most = len(case.model.embedding.weight), max((max(r.ids, default=0) for r in readings), default=0)
    detail = f"{per_character:.2f} a character"
    figures: dict[str, Figure] = {"per_character": round(per_character, 3), "highest": most, "embeddings": rows}
    if most >= rows:
        advice = "the tokenizer belongs to another model: is this one's tokenizer.json missing?"
        yield Finding("tokens", "fail", f"token {most}, and the model has {rows} embeddings", advice, figures)
        return
    late = _late(case, readings)
    if late is None:
        yield Finding("tokens", "ok", detail, figures=figures)
        return
    config, total = case.model.config, len(readings)
    detail += f"; {config.text_window} are read every {config.speech_window} frames"
    figures["late"] = len(late)
    if len(late) > LATE * total:
        detail += f", and {len(late)} of {total} items are said before they are read: {some(late)}"
        advice = "the model must guess what it has not read: texts in fewer tokens, or slower speech"
        yield Finding("tokens", "warn", detail, advice, figures, tuple(late))
    else:
        yield Finding("tokens", "ok", f"{detail}, in time for {total - len(late)} of {total} items", figures=figures)


def _late(case: Case, readings: Sequence[Reading]) -> list[str] | None:
    """Items whose last frame comes before their last window of text; None where all text is read first."""
    if isinstance(case.model, LongformModel):
        return None
    config, late = case.model.config, list[str]()
    for record, reading in zip(case.data.records, readings, strict=True):
        windows = -(-len(reading.ids) // config.text_window)
        if (windows - 1) * config.speech_window >= record.frames:
            late.append(record.id)
    return late


def room(case: Case, tokenizer: TextTokenizer, readings: Sequence[Reading], prompt: int) -> Iterator[Finding]:
    """Examples longer than the context stop a training, whenever they come. `prompt`: positions of the voice."""
    records, config = case.data.records, case.model.config
    if isinstance(case.model, LongformModel):
        context, needed = config.context, [_script_positions(tokenizer, record) for record in records]
    else:
        context = config.speech.max_position_embeddings
        needed = [prompt + len(r.ids) + record.frames for record, r in zip(records, readings, strict=True)]
    longest = max(range(len(needed)), key=needed.__getitem__)
    figures: dict[str, Figure] = {"longest": needed[longest], "context": context, "prompt": prompt}
    detail = f"{records[longest].id} is the longest: {needed[longest]:,} of {context:,} positions"
    over = [record.id for record, n in zip(records, needed, strict=True) if n > context]
    if over:
        detail = f"{counted(len(over), 'item')} of {len(records)} longer than the context; {detail}"
        advice = "the training would stop at the first: loquor data prepare --longest with fewer seconds"
        yield Finding("context", "fail", detail, advice, {**figures, "over": len(over)}, tuple(over))
    else:
        yield Finding("context", "ok", detail, figures=figures)


def _script_positions(tokenizer: Any, record: Record) -> int:
    """Prompt, frames and end of a long-form example."""
    lines = [Line(voice, text) for voice, text in record.lines]
    return len(write_prompt(tokenizer, lines, [rows for _, rows in record.voices])) + record.frames + CLOSING
