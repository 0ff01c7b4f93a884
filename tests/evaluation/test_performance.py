import numpy as np
import pytest

from loquor.evaluation.performance import Cache, Performance, hash_of

SOUND = (0.5 * np.sin(np.arange(2400) / 10)).astype(np.float32)
FACTS = Performance(seconds=0.1, finish="runaway", first_audio_ms=12.5, gaps_ms=(1.0, 2.5), stall_ms=3.0)


def test_what_is_kept_comes_back(tmp_path):
    cache = Cache(tmp_path / "new")
    cache.save("abc", FACTS, SOUND)
    assert cache.performance("abc") == FACTS
    assert np.abs(cache.sound("abc") - SOUND).max() < 1 / 32768


def test_what_was_never_kept_is_none_and_silent(tmp_path):
    cache = Cache(tmp_path)
    assert (cache.performance("abc"), cache.facts("abc", "scores"), len(cache.sound("abc"))) == (None, None, 0)


@pytest.mark.parametrize("gone", ["*.wav", "*.json"])
def test_half_a_performance_is_none(tmp_path, gone):
    cache = Cache(tmp_path)
    cache.save("abc", FACTS, SOUND)
    next(tmp_path.rglob(gone)).unlink()
    assert cache.performance("abc") is None


def test_damaged_facts_are_none(tmp_path):
    cache = Cache(tmp_path)
    cache.save_facts("abc", "scores", {"measures": {}})
    next(tmp_path.rglob("*.json")).write_text('{"meas')
    assert cache.facts("abc", "scores") is None


def test_a_hash_tells_values_apart_and_not_the_order_of_names():
    assert hash_of({"a": 1, "b": 2}) == hash_of({"b": 2, "a": 1})
    assert len({hash_of(*values) for values in ((1,), ("1",), (1, None), ([1],), (None, 1))}) == 5
