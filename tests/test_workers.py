import os

import pytest

from doubling import DEADLY, doubler
from loquor.errors import InputError, LoquorError
from loquor.workers import each


def test_one_worker_is_this_process():
    assert list(each(doubler, [1, 2], 1)) == [(os.getpid(), 2), (os.getpid(), 4)]
    assert list(each(doubler, [], 4)) == []
    with pytest.raises(InputError, match="negative"):
        list(each(doubler, [-1], 1))


def test_several_processes_give_all_results():
    results = list(each(doubler, [1, 2, 3], 2))
    assert sorted(double for _, double in results) == [2, 4, 6]
    assert os.getpid() not in {place for place, _ in results}


def test_a_process_that_is_killed_is_told_of():
    with pytest.raises(LoquorError, match="ended from outside"):
        list(each(doubler, [DEADLY, 1], 2))
