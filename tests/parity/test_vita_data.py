"""Golden data: ids of marks and audio, prompts, woven answers, labels and packed rows, all exact."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from loquor.errors import CapacityError
from loquor.models.vita.interleaving import BOOST, interleave
from loquor.models.vita.prompt import (
    LUKE,
    OMNI,
    QUERIES,
    Codes,
    Features,
    Heard,
    Message,
    to_answer,
    to_speak,
    to_transcribe,
    write_prompt,
)
from loquor.models.vita.vocabulary import AUDIO_TAG, Vocabulary, published_tokens
from loquor.training.vita.conversations import Conversation, read_conversation
from loquor.training.vita.feed import Ears
from loquor.training.vita.packing import PackedRow, Packer, Packing
from loquor.training.vita.tokens import Example, tokenize
from parity.vita import vita_case, vita_folder

DATA = vita_case("data")
WIDTH = 560  # of a row of features; the golden says only how many rows there are
TOKENIZERS = [name for name in DATA.get("tokenizer", {}) if name != "base_len"]
SPAN = re.compile(r"<\|begin_of_audio\|>((?:<\|audio_\d+\|>)*)<\|end_of_audio\|>|<\|audio\|>")
TASKS = ("asr", "tts", "tts_clone_cli", "tts_clone_seedtts", "sts_luke", "sqa_omni", "text", "plus_sts_luke")


def vocabulary(kind: str) -> Vocabulary:
    return Vocabulary(published_tokens(kind))


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_marks_and_codes_have_the_published_ids(kind: str) -> None:
    recorded, ours = DATA["tokenizer"][kind], vocabulary(kind)
    assert ours.tokenizer.vocab_size == DATA["tokenizer"]["base_len"]
    assert (len(ours), ours.rows) == (recorded["len"], recorded["padded_to_8"])
    for name, i in recorded["ids"].items():
        code = re.fullmatch(r"<\|audio_(\d+)\|>", name)
        assert (ours.audio_ids([int(code[1])])[0] if code else ours.special_ids[name]) == i, name


@pytest.mark.parametrize("number", range(len(DATA.get("interleave", {}).get("cases", []))))
def test_text_and_audio_are_woven_as_the_reference_does(number: int) -> None:
    case, marks = DATA["interleave"]["cases"][number], (DATA["interleave"]["begin_id"], DATA["interleave"]["end_id"])
    ids: list[int] = case["input"]
    text, audio = ids, list[int]()
    if marks[0] in ids:
        begin, end = map(ids.index, marks)
        text, audio = ids[:begin] + ids[end + 1 :], ids[begin + 1 : end]

    assert interleave(text, audio, case["ratio"] or BOOST, marks) == case["output"]


def parsed(messages: Sequence[dict[str, str]], features: Tensor | None) -> list[Message]:
    """Recorded messages, whose audio is spelled out in their text."""
    return [Message(m["role"], tuple(_parts(m["content"], features))) for m in messages]


def _parts(content: str, features: Tensor | None) -> list[str | Heard]:
    parts: list[str | Heard] = []
    at = 0
    for found in SPAN.finditer(content):
        parts.append(content[at : found.start()])
        codes = tuple(int(n) for n in re.findall(r"audio_(\d+)", found[0]))
        if found[0] == AUDIO_TAG:
            assert features is not None
        parts.append(Codes(codes) if features is None else Features(features))
        at = found.end()
    return [part for part in [*parts, content[at:]] if part != ""]


@pytest.mark.parametrize("name", DATA.get("prompts", {}))
def test_a_prompt_has_the_recorded_ids(name: str) -> None:
    recorded = DATA["prompts"][name]
    frames = recorded.get("n_fbank_frames")
    features = None if frames is None else torch.zeros(frames, WIDTH)
    kind = "glm4voice" if features is None else "sensevoice_glm4voice"

    prompt = write_prompt(vocabulary(kind), parsed(recorded["messages"], features))

    assert prompt.ids.tolist() == recorded["input_ids"]
    places = [column for indices in recorded.get("audio_indices", []) for column in indices[1][0]]
    assert prompt.is_heard.nonzero()[:, 0].tolist() == places
    assert name in TASKS, "a recorded prompt that the next test does not know"


@pytest.mark.parametrize("name", [name for name in TASKS if name in DATA.get("prompts", {})])
def test_the_prompt_of_a_task_is_the_recorded_one(name: str) -> None:
    recorded = DATA["prompts"][name]["messages"]
    frames = DATA["prompts"][name].get("n_fbank_frames")
    messages = parsed(recorded, None if frames is None else torch.zeros(frames, WIDTH))
    heard = next((part for m in messages for part in m.parts if not isinstance(part, str)), None)
    said = recorded[-1]["content"]
    if name == "asr":
        assert heard is not None
        ours = to_transcribe(heard)
    elif name in ("tts", "tts_clone_seedtts"):
        ours = to_speak(said.partition("\n")[2], heard)
    elif name == "tts_clone_cli":  # a wording the models were not trained with
        ours = [Message("system", ("Your Voice: ", heard or "", "\n")), *to_speak(said.partition("\n")[2])]
    elif name == "text":
        ours = [Message("user", (said,))]
    elif name == "sqa_omni":
        assert heard is not None
        ours = to_answer(heard, OMNI)
    else:  # the command line of the reference puts an empty message and a newline before what is heard
        assert heard is not None
        ours = [*to_answer("", LUKE)[:-1], Message("user", ("\n", heard))]

    assert [(m.role, m.parts) for m in ours] == [(m.role, m.parts) for m in messages]


def conversation(name: str) -> Conversation:
    return read_conversation(DATA["samples"][name], vita_folder())


def ears(kind: str) -> Ears:
    """The recorded results of encoders that nobody has here."""
    names = {vita_folder() / path: path for path in DATA["audio_codes"]}
    hears_features = published_tokens(kind).hears_features
    return Ears(
        lambda path: DATA["audio_codes"][names[path]],
        (lambda path: torch.full((DATA["fbank_frames"][names[path]], WIDTH), 1.0)) if hears_features else None,
    )


def example(kind: str, ratio: Sequence[int], name: str) -> Example:
    return tokenize(vocabulary(kind), ears(kind).messages(conversation(name)), ratio)


def columns(is_heard: Tensor, features: Sequence[Tensor]) -> list[list[int]]:
    places = is_heard.nonzero()[:, 0]
    return [part.tolist() for part in places.split([len(rows) + QUERIES for rows in features])] if features else []


@pytest.mark.parametrize("case", DATA.get("preprocess", {}))
def test_a_conversation_has_the_recorded_ids_and_labels(case: str) -> None:
    kind, ratio, name = case.split("|")
    recorded = DATA["preprocess"][case]

    ours = example(kind, BOOST if ratio == "None" else [int(n) for n in ratio.split()], name)

    assert ours.ids.tolist() == recorded["input_ids"]
    assert ours.labels.tolist() == recorded["labels"]
    assert len(ours.features) == recorded["n_audios"]
    assert columns(ours.is_heard, ours.features) == recorded["audio_indices"]


def packing_of(case: str) -> Packing:
    flags = dict(flag.split("=") for flag in case.split("|")[1:])
    if flags["joint"] == "False":
        return "none"
    return "shared" if flags["cross"] == "True" else "source"


@pytest.mark.parametrize("case", DATA.get("packing", {}))
def test_rows_come_when_and_as_the_reference_gives_them(case: str) -> None:
    recorded, kind = DATA["packing"][case], case.split("|", 1)[0]
    packer = Packer(recorded["max_length"], vocabulary(kind).pad, packing_of(case))
    rows: list[PackedRow | None] = []
    for name, source in zip(recorded["order"], recorded["sources"], strict=True):
        try:
            rows.append(packer.add(example(kind, recorded["ratio"] or BOOST, name), source))
        except CapacityError:
            rows.append(None)  # the reference leaves it out without a word

    assert [None if row is None else as_recorded(row) for row in rows] == recorded["outputs_by_step"]


def as_recorded(row: PackedRow) -> dict[str, Any]:
    return {
        "input_ids": row.ids.tolist(),
        "labels": row.labels.tolist(),
        "position_ids": row.positions.tolist(),
        "actual_seq_len": list(row.ends),
        "audio_indices": columns(row.is_heard, row.features),
    }
