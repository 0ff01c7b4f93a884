"""Labels of speakers against embeddings of their voices."""

from __future__ import annotations

import numpy as np
import pytest

from loquor.evaluation.speaker_labels import examine_labels

SIZE, SPREAD, WIDE = 256, 0.025, 0.04  # noise in each dimension: two of a voice are 0.86 alike, as recordings are


def voice(number, count, seed=0, spread=SPREAD):
    """[count, 256] recordings of one speaker; voices of different numbers share about half."""
    rng = np.random.default_rng([number, seed])
    common, own = np.random.default_rng(99).normal(size=SIZE), np.random.default_rng([number]).normal(size=SIZE)
    middle = (common + own) / np.linalg.norm(common + own)
    drawn = middle + spread * rng.normal(size=(count, SIZE))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def test_true_labels_are_found_to_be_true():
    heard = np.concatenate([voice(i, 8) for i in range(3)])
    faults = examine_labels(heard, ["a"] * 8 + ["b"] * 8 + ["c"] * 8)
    assert (faults.misplaced, faults.mixed, faults.same) == ((), {}, ())
    assert 0.85 < faults.typical < 1


def test_a_recording_under_another_label_is_named_with_the_nearer_one():
    heard = np.concatenate([voice(i, 8) for i in range(2)])
    (found,) = examine_labels(heard, ["a"] * 7 + ["b"] * 9).misplaced
    assert (found.index, found.nearer) == (7, "a")
    assert found.other > found.own + 0.05
    assert examine_labels(heard, ["a"] * 7 + ["b"] * 9).mixed == {}


def test_a_label_of_two_voices_is_told_with_the_smaller_part():
    heard = np.concatenate([voice(0, 5), voice(1, 3), voice(2, 6)])
    faults = examine_labels(heard, ["a"] * 8 + ["b"] * 6)
    (alike, smaller) = faults.mixed["a"]
    assert (list(faults.mixed), smaller) == (["a"], (5, 6, 7))
    assert alike < 0.75


def test_the_only_label_may_hold_two_voices_too():
    heard = np.concatenate([voice(0, 9), voice(1, 1)])
    assert examine_labels(heard, [""] * 10).mixed[""][1] == (9,)
    assert examine_labels(heard[:9], [""] * 9).mixed == {}


def test_two_labels_of_one_voice_are_told_once():
    heard = np.concatenate([voice(0, 8), voice(0, 8, seed=1), voice(1, 8)])
    faults = examine_labels(heard, ["a"] * 8 + ["b"] * 8 + ["c"] * 8)
    assert (faults.same, faults.misplaced) == ((("a", "b"),), ())


def test_recordings_of_labels_of_one_voice_are_not_blamed_for_being_nearer_to_the_other():
    heard = np.concatenate([voice(0, 4, seed=1, spread=WIDE), voice(0, 4, seed=51, spread=WIDE)])
    faults = examine_labels(heard, ["a"] * 4 + ["b"] * 4)
    assert (faults.same, faults.misplaced) == ((("a", "b"),), ())


@pytest.mark.parametrize("count", [1, 2])
def test_labels_of_few_recordings_are_not_judged(count):
    heard = np.concatenate([voice(0, 8), voice(0, count, seed=1)])
    faults = examine_labels(heard, ["a"] * 8 + ["b"] * count)
    assert (faults.misplaced, faults.mixed, faults.same) == ((), {}, ())


def test_the_order_of_recordings_changes_nothing():
    heard, labels = np.concatenate([voice(0, 6), voice(1, 6)]), np.array(["a"] * 5 + ["b"] * 7)
    order = np.random.default_rng(0).permutation(12)
    (found,), (again,) = (
        examine_labels(h, list(n)).misplaced for h, n in ((heard, labels), (heard[order], labels[order]))
    )
    assert order[again.index] == found.index == 5
    assert again.own == pytest.approx(found.own, abs=1e-5)
