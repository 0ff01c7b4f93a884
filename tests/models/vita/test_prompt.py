"""Prompts; the published ones are compared in tests/parity/test_vita_data.py."""

from __future__ import annotations

import pytest
import torch

from loquor.errors import InputError
from loquor.models.vita.prompt import (
    QUERIES,
    Codes,
    Features,
    Message,
    answered,
    to_answer,
    to_speak,
    to_transcribe,
    write_prompt,
)
from loquor.models.vita.vocabulary import AudioTokens, Vocabulary

BASE, PLUS = Vocabulary(AudioTokens("toy", 12)), Vocabulary(AudioTokens("toy_plus", 12, hears_features=True))
HEARD, ROWS = Codes((3, 1, 4)), Features(torch.zeros(5, 560))


def test_history_stands_between_the_system_turn_and_the_question() -> None:
    history = [Message("user", ("Who wrote it?",)), answered("She did.")]

    prompt = write_prompt(BASE, to_answer(HEARD, "Be brief.", history))

    text = BASE.text(prompt.ids.tolist())
    assert text == "system\nBe brief.\nuser\nWho wrote it?\nassistant\nShe did.\nuser\n\nassistant\n"
    assert BASE.codes(prompt.ids.tolist()) == [3, 1, 4]


def test_a_spoken_answer_in_the_history_is_woven_as_the_model_said_it() -> None:
    said = Message("assistant", ("one two three four five", Codes(tuple(range(12)))))

    prompt = write_prompt(BASE, to_answer("And then?", history=[said]), ratio=(1, 4)).ids.tolist()

    begins = [i for i, token in enumerate(prompt) if token == BASE.begin_of_audio]
    first = begins[0]
    assert len(begins) == 5 and [b - first for b in begins[:4]] == [0, 5, 10, 15]
    assert BASE.codes(prompt) == list(range(12))


def test_features_take_a_place_for_each_row_and_four_more() -> None:
    other = Features(torch.ones(2, 560))
    prompt = write_prompt(PLUS, to_answer(ROWS, history=[Message("user", (other,)), answered("Yes.")]))

    assert int(prompt.is_heard.sum()) == 5 + 2 + 2 * QUERIES
    assert set(prompt.ids[prompt.is_heard].tolist()) == {PLUS.context_of_audio}
    assert [f is rows for f, rows in zip(prompt.features, (other.rows, ROWS.rows), strict=True)] == [True, True]
    edges = prompt.is_heard.int().diff().nonzero()[:, 0].tolist()
    assert [int(prompt.ids[e + (i % 2)]) for i, e in enumerate(edges)] == [PLUS.begin_of_audio, PLUS.end_of_audio] * 2


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(InputError, match="'narrator' is no role"):
        Message("narrator", ("Once upon a time",))


def test_two_audios_in_one_turn_are_refused() -> None:
    for role in ("user", "assistant"):
        with pytest.raises(InputError, match=f"a turn of '{role}' has 2 audios"):
            write_prompt(BASE, [Message(role, (HEARD, "and", HEARD))])


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_empty_audio_is_refused(role: str) -> None:
    with pytest.raises(InputError, match="an audio is empty: it has no codes"):
        write_prompt(BASE, [Message(role, ("Hello", Codes(())))])


def test_empty_features_are_refused() -> None:
    with pytest.raises(InputError, match="an audio is empty: it has no features"):
        write_prompt(PLUS, to_transcribe(Features(torch.zeros(0, 560))))


def test_audio_in_a_form_the_model_does_not_hear_is_refused() -> None:
    with pytest.raises(InputError, match="toy hears codes, it was given features"):
        write_prompt(BASE, to_transcribe(ROWS))
    with pytest.raises(InputError, match="toy_plus hears features, it was given codes"):
        write_prompt(PLUS, to_speak("Hello", voice=HEARD))
    with pytest.raises(InputError, match="an answer has features for audio"):
        write_prompt(PLUS, [Message("assistant", (ROWS,))])


def test_a_code_outside_the_codebook_is_refused() -> None:
    with pytest.raises(InputError, match="code 12 is outside the codebook"):
        write_prompt(BASE, to_transcribe(Codes((3, 12))))


def test_there_must_be_something_to_speak() -> None:
    with pytest.raises(InputError, match="no text to speak"):
        to_speak(" \n")
