"""Conversations to learn from, as the published JSON has them: messages with `<|audio|>` tags, and paths of recordings.

    {"messages": [{"role": "user", "content": "<|audio|>"}, {"role": "assistant", "content": "Hi.\\n<|audio|>"}],
     "audios": ["question.wav", "answer.wav"]}

A file is a list of such objects, or has one on each line. Tags take the recordings in their order. A line is read when
it is needed, and what is wrong with it concerns that conversation only.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loquor.errors import InputError
from loquor.models.vita.vocabulary import AUDIO_TAG

ROLES = {"system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant"}
NOT_HEARD = ("images", "videos")


@dataclass(frozen=True)
class Turn:
    """What one side says: texts and recordings in their order."""

    role: str  # system, user or assistant
    parts: tuple[str | Path, ...]


@dataclass(frozen=True)
class Conversation:
    """Turns, the last by the assistant."""

    turns: tuple[Turn, ...]


def read_conversation(values: Any, folder: Path) -> Conversation:
    """A conversation from JSON; relative paths start at `folder`.

    InputError for a role nobody has, tags and recordings that do not match, several audios in one turn, pictures, and
    a conversation without an answer to learn.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"a conversation is an object, not a {type(values).__name__}")
    messages = values.get("messages") or values.get("conversations")
    audios = values.get("audios") or []
    if not _is_list_of(messages, Mapping) or not messages:
        raise InputError("a conversation has no messages", hint='give {"messages": [{"role": ..., "content": ...}]}')
    if not _is_list_of(audios, str):
        raise InputError("audios must be a list of paths")
    for kind in NOT_HEARD:
        if values.get(kind):
            raise InputError(f"a conversation has {kind}, which these models cannot see", hint="leave it out")
    contents = [_content(message) for message in messages]
    tags = sum(content.count(AUDIO_TAG) for content in contents)
    if tags != len(audios):
        raise InputError(f"{tags} {AUDIO_TAG} tags stand for {len(audios)} audios", hint="give a path for each tag")
    paths = iter(folder / path for path in audios)
    turns = tuple(
        Turn(ROLES[message["role"]], _parts(content, paths))
        for message, content in zip(messages, contents, strict=True)
    )
    if not any(turn.role == "assistant" for turn in turns):
        raise InputError("a conversation has no answer, so there is nothing to learn")
    return Conversation(turns)


def _is_list_of(values: Any, kind: type) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str) and all(isinstance(v, kind) for v in values)


def _content(message: Mapping[str, Any]) -> str:
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or role not in ROLES:
        raise InputError(f"{role!r} is no role", hint=f"use one of {', '.join(ROLES)}")
    if not isinstance(content, str):
        raise InputError(f"a message of {role} has no text for its content")
    if content.count(AUDIO_TAG) > 1:
        raise InputError(
            f"a turn of {role!r} has {content.count(AUDIO_TAG)} audios", hint="give each a turn of its own"
        )
    return content


def _parts(content: str, paths: Any) -> tuple[str | Path, ...]:
    before, tag, after = content.partition(AUDIO_TAG)
    parts = (before, next(paths), after) if tag else (before,)
    return tuple(part for part in parts if part != "")


class ConversationFile:
    """The conversations of a .json or .jsonl file; `file[i]` raises InputError if that one cannot be used."""

    def __init__(self, path: Path, folder: Path | None = None) -> None:
        """Relative paths of recordings start at `folder`, or where the file lies. InputError if it cannot be read."""
        self.path, self.folder = path, folder or path.parent
        try:
            self._lines = _lines(path)
            self._data = np.memmap(path, mode="r", dtype=np.uint8) if len(self._lines) else np.zeros(0, np.uint8)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from None
        self._listed = self._as_list() if _first_letter(self._data) == "[" else None

    def _as_list(self) -> list[Any]:
        """The list that the whole file is."""
        try:
            values = json.loads(bytes(self._data))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{self.path} cannot be read as JSON: {error}") from None
        assert isinstance(values, list)
        return values

    def __len__(self) -> int:
        return len(self._lines) if self._listed is None else len(self._listed)

    def __getitem__(self, index: int) -> Conversation:
        try:
            return read_conversation(self._values(index), self.folder)
        except InputError as error:
            raise InputError(f"{self.path}, conversation {index + 1}: {error}", hint=error.hint) from None

    def _values(self, index: int) -> Any:
        if self._listed is not None:
            return self._listed[index]
        start, end = self._lines[index]
        try:
            return json.loads(bytes(self._data[start:end]))
        except (ValueError, RecursionError) as error:
            raise InputError(f"it is no JSON: {error}") from None


def _first_letter(data: np.ndarray[Any, Any]) -> str:
    return bytes(data[:4096]).decode("utf-8", "replace").lstrip("\ufeff \t\r\n")[:1]


def _lines(path: Path) -> np.ndarray[Any, Any]:
    """Where lines that are not empty start and end [N, 2]; held are only these numbers, however large the file."""
    places, at = array("q"), 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                places.extend((at, at + len(line)))
            at += len(line)
    return np.array(places, dtype=np.int64).reshape(-1, 2)
