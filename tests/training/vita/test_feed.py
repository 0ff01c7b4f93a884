"""From conversations on disk to rows: bad ones are counted, and an interrupted pass goes on with the same rows."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from loquor.audio.io import write as write_audio
from loquor.errors import AudioError, InputError
from loquor.models.vita.prompt import Codes, Features
from loquor.models.vita.speech_features import FrontEnd
from loquor.training.vita.conversations import Conversation, Turn
from loquor.training.vita.feed import Ears, features_of
from loquor.training.vita.packing import PackedRow
from training.vita.toy_feed import VOCABULARY, feed_of, write


def answers(rows: list[PackedRow]) -> Counter[str]:
    texts = [VOCABULARY.text(row.labels[row.labels >= 0].tolist()) for row in rows]
    return Counter(line for text in texts for line in text.splitlines())


def test_every_conversation_is_learned_from_once_a_pass(tmp_path: Path) -> None:
    feed = feed_of([write(tmp_path, "a", ["3.wav", "9.wav"] * 10), write(tmp_path, "b", ["5.wav"] * 5)])

    first, second = list(feed), list(feed)

    wanted = Counter([*(f"a {i}" for i in range(20)), *(f"b {i}" for i in range(5))])
    assert answers(first) == answers(second) == wanted
    assert len(first) < 25, "packed"
    assert feed.tally.seen == 50 and not feed.tally.skipped


def test_processes_share_a_pass_among_them(tmp_path: Path) -> None:
    paths = [write(tmp_path, "a", ["3.wav"] * 11)]

    parts = [answers(list(feed_of(paths, part=(i, 3)))) for i in range(3)]

    assert sum(parts, Counter()) == Counter(f"a {i}" for i in range(11))
    assert [part.total() for part in parts] == [4, 4, 3]


def test_what_cannot_be_used_is_skipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    feed = feed_of([write(tmp_path, "a", ["3.wav"] * 17 + ["gone.wav", "", "200.wav"])], tolerated=0.2)

    with caplog.at_level(logging.WARNING):
        assert answers(list(feed)).total() == 17

    assert feed.tally.skipped == {"AudioError": 1, "InputError": 1, "too long": 1}
    assert (
        str(feed.tally)
        == "3 of 20 conversations were skipped ("
        + ", ".join(f"{n} {kind}" for kind, n in feed.tally.skipped.most_common())
        + ")"
    )
    assert caplog.text.count("skipped:") == 3 and "gone.wav does not exist" in caplog.text


def test_a_run_stops_when_too_many_are_skipped(tmp_path: Path) -> None:
    few = write(tmp_path, "few", ["3.wav"] * 9 + ["gone.wav"])
    many = write(tmp_path, "many", ["3.wav"] * 600 + ["gone.wav"] * 400)

    with pytest.raises(InputError, match=r"1 of 10 conversations were skipped .*more than the 5% that may be"):
        list(feed_of([few]))
    feed = feed_of([many])
    with pytest.raises(InputError, match="conversations were skipped"):
        list(feed)
    assert 100 <= feed.tally.seen < 110, "early, not after a pass of days"
    assert len(list(feed_of([few], tolerated=0.1))) > 0


def test_a_pass_in_which_nothing_can_be_used_is_an_error_whatever_is_tolerated(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 of 2 conversations were skipped"):
        list(feed_of([write(tmp_path, "a", ["gone.wav"] * 2)], tolerated=1.0))


@pytest.mark.parametrize("done", [0, 1, 4])
def test_an_interrupted_pass_goes_on_with_the_same_rows(done: int, tmp_path: Path) -> None:
    paths = [write(tmp_path, "a", [f"{n}.wav" for n in range(1, 40)]), write(tmp_path, "b", ["7.wav"] * 20)]
    whole = list(feed_of(paths))
    first, later = feed_of(paths), feed_of(paths)

    rows = iter(first)
    for _ in range(done):
        next(rows)
    later.resume(json.loads(json.dumps(first.place())))
    rest = list(later)

    assert len(rest) == len(whole) - done > 0
    for row, wanted in zip(rest, whole[done:], strict=True):
        assert torch.equal(row.ids, wanted.ids) and torch.equal(row.labels, wanted.labels) and row.ends == wanted.ends
    assert later.tally.seen == 59


def test_plus_models_hear_features_and_say_codes(tmp_path: Path) -> None:
    ears = Ears(lambda path: [1, 2], lambda path: torch.zeros(3, 560))
    spoken = Conversation(
        (Turn("system", ("Voice: ", tmp_path)), Turn("user", (tmp_path,)), Turn("assistant", (tmp_path,)))
    )

    system, user, assistant = ears.messages(spoken)

    assert isinstance(system.parts[1], Features) and isinstance(user.parts[0], Features)
    assert assistant.parts == (Codes((1, 2)),)


def test_features_are_those_of_the_recording_at_16_khz(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", np.sin(np.arange(24_000) / 9).astype(np.float32) * 0.3, 24_000)
    hear = features_of(FrontEnd(torch.zeros(560), torch.ones(560)))

    assert hear(tmp_path / "a.wav").shape == (17, 560)
    with pytest.raises(AudioError, match=r"b\.wav does not exist"):
        hear(tmp_path / "b.wav")
