"""Generation with several tokens a pass: batches, caches, checking, grammar, and requests that cannot be served."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loquor.engine import interleaved
from loquor.engine.alternation import Alternation, AudioIds, Place
from loquor.engine.generation_file import GenerationDefaults
from loquor.engine.interleaved import InterleavedBatch
from loquor.engine.interleaved_stream import InterleavedStream, Running
from loquor.engine.sampling import TokenSampling
from loquor.errors import CapacityError, ConfigError, InputError
from loquor.models.vita.model import VitaModel
from loquor.models.vita.schedule import BOOST, TURBO, VANILLA, Schedule
from toy_vita import (
    AUDIO,
    BEGIN,
    CODES,
    END,
    EOS,
    FIRST_AUDIO,
    VOCABULARY,
    agreeing_vita,
    toy_vita,
    toy_vita_config,
    write_toy_vita,
)

MODEL = toy_vita()
K = MODEL.config.modules

schedules = st.lists(st.integers(0, 6), min_size=1, max_size=3).flatmap(
    lambda modules: st.tuples(*[st.tuples(st.integers(1, 3), st.just(m)) for m in modules]).map(Schedule)
)
prompts = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=12)
samplings = st.builds(
    TokenSampling,
    temperature=st.sampled_from([0.0, 0.8]),
    top_k=st.sampled_from([0, 5]),
    repetition_penalty=st.sampled_from([1.0, 1.4]),
    max_new_tokens=st.integers(1, 30),
    min_new_tokens=st.sampled_from([0, 10]),
    seed=st.integers(0, 9),
)
requests = st.fixed_dictionaries(
    {"prompt": prompts, "schedule": schedules, "sampling": samplings, "is_verified": st.booleans()}
)


def stream(
    prompt: list[int] | range = range(5), schedule: Schedule = BOOST, limit: int = 30, **options: Any
) -> InterleavedStream:
    sampling = options.pop("sampling", None) or TokenSampling(max_new_tokens=limit)
    return InterleavedStream(torch.tensor(list(prompt)), schedule, sampling, **options)


def run(batch: InterleavedBatch, *streams: InterleavedStream) -> list[list[int]]:
    """All join, all end; what each said, which is also what was given out step by step."""
    given_out: dict[InterleavedStream, list[int]] = {s: [] for s in streams}
    for s in streams:
        batch.join(s)
    while batch.can_speak:
        for s, tokens in batch.step():
            assert tokens
            given_out[s] += tokens
    assert [s.tokens for s in streams] == list(given_out.values())
    return list(given_out.values())


def say(*streams: InterleavedStream, model: VitaModel = MODEL, eos: tuple[int, ...] = ()) -> list[list[int]]:
    return run(InterleavedBatch(model, eos, AUDIO), *streams)


# ---- batches


@settings(max_examples=20, deadline=None)
@given(st.lists(requests, min_size=2, max_size=4))
def test_requests_say_together_what_they_say_alone(many):
    alone = [say(stream(**request), eos=(EOS,))[0] for request in many]
    assert say(*[stream(**request) for request in many], eos=(EOS,)) == alone


@settings(max_examples=20, deadline=None)
@given(requests, requests, st.integers(1, 12))
def test_joining_later_or_in_a_used_slot_changes_nothing(first, second, steps):
    batch = InterleavedBatch(MODEL, audio=AUDIO)
    expected = [say(stream(**request))[0] for request in (first, second)]
    run(batch, stream(**second))
    early, late = stream(**first), stream(**second)
    batch.join(early)
    for _ in range(steps):
        batch.step()
    batch.join(late)
    while batch.can_speak:
        batch.step()
    assert [early.tokens, late.tokens] == expected


def test_stages_that_meet_share_one_pass(monkeypatch):
    passes: list[tuple[str, int]] = []
    read, predict = MODEL.read, MODEL.predict_on
    monkeypatch.setattr(
        MODEL, "read", lambda x, w, c: passes.append(("main", sum(g.size for g in w.groups))) or read(x, w, c)
    )
    monkeypatch.setattr(
        MODEL,
        "predict_on",
        lambda k, x, h, w, c: passes.append((str(k), sum(g.size for g in w.groups))) or predict(k, x, h, w, c),
    )
    batch = InterleavedBatch(MODEL)
    for schedule in (Schedule.of([1, 2]), Schedule.of([1, 2]), VANILLA):
        batch.join(stream(range(3), schedule))
    for expected in ([("main", 3)], [("main", 1), ("0", 2)], [("main", 1), ("1", 2)], [("main", 3)]):
        passes.clear()
        batch.step()
        assert passes == expected


def test_a_request_cancelled_says_no_more_and_frees_its_slot():
    batch = InterleavedBatch(MODEL)
    one, two = stream(range(4)), stream(range(6))
    batch.join(one)
    batch.join(two)
    for _ in range(7):
        batch.step()
    said, slots = list(one.tokens), batch.caches.slots
    one.cancelled = True
    batch.step()
    assert (one.tokens, one.finish) == (said, "cancelled") and batch.streams == [two]
    three = stream(range(9))
    batch.join(three)
    assert batch.caches.slots == slots
    while batch.can_speak:
        batch.step()
    assert [two.tokens, three.tokens] == [say(stream(range(6)))[0], say(stream(range(9)))[0]]


def test_clearing_drops_all_and_the_batch_is_as_new():
    batch = InterleavedBatch(MODEL)
    batch.join(stream(range(20)))
    batch.step()
    batch.clear()
    assert not batch.can_speak
    assert run(batch, stream()) == say(stream())


# ---- what was read before


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 3), requests, prompts, requests, st.integers(0, 20))
def test_a_conversation_that_goes_on_says_what_it_would_say_read_anew(seed, first, question, second, kept):
    model, batch = agreeing_vita(seed), InterleavedBatch(agreeing_vita(seed), (EOS,))
    before = stream(**first)
    run(batch, before)
    history = [*first["prompt"], *before.tokens][: kept + 1]  # all of it, or what was heard before a barge-in
    follow = second | {"prompt": [*history, *question]}
    resumed, anew = stream(**follow), stream(**follow)
    assert run(batch, resumed) == say(anew, model=model, eos=(EOS,))
    assert batch.caches.slots == 1


def test_what_was_read_is_not_read_again(monkeypatch):
    rows: list[int] = []
    read = MODEL.read
    monkeypatch.setattr(MODEL, "read", lambda x, *rest: rows.append(len(x)) or read(x, *rest))
    batch, first = InterleavedBatch(MODEL), stream(range(30), TURBO, limit=20)
    run(batch, first, stream(range(5, 35), TURBO))
    rows.clear()
    run(batch, stream([*range(30), *first.tokens, 1, 2, 3], TURBO, limit=1))
    assert sum(rows) < 3 + 20  # the question, and what the last module to read had not read of the answer
    rows.clear()
    run(batch, stream([7, *range(30)], TURBO, limit=1))
    assert sum(rows) == 31


def test_other_features_at_the_same_places_are_read_anew():
    is_heard = torch.tensor([False, True, True, False, False, False])
    draws = torch.randn(2, 2, MODEL.config.hidden_size, generator=torch.Generator().manual_seed(1))
    batch = InterleavedBatch(MODEL)
    for heard in (draws[0], draws[1], draws[1], None):
        options = {"schedule": TURBO} if heard is None else {"schedule": TURBO, "is_heard": is_heard, "heard": heard}
        prompt = [2, 9, 9, 3, 9, 4]
        assert run(batch, stream(prompt, **options)) == say(stream(prompt, **options))


# ---- passes


@pytest.mark.parametrize(
    ("schedule", "main"), [(VANILLA, 28), (TURBO, 8), (Schedule.of([1, 4]), 6), (Schedule.of([4, 3]), 16)]
)
def test_the_backbone_passes_as_often_as_the_schedule_says(schedule, main):
    request = stream(schedule=schedule, limit=28)
    say(request)
    assert (request.main_passes, request.module_passes) == (main, 28 - main)
    assert request.tokens_per_main_pass == 28 / main


@pytest.mark.parametrize("is_verified", [False, True])
@pytest.mark.parametrize("schedule", [VANILLA, TURBO, Schedule.of([3, 1, 1, 6])])
def test_long_prompts_are_read_in_pieces_to_the_same_effect(monkeypatch, schedule, is_verified):
    prompt = [i * 7 % VOCABULARY for i in range(50)]
    whole = say(stream(prompt, schedule, is_verified=is_verified))
    monkeypatch.setattr(interleaved, "PIECE", 7)
    assert say(stream(prompt, schedule, is_verified=is_verified), stream(schedule=TURBO))[0] == whole[0]


def test_others_speak_while_a_long_prompt_is_read(monkeypatch):
    monkeypatch.setattr(interleaved, "PIECE", 4)
    batch, quick, slow = InterleavedBatch(MODEL), stream(range(3), VANILLA), stream(range(40), VANILLA)
    batch.join(quick)
    batch.join(slow)
    for _ in range(9):
        batch.step()
    assert (len(quick.tokens), len(slow.tokens)) == (9, 0)
    batch.step()
    assert len(slow.tokens) == 1


def test_nothing_is_kept_for_modules_that_a_schedule_never_uses():
    batch = InterleavedBatch(MODEL)
    batch.join(stream(schedule=Schedule.of([1, 2]), limit=50))
    batch.join(stream(schedule=VANILLA, limit=50))
    for _ in range(40):
        batch.step()
    kept = [[sum(map(len, rows.pieces)) for rows in running.hidden] for running in batch.running]
    assert max(kept[0]) <= 3 and kept[0][2:] == [0] * (K - 2)
    assert kept[1] == [0] * K


def test_a_model_without_modules_speaks_by_its_backbone():
    plain = toy_vita(config=toy_vita_config(modules=0))
    request = stream(schedule=BOOST)
    say(request, model=plain)
    assert (request.main_passes, request.module_passes) == (30, 0)


# ---- verified by the backbone


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 5), prompts, schedules, samplings, st.sampled_from([0.0, 0.02, 0.1, 1.0]))
def test_verified_it_says_what_the_backbone_alone_says(seed, prompt, schedule, sampling, discord):
    model = agreeing_vita(seed, discord)
    checked, plain = (
        stream(prompt, s, sampling=sampling, is_verified=is_verified)
        for s, is_verified in ((schedule, True), (VANILLA, False))
    )
    say(checked, plain, model=model, eos=(EOS,))
    assert checked.tokens == plain.tokens
    assert checked.finish == plain.finish
    assert checked.accepted <= checked.proposed
    assert len(checked.tokens) <= checked.main_passes + checked.accepted


def test_modules_that_agree_are_believed_and_save_passes():
    request = stream(schedule=Schedule.of([1, K]), limit=40, is_verified=True)
    say(request, model=agreeing_vita(discord=0.0))
    assert request.accepted_share == 1
    assert request.main_passes == 9  # the first gives one token, those after K + 1 each, the last what is left
    assert request.tokens_per_main_pass == 40 / 9


def test_modules_that_sometimes_agree_are_believed_where_they_do():
    sampling = TokenSampling(temperature=1.0, max_new_tokens=40)
    request = stream(schedule=Schedule.of([1, K]), sampling=sampling, is_verified=True)
    say(request, model=agreeing_vita(discord=0.05))
    assert 0 < request.accepted_share < 1
    assert 1 < request.tokens_per_main_pass < K + 1


def test_after_a_rejection_modules_propose_as_if_it_had_never_been(monkeypatch):
    proposed: list[tuple[list[int], list[int]]] = []
    check = Running.check

    def note(running: Running, picks: list[int]) -> list[int]:
        proposed.append((list(running.stream.tokens), list(running.proposals)))
        return check(running, picks)

    monkeypatch.setattr(Running, "check", note)
    model, schedule = agreeing_vita(discord=0.4), Schedule.of([1, K])
    request = stream(schedule=schedule, limit=40, is_verified=True)
    say(request, model=model)
    assert request.accepted < request.proposed
    for tokens, proposals in [entry for entry in proposed[:-1] if entry[1]]:
        proposed.clear()
        batch, fresh = InterleavedBatch(model), stream([*range(5), *tokens[:-1]], schedule, is_verified=True)
        batch.join(fresh)
        while len(proposed) < 2:
            batch.step()
        assert proposed[1][0] == tokens[-1:]
        assert proposed[1][1][: len(proposals)] == proposals


def test_a_proposal_that_ends_is_the_last_to_be_proposed():
    model = agreeing_vita(discord=0.0)
    turn = say(stream(schedule=VANILLA, limit=4), model=model)[0]
    batch = InterleavedBatch(model, (turn[2],))
    request = stream(schedule=Schedule.of([1, K]), is_verified=True)
    run(batch, request)
    assert (request.tokens, request.finish) == (turn[:3], "end")
    assert request.proposed == 2


# ---- constrained


def require_balanced(request: InterleavedStream) -> None:
    """Marks in turn, audio ids and nothing else between them, text and nothing else outside."""
    inside = 0
    for token in request.tokens:
        is_code = FIRST_AUDIO <= token < FIRST_AUDIO + CODES
        if inside:
            assert is_code or (token == END and inside > 1)
            inside = 0 if token == END else inside + 1
        else:
            assert not is_code and token != END and token < FIRST_AUDIO
            inside = int(token == BEGIN)
    assert not inside


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3), requests, st.booleans())
def test_constrained_every_span_of_audio_is_balanced(seed, request, by_schedule):
    one = stream(**request, grammar=Alternation(AUDIO, by_schedule))
    one.prompt = one.prompt.clamp(max=BEGIN - 1)
    say(one, model=toy_vita(seed), eos=(EOS,))
    require_balanced(one)
    assert one.finish in ("end", "limit")
    assert len(one.tokens) >= min(one.sampling.min_new_tokens, one.sampling.max_new_tokens or 0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3), schedules, samplings, st.booleans())
def test_only_rows_that_are_allowed_are_computed_and_the_rest_is_exact(seed, schedule, sampling, by_schedule):
    """The narrow head against all rows with what is not allowed struck out."""
    model, grammar = toy_vita(seed), Alternation(AUDIO, by_schedule)
    narrow = stream(schedule=schedule, sampling=sampling, grammar=grammar)
    say(narrow, model=model, eos=(EOS,))
    batch = InterleavedBatch(model, (EOS,), AUDIO)
    wide = stream(schedule=schedule, sampling=sampling, grammar=grammar)
    batch.head.logits = lambda layout, hidden, allowed: (struck_out(model.logits(hidden), allowed), None)  # type: ignore[method-assign]
    run(batch, wide)
    assert narrow.tokens == wide.tokens


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3), st.lists(requests, min_size=1, max_size=3), st.booleans())
def test_a_wide_head_says_the_same_and_computes_all_rows(seed, many, by_schedule):
    model, grammars = toy_vita(seed), [Alternation(AUDIO, by_schedule), None, Alternation(AUDIO, by_schedule)]
    wide = InterleavedBatch(model, (EOS,), AUDIO, has_narrow_head=False)
    computed, logits = [], wide.head.logits
    wide.head.logits = lambda *given: computed.append(logits(*given)) or computed[-1]  # type: ignore[method-assign]

    def streams() -> list[InterleavedStream]:
        return [stream(**request, grammar=grammar) for request, grammar in zip(many, grammars, strict=False)]

    assert run(wide, *streams()) == say(*streams(), model=model, eos=(EOS,))
    assert all(columns is None and found.shape[1] == VOCABULARY for found, columns in computed)


def struck_out(logits, allowed):
    ids = torch.arange(VOCABULARY)
    is_code = (ids >= FIRST_AUDIO) & (ids < FIRST_AUDIO + CODES)
    is_mark = (ids == BEGIN) | (ids == END) | (ids == EOS)
    rows = []
    for a in allowed:
        may = (is_code & a.audio) | ((ids < FIRST_AUDIO) & ~is_mark & a.text)
        may |= ((ids == BEGIN) & a.begin) | ((ids == END) & a.end) | ((ids == EOS) & a.eos)
        rows.append(may)
    return logits.float().masked_fill(~torch.stack(rows), -torch.inf)


def test_where_modules_are_to_speak_a_span_begins():
    request = stream(range(2, 7), Schedule.of([2, 4]), limit=30, grammar=Alternation(AUDIO))
    say(request)
    assert request.tokens[2] == BEGIN
    free = stream(range(2, 7), Schedule.of([2, 4]), limit=30, grammar=Alternation(AUDIO, by_schedule=False))
    say(free)
    assert free.tokens[:2] == request.tokens[:2] and free.tokens[2] != BEGIN


def test_verified_and_constrained_it_says_what_the_backbone_says_under_the_same_constraint():
    for seed in range(4):
        model, grammar = agreeing_vita(seed, 0.02), Alternation(AUDIO, by_schedule=False)
        checked = stream(range(2, 7), Schedule.of([2, 4]), grammar=grammar, is_verified=True)
        plain = stream(range(2, 7), VANILLA, grammar=grammar)
        say(checked, plain, model=model, eos=(EOS,))
        assert checked.tokens == plain.tokens
        require_balanced(checked)


@pytest.mark.parametrize("limit", range(1, 14))
def test_no_span_begins_that_could_not_be_said(limit):
    request = stream(range(2, 7), Schedule.of([1, 4]), limit=limit, grammar=Alternation(AUDIO))
    say(request)
    assert len(request.tokens) == limit
    require_balanced(request)


def test_an_answer_may_carry_on_from_a_span_that_the_prompt_began():
    request = stream([3, 4, BEGIN, FIRST_AUDIO], limit=12, grammar=Alternation(AUDIO))
    say(request)
    assert Alternation(AUDIO).walk(request.tokens, Place.AUDIO) is Place.TEXT


@pytest.mark.parametrize("ids", [(5, 5, 24, 2), (30, 21, 24, 2), (20, 21, 24, 0), (-1, 21, 24, 2)])
def test_audio_ids_that_cannot_be_are_an_error(ids):
    with pytest.raises(ConfigError, match="above two different marks"):
        AudioIds(*ids)


# ---- features in the prompt


def test_features_stand_where_the_prompt_says_whatever_the_id_there(monkeypatch):
    is_heard = torch.tensor([False, True, True, False, True, False])
    heard = torch.randn(3, MODEL.config.hidden_size, generator=torch.Generator().manual_seed(1))
    options = {"is_heard": is_heard, "heard": heard, "schedule": VANILLA}
    said = say(stream([2, 9, 9, 3, 9, 4], **options))[0]
    assert said == say(stream([2, 5, 6, 3, 7, 4], **options))[0]
    assert said != say(stream([2, 9, 9, 3, 9, 4], schedule=VANILLA))[0]
    monkeypatch.setattr(interleaved, "PIECE", 2)
    assert said == say(stream([2, 9, 9, 3, 9, 4], **options))[0]


def test_features_without_places_are_an_error():
    with pytest.raises(InputError, match="2 places for features of audio, 3 were given"):
        say(stream([2, 3], is_heard=torch.tensor([True, True]), heard=torch.zeros(3, 32)))


# ---- ends and errors


def test_an_answer_ends_with_an_eos_of_backbone_or_module():
    said = say(stream(limit=40, schedule=TURBO))[0]
    for last in (said[0], said[2]):
        request = stream(limit=40, schedule=TURBO)
        say(request, eos=(last,))
        assert (request.tokens, request.finish) == (said[: said.index(last) + 1], "end")


def test_an_answer_does_not_end_too_early():
    last = say(stream(limit=1))[0][0]
    request = stream(sampling=TokenSampling(max_new_tokens=30, min_new_tokens=9))
    say(request, eos=(last,))
    assert last not in request.tokens[:9]


@pytest.mark.parametrize("is_verified", [False, True])
def test_an_answer_ends_where_the_context_does(is_verified):
    small = toy_vita(config=toy_vita_config(context=20))
    request = InterleavedStream(torch.arange(5), TURBO, is_verified=is_verified)
    say(request, model=small)
    assert (len(request.tokens), request.finish) == (15, "limit")


def test_a_prompt_that_fills_the_context_is_an_error():
    small = toy_vita(config=toy_vita_config(context=20))
    batch = InterleavedBatch(small)
    with pytest.raises(CapacityError, match="takes 20 of the context's 20 positions"):
        batch.join(stream(range(20)))
    assert not batch.can_speak


@pytest.mark.parametrize("token", [-1, VOCABULARY])
def test_an_id_outside_the_vocabulary_is_an_error_that_says_where(token):
    with pytest.raises(InputError, match=f"id {token} at position 2 .* vocabulary of {VOCABULARY} ids"):
        say(stream([1, 2, token]))


@pytest.mark.parametrize("prompt", [torch.zeros(0, dtype=torch.long), torch.zeros(1, 3, dtype=torch.long)])
def test_a_prompt_is_a_row_of_ids(prompt):
    with pytest.raises(InputError, match="a prompt is a row of ids"):
        InterleavedBatch(MODEL).join(InterleavedStream(prompt))


def test_a_grammar_about_other_ids_is_an_error():
    other = AudioIds(BEGIN, END, FIRST_AUDIO, CODES - 1)
    with pytest.raises(InputError, match="the grammar is about"):
        InterleavedBatch(MODEL, audio=AUDIO).join(stream(grammar=Alternation(other)))


def test_ids_that_end_must_be_in_the_vocabulary():
    with pytest.raises(InputError, match="must lie in the vocabulary"):
        InterleavedBatch(MODEL, (VOCABULARY,))
    with pytest.raises(InputError, match="must lie in the vocabulary"):
        InterleavedBatch(MODEL, audio=AudioIds(BEGIN, END, FIRST_AUDIO, 100))


# ---- what a checkpoint asks for


def test_a_checkpoint_says_how_it_wants_to_be_used(tmp_path):
    folder = write_toy_vita(tmp_path)
    found = GenerationDefaults.read(folder, K)
    assert found == GenerationDefaults(Schedule.of([1, 4, 2, 3]), TokenSampling(repetition_penalty=1.05), (EOS,))
    text = '{"do_sample": true, "temperature": 0.7, "top_k": 20, "top_p": 0.8, "eos_token_id": 3}'
    (folder / "generation_config.json").write_text(text)
    sampled = TokenSampling(temperature=0.7, top_k=20, top_p=0.8)
    assert GenerationDefaults.read(folder, K) == GenerationDefaults(Schedule(((1, K),)), sampled, (3,))
    (folder / "generation_config.json").unlink()
    assert GenerationDefaults.read(folder, 0) == GenerationDefaults(Schedule(((1, 0),)), TokenSampling(), ())


@pytest.mark.parametrize(
    "text", ['{"repetition_penalty": -1}', '{"mtp_inference_mode": [1]}', '{"eos_token_id": "end"}']
)
def test_a_generation_file_that_cannot_be_meant_is_an_error_that_names_it(tmp_path, text):
    folder = write_toy_vita(tmp_path)
    (folder / "generation_config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"generation_config\.json"):
        GenerationDefaults.read(folder, K)
