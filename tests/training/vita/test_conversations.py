"""Conversations from JSON: what is taken, and what is refused with one clear error each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loquor.errors import InputError
from loquor.training.vita.conversations import ConversationFile, Turn, read_conversation

HERE = Path("/data")


def said(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


ANSWER = said("assistant", "Yes.")


def test_tags_take_the_recordings_in_their_order() -> None:
    messages = [said("human", "Listen:\n<|audio|>"), said("gpt", "I see.<|audio|> Bye."), said("user", "<|audio|>")]

    ours = read_conversation({"conversations": messages, "audios": ["q.wav", "/abs/a.wav", "r.wav"], "id": 7}, HERE)

    assert ours.turns == (
        Turn("user", ("Listen:\n", HERE / "q.wav")),
        Turn("assistant", ("I see.", Path("/abs/a.wav"), " Bye.")),
        Turn("user", (HERE / "r.wav",)),
    )


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ([], "a conversation is an object, not a list"),
        ({}, "has no messages"),
        ({"messages": []}, "has no messages"),
        ({"messages": "hello"}, "has no messages"),
        ({"messages": [said("narrator", "Once"), ANSWER]}, "'narrator' is no role"),
        ({"messages": [said(["user"], "Once"), ANSWER]}, "is no role"),
        ({"messages": [said("user", None), ANSWER]}, "a message of user has no text for its content"),
        ({"messages": [said("user", "<|audio|>"), ANSWER]}, r"1 <\|audio\|> tags stand for 0 audios"),
        ({"messages": [said("user", "Hi"), ANSWER], "audios": ["a.wav"]}, "0 .* tags stand for 1 audios"),
        ({"messages": [said("user", "Hi"), ANSWER], "audios": [3]}, "audios must be a list of paths"),
        ({"messages": [said("user", "<|audio|><|audio|>"), ANSWER], "audios": ["a", "b"]}, "'user' has 2 audios"),
        ({"messages": [said("user", "Hi"), said("gpt", "<|audio|>a<|audio|>")], "audios": ["a", "b"]}, "has 2 audios"),
        ({"messages": [said("user", "Hi"), ANSWER], "images": ["a.png"]}, "has images, which these models cannot see"),
        ({"messages": [said("user", "Hi")]}, "has no answer"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(values: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        read_conversation(values, HERE)


def good(text: str) -> dict[str, Any]:
    return {"messages": [said("user", text), ANSWER], "audios": None}


@pytest.mark.parametrize("end", ["\n", ""])
def test_a_file_is_a_list_or_has_one_on_each_line(end: str, tmp_path: Path) -> None:
    texts = ["one", "zwei", "سه"]
    lines, listed = tmp_path / "a.jsonl", tmp_path / "a.json"
    lines.write_text("\n\n".join(json.dumps(good(t), ensure_ascii=False) for t in texts) + end, encoding="utf-8")
    listed.write_text(json.dumps([good(t) for t in texts], indent=1), encoding="utf-8")

    for path in (lines, listed):
        file = ConversationFile(path)
        assert [file[i].turns[0].parts for i in range(len(file))] == [(text,) for text in texts]


def test_a_bad_line_names_its_file_and_place_and_harms_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{json.dumps(good("one"))}\n{{"messages": \n{json.dumps(good("three"))}\n', encoding="utf-8")

    file = ConversationFile(path)

    assert file[0].turns[0].parts == ("one",) and file[2].turns[0].parts == ("three",)
    with pytest.raises(InputError, match=r"a\.jsonl, conversation 2: it is no JSON"):
        file[1]


def test_recordings_are_looked_for_beside_the_file_or_from_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    spoken = {"messages": [said("user", "<|audio|>"), ANSWER], "audios": ["x/q.wav"]}
    path.write_text(json.dumps(spoken), encoding="utf-8")

    assert ConversationFile(path)[0].turns[0].parts == (tmp_path / "x" / "q.wav",)
    assert ConversationFile(path, HERE)[0].turns[0].parts == (HERE / "x" / "q.wav",)


def test_an_empty_file_has_none_and_a_damaged_list_is_refused(tmp_path: Path) -> None:
    empty, damaged = tmp_path / "a.jsonl", tmp_path / "b.json"
    empty.touch()
    damaged.write_text('[{"messages": ', encoding="utf-8")

    assert len(ConversationFile(empty)) == 0
    with pytest.raises(InputError, match=r"b\.json cannot be read as JSON"):
        ConversationFile(damaged)
    with pytest.raises(InputError, match=r"cannot read .*c\.jsonl"):
        ConversationFile(tmp_path / "c.jsonl")
