"""How a token is chosen: penalty, temperature, top-k, top-p, and draws that follow from seed and number alone."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loquor.engine.sampling import TokenSampling, choose, penalise
from loquor.errors import InputError


def drawn(logits, number=0, **options):
    return int(choose(torch.tensor([logits]), [TokenSampling(**options)], [number])[0])


def shares(logits, tokens=4000, **options):
    """How often each column is drawn."""
    rows = torch.tensor(logits).expand(tokens, -1)
    picks = choose(rows, [TokenSampling(**options)] * tokens, range(tokens))
    counts = Counter(picks.tolist())
    return [counts[i] / tokens for i in range(len(logits))]


def test_without_temperature_the_likeliest_is_chosen():
    assert drawn([0.1, 3.0, 2.9], top_k=2, seed=5) == 1


def test_draws_are_as_likely_as_the_softmax_says():
    logits = [1.0, 0.0, 2.0, -1.0]
    found = shares(logits, temperature=0.7)
    expected = torch.tensor(logits).div(0.7).softmax(0).tolist()
    assert found == pytest.approx(expected, abs=0.03)  # four standard deviations of 4000 draws


def test_top_k_leaves_the_k_likeliest():
    found = shares([1.0, 0.0, 2.0, -1.0], temperature=1.0, top_k=2)
    assert found[1] == found[3] == 0
    assert found[2] == pytest.approx(1 / (1 + math.exp(-1)), abs=0.03)


def test_top_p_leaves_the_likeliest_that_together_reach_it():
    probability = [0.5, 0.3, 0.15, 0.05]
    logits = [math.log(p) for p in probability]
    assert [share > 0 for share in shares(logits, temperature=1.0, top_p=0.7)] == [True, True, False, False]
    assert [share > 0 for share in shares(logits, temperature=1.0, top_p=0.9)] == [True, True, True, False]
    assert shares(logits, temperature=1.0, top_p=0.0) == [1, 0, 0, 0]


def test_the_penalty_makes_what_was_seen_less_likely():
    logits, seen = torch.tensor([[2.0, -2.0, 2.0]]), torch.tensor([[True, True, False]])
    assert penalise(logits, seen, torch.tensor([2.0])).tolist() == [[1.0, -4.0, 2.0]]


def test_what_is_not_allowed_is_never_drawn():
    found = shares([1.0, -math.inf, 0.0], temperature=5.0, top_k=3)
    assert found[1] == 0 and min(found[0], found[2]) > 0


@given(
    st.lists(st.floats(-20, 20), min_size=2, max_size=30),
    st.floats(0.01, 50),
    st.integers(0, 40),
    st.floats(0, 1),
    st.integers(0, 2**63 - 1),
)
def test_a_row_is_drawn_the_same_whoever_shares_the_batch(logits, temperature, top_k, top_p, seed):
    mine = TokenSampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    other = TokenSampling(temperature=1.0, top_k=3, seed=1)
    row = torch.tensor(logits, dtype=torch.float32)
    alone = choose(row[None], [mine], [7])[0]
    together = choose(torch.stack([row.flip(0), row, row]), [other, mine, TokenSampling()], [1, 7, 2])
    assert together[1] == alone
    assert row[together[2]] == row.max()
    kept = sorted(logits, reverse=True)[: top_k or None]
    assert float(row[alone]) >= min(torch.tensor(kept).tolist())


def test_seed_and_number_decide():
    draws = {TokenSampling(seed=seed).draw(number) for seed in range(10) for number in range(10)}
    assert len(draws) == 100 and all(0 <= draw < 1 for draw in draws)
    assert TokenSampling(seed=3).draw(4) == TokenSampling(seed=3, temperature=2.0).draw(4)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": "hot"},
        {"top_k": -1},
        {"top_k": 1.5},
        {"top_p": 1.1},
        {"repetition_penalty": 0.0},
        {"min_new_tokens": -1},
        {"max_new_tokens": 0},
        {"seed": -1},
        {"seed": True},
    ],
)
def test_a_value_that_makes_no_sense_is_an_error_that_names_it(options):
    with pytest.raises(InputError, match=next(iter(options))):
        TokenSampling(**options)
