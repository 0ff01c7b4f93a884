"""Ids and labels of conversations; the published cases are compared in tests/parity/test_vita_data.py."""

from __future__ import annotations

import pytest
import torch

from loquor.errors import InputError
from loquor.models.vita.prompt import SPEAK, Codes, Features, Message, to_answer, write_prompt
from loquor.models.vita.vocabulary import AudioTokens, Vocabulary
from loquor.training.vita.tokens import IGNORED, Example, tokenize

BASE, PLUS = Vocabulary(AudioTokens("toy", 12)), Vocabulary(AudioTokens("toy_plus", 12, hears_features=True))
RATIO = (1, 4)
SAID = Codes((1, 2, 3))


def learned(example: Example) -> list[int]:
    return example.labels[example.labels != IGNORED].tolist()


def user(*parts: str | Codes) -> Message:
    return Message("user", parts)


def assistant(*parts: str | Codes) -> Message:
    return Message("assistant", parts)


def test_only_answers_are_learned_with_the_mark_and_newline_that_end_them() -> None:
    example = tokenize(BASE, [user("Hi"), assistant("Hello!"), user("Bye"), assistant("See you.")], RATIO)

    end = [BASE.turn_end, *BASE.ids("\n")]
    assert learned(example) == [*BASE.ids("Hello!"), *end, *BASE.ids("See you."), *end]
    assert torch.equal(example.labels[example.labels != IGNORED], example.ids[example.labels != IGNORED])


def test_a_conversation_begins_as_the_prompt_that_generation_gives() -> None:
    question, answer = to_answer(SAID, "Be brief."), assistant("Yes.", SAID)

    prompt, example = write_prompt(BASE, question), tokenize(BASE, [*question, answer], RATIO)

    assert torch.equal(example.ids[: len(prompt)], prompt.ids)
    assert (example.labels[: len(prompt)] == IGNORED).all() and (example.labels[len(prompt) :] != IGNORED).all()


def test_speech_that_was_asked_for_begins_with_its_text_but_later_answers_do_not() -> None:
    messages = [user(f"{SPEAK} one two "), assistant(SAID), user("Again?"), assistant(SAID)]

    example = tokenize(BASE, messages, RATIO)

    text = BASE.text(learned(example))
    assert text == "one two\n\n", "read once, by the answer that was asked to"
    assert BASE.codes(learned(example)) == [1, 2, 3, 1, 2, 3]


def test_an_answer_that_has_its_own_text_is_not_given_it_twice() -> None:
    example = tokenize(BASE, [user(f"{SPEAK}one two"), assistant("one two", SAID)], RATIO)

    assert BASE.text(learned(example)) == "one two\n"


def test_an_answer_without_speech_is_not_given_the_text() -> None:
    example = tokenize(BASE, [user(f"{SPEAK}one two"), assistant("I cannot.")], RATIO)

    assert BASE.text(learned(example)) == "I cannot.\n"


def test_text_before_and_after_speech_is_one_text() -> None:
    example = tokenize(BASE, [user("Hi"), assistant("one", SAID, " two")], RATIO)

    words = [BASE.ids("one")[0], *BASE.ids(" two")]
    span = [BASE.begin_of_audio, *BASE.audio_ids([1, 2]), BASE.end_of_audio]
    rest = [BASE.begin_of_audio, *BASE.audio_ids([3]), BASE.end_of_audio]
    assert learned(example)[:-2] == [words[0], *span, words[1], *rest]


def test_features_of_all_that_is_heard_have_their_places() -> None:
    heard = [Features(torch.full((n, 8), float(n))) for n in (2, 5)]
    messages = [Message("system", ("Voice: ", heard[0])), Message("user", (heard[1],)), assistant("Yes.", SAID)]

    example = tokenize(PLUS, messages, RATIO)

    assert int(example.is_heard.sum()) == 2 + 5 + 8
    assert (example.ids[example.is_heard] == PLUS.context_of_audio).all()
    assert (example.labels[example.is_heard] == IGNORED).all()
    assert [len(rows) for rows in example.features] == [2, 5]


def test_no_codes_are_an_error_instead_of_a_shorter_text() -> None:
    with pytest.raises(InputError, match="an audio is empty"):
        tokenize(BASE, [user("Hi"), assistant("one two three", Codes(()))], RATIO)
