"""What a stage learns from: files, their shares, their order."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.errors import ConfigError, InputError
from loquor.training.vita.mixture import Mixture, Share, read_shares


def file_of(folder: Path, name: str, count: int) -> Path:
    path = folder / name
    lines = [
        {"messages": [{"role": "user", "content": f"{name} {i}"}, {"role": "assistant", "content": "Yes."}]}
        for i in range(count)
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def contents(mixture: Mixture) -> list[str]:
    return [str(mixture[i].turns[0].parts[0]) for i in range(len(mixture))]


@given(total=st.integers(0, 300), ratio=st.floats(0, 4), most=st.none() | st.integers(0, 500))
def test_a_share_is_never_more_than_asked_for(total: int, ratio: float, most: int | None) -> None:
    count = Share(Path("a"), ratio, most).count(total)

    assert count <= total * ratio and (most is None or count <= most)
    assert count == int(total * ratio) or count == most


def test_a_ratio_above_one_goes_through_a_file_again(tmp_path: Path) -> None:
    mixture = Mixture([Share(file_of(tmp_path, "a", 10), 2.5)], seed=0)

    times = Counter(contents(mixture))
    assert len(times) == 10 and set(times.values()) == {2, 3} and times.total() == 25


def test_every_file_is_a_source_and_order_follows_from_the_seed(tmp_path: Path) -> None:
    shares = [Share(file_of(tmp_path, "a", 20), 0.5), Share(file_of(tmp_path, "b", 20), 1.0, most=5)]

    one, same, other = (contents(Mixture(shares, seed)) for seed in (1, 1, 2))

    assert one == same != other
    assert Counter(text[0] for text in one) == {"a": 10, "b": 5} and len(set(one)) == 15
    mixture = Mixture(shares, 1)
    assert all("ab"[mixture.source(i)] == text[0] for i, text in enumerate(one))
    assert sorted(one) != one, "mixed"


def test_a_missing_file_is_a_warning_and_nothing_at_all_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = Share(tmp_path / "gone.jsonl")
    with caplog.at_level(logging.WARNING):
        assert len(Mixture([gone, Share(file_of(tmp_path, "a", 3))], seed=0)) == 3
    assert "gone.jsonl does not exist" in caplog.text
    with pytest.raises(InputError, match=r"no conversations in .*gone\.jsonl"):
        Mixture([gone], seed=0)


def test_the_published_form_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mix.yaml"
    path.write_text(
        "xlsx_sample_num: 5\ndataset:\n  A:\n    ratio: 0.5\n    num: 7\n    data_paths: [a.jsonl, /b.json]\n"
        "  Off:\n    ratio: 0\n    num: 9\n    data_paths: [c.jsonl]\n  Plain:\n    data_paths: [d.jsonl]\n"
    )

    assert read_shares(path) == [
        Share(tmp_path / "a.jsonl", 0.5, 7),
        Share(Path("/b.json"), 0.5, 7),
        Share(tmp_path / "d.jsonl"),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "describes no data sets"),
        ("dataset: []", "describes no data sets"),
        ("datasets: {a: {data_paths: [x]}}", "describes no data sets"),
        ("dataset: {a: {ratio: 1}}", "a must have data_paths"),
        ("dataset: {a: {data_paths: [x], rate: 1}}", "a must have data_paths, and may have ratio and num"),
        ("dataset: {a: {data_paths: [x], ratio: .inf}}", "a.ratio must be a number"),
        ("dataset: {a: {data_paths: [x], ratio: -1}}", "a.ratio must be a number"),
        ("dataset: {a: {data_paths: [x], num: 1.5}}", "a.num must be a whole number"),
        ("dataset: {a: {data_paths: x}}", "a.data_paths must be a list"),
        ("dataset: {a: ", "cannot be read"),
    ],
)
def test_a_description_that_says_something_else_is_refused(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "mix.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=complaint):
        read_shares(path)
