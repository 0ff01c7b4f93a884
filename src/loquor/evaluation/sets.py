"""Test sets: what a system is asked, in the layouts that published sets come in.

- seed-tts-eval, a `.lst` of `id|prompt text|prompt wav|text`, perhaps `|wav` of the same words (Anastassiou et al.,
  arXiv:2406.02430); lines of three are `id|text|prompt wav`, of two `id|text`
- LibriSpeech (`*.trans.txt` beside flac) and LibriTTS (`*.normalized.txt` beside wav), as downloaded
- pairs: a folder of recordings with a `.txt` beside each
- VITA-Audio's conversations, `{"messages": [...], "audios": [...]}`, whose wording tells the task
- the Kimi-Audio evaluation toolkit's rows, `{"index", "audio_path", "question", "answer"}`
- a plain text list, one sentence a line

Paths are meant from where the list lies.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

from loquor.errors import InputError
from loquor.evaluation.error_rate import language_of_text
from loquor.models.vita.prompt import SPEAK, TRANSCRIBE

Task = Literal["speak", "transcribe", "answer"]
TASKS: tuple[Task, ...] = get_args(Task)
AUDIO = "<|audio|>"  # where a recording stands in a conversation's text
WRITTEN = (".normalized.txt", ".txt")  # beside a recording
SOUNDS = {".wav", ".flac", ".mp3", ".ogg", ".opus"}
TRANSCRIBING = ("transcri", "转写", "转录", "识别")  # in what Kimi's sets ask when they mean recognition


@dataclass(frozen=True)
class Item:
    """One thing to be done, and what is right."""

    id: str
    task: Task
    text: str  # to be said, or what `heard` says; to answer, what is asked in writing, if anything
    language: str = "en"
    prompt: Path | None = None  # a recording of the voice to speak in
    reference: Path | None = None  # a recording of the same words by somebody else
    heard: Path | None = None  # what is to be transcribed or answered
    answers: tuple[str, ...] = ()  # each of which is right

    def __post_init__(self) -> None:
        if self.task == "speak" and not self.text.strip():
            raise InputError(f"item {self.id} has no text to say")
        if self.task != "speak" and self.heard is None:
            raise InputError(f"item {self.id} has no recording to {self.task}")


def read_set(path: Path, language: str = "", task: Task | None = None, limit: int | None = None) -> tuple[Item, ...]:
    """The items of a set, the first `limit` of them, in the order they stand in.

    Without `language`, letters tell each item's. `task` replaces what the layout suggests, where it leaves a choice:
    LibriSpeech, LibriTTS and pairs are spoken unless they are to be transcribed. InputError if nothing can be read.
    """
    try:
        found = tuple(islice(_items(path, task), limit))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text", hint="convert it first") from error
    if not found:
        raise InputError(f"{path} holds nothing to evaluate", hint="`loquor eval --help` lists the layouts")
    items = tuple(replace(item, language=language or language_of_text(item.text)) for item in found)
    ids = {item.id for item in items}
    if len(ids) < len(items):
        raise InputError(f"{path} has an id twice", hint="recordings and scores are kept by id")
    return items


def _items(path: Path, task: Task | None) -> Iterator[Item]:
    if path.is_dir():
        return _recordings(path, task or "speak")
    readers: dict[str, Callable[[Path, Task | None], Iterator[Item]]] = {
        ".lst": _seed_tts,
        ".jsonl": _rows,
        ".json": _rows,
    }
    return readers.get(path.suffix.lower(), _lines)(path, task)


def _lines(path: Path, task: Task | None) -> Iterator[Item]:
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if line.strip():
            yield Item(f"{number:04}", "speak", line.strip())


def _seed_tts(path: Path, task: Task | None) -> Iterator[Item]:
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        match line.strip().split("|"):
            case [""]:
                continue
            case [name, text]:
                yield Item(name, "speak", text)
            case [name, text, prompt]:
                yield Item(name.removesuffix(".wav"), "speak", text, prompt=path.parent / prompt)
            case [name, _, prompt, text]:
                yield Item(name, "speak", text, prompt=path.parent / prompt)
            case [name, _, prompt, text, spoken]:
                yield Item(name, "speak", text, prompt=path.parent / prompt, reference=path.parent / spoken)
            case parts:
                raise InputError(f"{path}:{number} has {len(parts)} parts between |, not 2 to 5")


def _recordings(folder: Path, task: Task) -> Iterator[Item]:
    """LibriSpeech, LibriTTS and pairs: recordings whose texts stand beside them."""
    for path in sorted(folder.rglob("*.trans.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, text = line.partition(" ")
            yield _recorded(name, text, path.parent / f"{name}.flac", task)
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in SOUNDS):
        written = next((w for end in WRITTEN if (w := path.with_suffix(end)).is_file()), None)
        if written:
            name = "_".join(path.relative_to(folder).with_suffix("").parts)
            yield _recorded(name, written.read_text(encoding="utf-8").strip(), path, task)


def _recorded(name: str, text: str, path: Path, task: Task) -> Item:
    if task == "speak":
        return Item(name, task, text, reference=path)
    return Item(name, task, text, heard=path)


def _rows(path: Path, task: Task | None) -> Iterator[Item]:
    for number, row in enumerate(_json_rows(path), start=1):
        try:
            if "messages" in row or "conversations" in row:
                yield _conversation(row, path.parent, f"{number:04}")
            else:
                yield _kimi_row(row, path.parent, task)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            hint = "a row has messages and audios, or index, audio_path, question and answer"
            raise InputError(f"{path}: row {number} cannot be read: {type(error).__name__} {error}", hint) from None


def _json_rows(path: Path) -> list[Mapping[str, Any]]:
    """A JSON list, or JSON objects line by line, whatever the suffix."""
    text = path.read_text(encoding="utf-8-sig")
    try:
        if text.lstrip().startswith("["):
            return json.loads(text)  # type: ignore[no-any-return]
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}") from error


def _conversation(row: Mapping[str, Any], folder: Path, name: str) -> Item:
    """VITA's: recordings are consumed in the order of their marks, and the last message is what is right."""
    audios = iter(row.get("audios") or ())
    sounds: dict[str, Path] = {}
    texts: dict[str, str] = {}
    messages = row.get("messages") or row["conversations"]
    for message in messages:
        role = {"human": "user", "gpt": "assistant"}.get(message["role"], message["role"])
        content = message["content"]
        texts[role] = content if isinstance(content, str) else ""
        for _ in range(texts[role].count(AUDIO)):
            sounds[role] = folder / next(audios, None)  # type: ignore[operator]  # too few: told as a faulty row
    right = messages[-1]["content"]
    asked = texts.get("user", "")
    if asked.startswith(SPEAK.strip()):
        said = asked.removeprefix(SPEAK.strip()).strip()
        return Item(name, "speak", said, prompt=sounds.get("system"), reference=sounds.get("assistant"))
    if asked.startswith(TRANSCRIBE.strip()):
        return Item(name, "transcribe", right, heard=sounds["user"])
    return Item(name, "answer", asked.replace(AUDIO, "").strip(), heard=sounds["user"], answers=_answers(right))


def _kimi_row(row: Mapping[str, Any], folder: Path, task: Task | None) -> Item:
    heard = row["audio_path"]
    heard = folder / (heard[0] if isinstance(heard, list) else heard)
    question, name = str(row.get("question") or ""), str(row["index"])
    is_recognition = any(word in question.lower() for word in TRANSCRIBING)
    if (task or ("transcribe" if is_recognition else "answer")) == "transcribe":
        return Item(name, "transcribe", str(row["answer"]), heard=heard)
    return Item(name, "answer", question, heard=heard, answers=_answers(row["answer"]))


def _answers(right: Any) -> tuple[str, ...]:
    """One right answer or several; VITA's files have both."""
    return tuple(map(str, right)) if isinstance(right, list) else (str(right).replace(AUDIO, "").strip(),)
