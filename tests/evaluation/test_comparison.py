import pytest

from evaluation.systems import case, report
from loquor.errors import InputError
from loquor.evaluation.comparison import compare


def systems(count=12):
    """A system, and one that is worse and slower in every item."""
    before = [case(f"{i:02}", errors=i % 2, mos=3.0 + i / 50, first_audio_ms=100.0) for i in range(count)]
    after = [case(f"{i:02}", errors=1 + i % 2, mos=3.0 + i / 50, first_audio_ms=110.0 + i) for i in range(count)]
    return report(before), report(after, model="two")


def test_what_differs_in_every_item_is_significant_and_what_does_not_is_not():
    found = {contrast.name: contrast for contrast in compare(*systems()).contrasts}
    assert found["wer"].difference == pytest.approx(0.25)
    assert (found["wer"].first, found["wer"].second) == pytest.approx((0.125, 0.375))
    assert {name for name, contrast in found.items() if contrast.is_significant} == {"wer", "first_audio_ms"}
    assert found["mos"].p == 1


def test_the_other_way_round_every_difference_turns():
    first, second = systems()
    there = {c.name: (c.difference, c.p) for c in compare(first, second).contrasts}
    back = {c.name: (-c.difference, c.p) for c in compare(second, first).contrasts}
    assert there == {name: pytest.approx(values) for name, values in back.items()}


def test_only_common_items_are_compared_and_what_is_unfair_is_noted():
    first, second = report([case("a"), case("b")], workers=2), report([case("b"), case("c", errors=1)], model="two")
    found = compare(first, second)
    assert {contrast.count for contrast in found.contrasts} == {1}
    assert any("1 items are not in both" in note for note in found.notes)
    assert any("workers: 2" in note for note in found.notes)


def test_reports_of_other_texts_have_nothing_in_common():
    with pytest.raises(InputError, match="no item in common"):
        compare(report([case("a")]), report([case("a", text="four other words here")]))


def test_among_many_figures_a_weak_one_counts_for_less():
    found = {contrast.name: contrast for contrast in compare(*systems(6)).contrasts}
    assert found["wer"].p > 0.05  # alone it would have 2 in 2 ** 6
