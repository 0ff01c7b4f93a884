import json

import numpy as np
import pytest

from browser import needs_browser, opened, title_of
from evaluation.systems import case, report, write_recordings
from loquor.errors import InputError
from loquor.evaluation.blind import Key, count_answers, write_test
from loquor.evaluation.performance import Cache, Performance

NAMES = tuple(f"{i:02}" for i in range(12))
RATE_HZ = 24_000


def tones(hertz, count):
    """So many tones, which tell their system and item apart."""
    t = np.arange(RATE_HZ // 10) / RATE_HZ
    return [(0.1 * np.sin(2 * np.pi * (hertz + 10 * i) * t)).astype(np.float32) for i in range(count)]


@pytest.fixture
def systems(tmp_path):
    first = write_recordings(tmp_path / "one-of-a-kind", tones(200, 12), NAMES)
    return first, write_recordings(tmp_path / "another-kind", tones(900, 12), NAMES)


def answer(key, path, sheet, choose):
    """The file of a listener who chooses by the pair: first, second or same."""
    sides = {}
    for number, pair in enumerate(key.pairs):
        chosen = choose(number)
        side = "left" if (chosen == "first") == pair.first_is_left else "right"
        sides[str(number)] = "same" if chosen == "same" else side
    path.write_text(json.dumps({"test": key.test, "sheet": sheet, "answers": sides}))
    return path


def test_the_page_does_not_tell_which_system_is_which(systems, tmp_path):
    page = tmp_path / "test.html"
    key = write_test(*systems, page)
    text = page.read_text(encoding="utf-8")
    assert "kind" not in text
    assert len({pair.first_is_left for pair in key.pairs}) == 2  # else once in 2048 runs
    assert [pair.id for pair in key.pairs] != list(NAMES)
    assert write_test(*systems, page).pairs != key.pairs


def test_a_seed_draws_the_same_again(systems, tmp_path):
    draws = [write_test(*systems, tmp_path / "test.html", count=5, seed=3) for _ in range(2)]
    assert draws[0] == draws[1]
    assert len(draws[0].pairs) == 5


def test_a_preference_of_all_listeners_is_found_whatever_the_sides(systems, tmp_path):
    key = write_test(*systems, tmp_path / "test.html")
    key.save(tmp_path / "test.key.json")
    key = Key.read(tmp_path / "test.key.json")
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    found = count_answers(key, [answer(key, p, p.stem, lambda number: "second" if number else "same") for p in paths])
    assert (found.listeners, found.counts) == (2, {"first": 0, "same": 2, "second": 22})
    assert found.lead.value == pytest.approx(11 / 12)
    assert found.lead.p < 0.01


def test_answers_by_the_toss_of_a_coin_prefer_nobody(systems, tmp_path):
    key = write_test(*systems, tmp_path / "test.html")
    results = [answer(key, tmp_path / "a.json", "a", lambda number: ("first", "second")[number % 2])]
    found = count_answers(key, results)
    assert (found.lead.value, found.lead.p) == (0, 1)
    assert found.lead.low < 0 < found.lead.high


def test_what_cannot_be_counted_is_refused(systems, tmp_path):
    key, other = (write_test(*systems, tmp_path / "test.html") for _ in range(2))
    good = answer(key, tmp_path / "a.json", "a", lambda number: "first")
    for results, fault in (
        ([answer(other, tmp_path / "b.json", "b", lambda number: "first")], "another test"),
        ([good, answer(key, tmp_path / "c.json", "a", lambda number: "first")], "same answers"),
        ([tmp_path / "none.json"], "no result"),
        ([], "no answers"),
    ):
        with pytest.raises(InputError, match=fault):
            count_answers(key, results)
    good.write_text(json.dumps({"test": key.test, "sheet": "a", "answers": {"99": "left"}}))
    with pytest.raises(InputError, match="not asked"):
        count_answers(key, [good])


def test_systems_with_nothing_in_common_cannot_be_compared(systems, tmp_path):
    with pytest.raises(InputError, match="no item in common"):
        write_test(systems[0], write_recordings(tmp_path / "new", tones(1, 1), ["else"]), tmp_path / "test.html")


@needs_browser
def test_a_listener_answers_in_a_browser_and_the_key_knows_whom(systems, tmp_path):
    cache = Cache(tmp_path / "cache")
    for name, tone in zip(NAMES, tones(200, 12), strict=True):
        cache.save(f"key{name}", Performance(seconds=0.1), tone)
    report([case(name, text=f"Sentence {name}.") for name in NAMES], cache=cache.folder).save(tmp_path / "report.json")
    page = tmp_path / "test.html"
    key = write_test(tmp_path / "report.json", systems[1], page, count=3)
    script = """
      const lengths = [...document.querySelectorAll("audio")].map((player) => player.src.slice(0, 15));
      const choose = () => {
        const left = document.querySelector("article:not([hidden]) [data-side=left]");
        left.click();
        left.click(); // a nervous finger
      };
      for (let i = 1; i <= 3; i++) setTimeout(choose, 1000 * i);
      setTimeout(() => {
        const state = document.getElementById("state").textContent;
        document.title = JSON.stringify({ ...JSON.parse(result()), lengths, state });
      }, 4200);
    """
    result = json.loads(title_of(opened(page, script)))
    assert result.pop("lengths") == ["data:audio/flac"] * 6
    assert "save your answers" in result.pop("state")
    (tmp_path / "answers.json").write_text(json.dumps(result))
    found = count_answers(key, [tmp_path / "answers.json"])
    lefts = sum(pair.first_is_left for pair in key.pairs)
    assert found.counts == {"first": lefts, "same": 0, "second": 3 - lefts}
