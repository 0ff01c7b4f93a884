"""A plan says every character once, in order, in takes and scenes that a model can speak."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.engine.podcast.plan import (
    CARRIED_S,
    LONGEST_TAKE_S,
    SCENE_SPEAKERS,
    ChapterSummary,
    Plan,
    Scene,
    SpeakerSummary,
    carried,
    pieces,
    plan,
    summary,
)
from loquor.text.script import Script, Turn, parse_script
from loquor.text.timing import estimated_s

FRAGMENTS = st.sampled_from(
    [
        "Yes. ",
        "No! ",
        "Mr. Lee, ",
        "and so ",
        "why? ",
        "12:30 ",
        "你好，世界。",
        "今天我们谈语音合成",
        "😀",
        "e\u0301",
        "a" * 50,
        "   ",
    ]
)
TEXTS = st.lists(FRAGMENTS, min_size=1, max_size=60).map("".join).map(str.strip).filter(bool)
TURNS = st.builds(
    Turn,
    speaker=st.sampled_from([f"Speaker {i}" for i in range(7)]),
    text=TEXTS,
    line=st.just(1),
    pause_before_s=st.sampled_from([0.0, 0.5]),
    chapter=st.sampled_from([None, "One"]),
)
SCRIPTS = st.lists(TURNS, min_size=1, max_size=20).map(lambda turns: Script(tuple(turns)))
LIMITS = st.sampled_from([1.5, 4.0, LONGEST_TAKE_S])


def covers(parts: list[str], text: str) -> bool:
    """Whether the parts stand in the text one after the other with only space between."""
    for part in parts:
        text = text.lstrip()
        if not text.startswith(part):
            return False
        text = text[len(part) :]
    return not text.strip()


@given(SCRIPTS, LIMITS)
def test_every_turn_is_said_once_and_in_order(script: Script, longest_s: float) -> None:
    takes = plan(script, longest_s).takes
    assert [take.index for take in takes] == list(range(len(takes)))
    for number, turn in enumerate(script.turns):
        own = [take for take in takes if take.turn == number]
        assert covers([take.text for take in own], turn.text)
        assert [take.piece for take in own] == list(range(len(own)))
        assert {take.speaker for take in own} == {turn.speaker}
        assert (own[0].pause_before_s, own[0].chapter) == (turn.pause_before_s, turn.chapter)
        assert all((take.pause_before_s, take.chapter) == (0, None) for take in own[1:])
    assert [take.turn for take in takes] == sorted(take.turn for take in takes)


@given(SCRIPTS, LIMITS)
def test_no_take_is_longer_than_asked(script: Script, longest_s: float) -> None:
    for take in plan(script, longest_s).takes:
        assert take.estimated_s == estimated_s(take.text) <= longest_s + 1e-9
        assert take.text == take.text.strip() != ""


@given(SCRIPTS, LIMITS)
def test_scenes_follow_each_other_with_four_speakers_at_most(script: Script, longest_s: float) -> None:
    planned = plan(script, longest_s)
    assert (planned.scenes[0].start, planned.scenes[-1].stop) == (0, len(planned.takes))
    assert all(before.stop == after.start for before, after in pairwise(planned.scenes))
    for number, scene in enumerate(planned.scenes):
        takes = planned.takes[scene.start : scene.stop]
        assert {take.scene for take in takes} == {number}
        assert scene.speakers == tuple(dict.fromkeys(take.speaker for take in takes))
        assert 1 <= len(scene.speakers) <= SCENE_SPEAKERS


@given(SCRIPTS, LIMITS)
def test_a_scene_ends_only_when_a_fifth_speaker_comes(script: Script, longest_s: float) -> None:
    planned = plan(script, longest_s)
    for before, after in pairwise(planned.scenes):
        assert len(before.speakers) == SCENE_SPEAKERS
        assert planned.takes[after.start].speaker not in before.speakers


@given(SCRIPTS, st.data(), st.floats(0, 100))
def test_a_take_carries_on_from_what_was_said_just_before_by_its_cast(
    script: Script, data: st.DataObject, budget_s: float
) -> None:
    planned = plan(script)
    durations = [data.draw(st.floats(0, 50)) for _ in planned.takes]
    for take in planned.takes:
        cast = planned.scenes[take.scene].speakers
        found = carried(planned, take.index, durations[: take.index], budget_s)
        assert found.stop == take.index and found.step == 1
        assert all(planned.takes[i].speaker in cast for i in found)
        assert sum(durations[i] for i in found) <= budget_s + 1e-6
        if found.start > 0:  # and from no less than that
            before = planned.takes[found.start - 1]
            total = sum(durations[i] for i in range(found.start - 1, found.stop))
            assert before.speaker not in cast or total > budget_s - 1e-6


def test_the_take_before_is_carried_even_if_it_is_as_long_as_takes_get() -> None:
    planned = plan(Script((Turn("A", "Yes. " * 400, 1),)))
    durations = [1.2 * take.estimated_s for take in planned.takes]
    assert len(planned.takes) > 2
    assert CARRIED_S > 1.2 * LONGEST_TAKE_S
    assert all(len(carried(planned, i, durations)) >= 1 for i in range(1, len(planned.takes)))


@pytest.mark.parametrize(
    ("text", "longest_s", "cut"),
    [
        ("One two three. Four five six. Seven.", 2.2, ["One two three.", "Four five six. Seven."]),
        ("Mr. Lee went, and he ran, and he sat.", 1.1, ["Mr. Lee went,", "and he ran,", "and he sat."]),
        ("one two three four", 0.8, ["one two", "three four"]),
        ("abcdefgh", 0.3, ["abcd", "efgh"]),
        ("你好。世界。再见。", 1.0, ["你好。", "世界。", "再见。"]),
        ("Short.", 45, ["Short."]),
    ],
)
def test_a_long_text_is_cut_where_a_speaker_would_breathe(text: str, longest_s: float, cut: list[str]) -> None:
    assert pieces(text, longest_s) == cut


def test_pieces_are_even() -> None:
    sentences = "This is one sentence of some length. " * 25  # 66 s
    lengths = [estimated_s(piece) for piece in pieces(sentences.strip(), LONGEST_TAKE_S)]
    assert len(lengths) == 2 and max(lengths) - min(lengths) < 3


def test_marks_stay_with_their_letters() -> None:
    assert all(part[0] == "e" for part in pieces("e\u0301" * 50, 0.5))


def test_a_summary_says_who_speaks_how_long() -> None:
    text = "[chapter: Start]\nAnn: One two three.\n[pause 2s]\nBob: Four.\n[chapter: End]\nAnn: Five six."
    script = parse_script(text)
    found = summary(script, {"Ann": "ann.wav"})
    ann, bob = found.speakers
    assert (ann.name, ann.turns, ann.words, ann.voice) == ("Ann", 2, 5, "ann.wav")
    assert bob == SpeakerSummary("Bob", 1, 1, estimated_s("Four."), None)
    end_s = estimated_s("One two three.") + 2 + estimated_s("Four.")
    assert found.chapters == (ChapterSummary("Start", 0.0), ChapterSummary("End", end_s))
    assert found.estimated_s == pytest.approx(ann.estimated_s + bob.estimated_s + found.pauses_s)
    assert (found.turns, found.takes, found.words, found.pauses_s) == (3, 3, 6, 2.0)
    assert json.loads(json.dumps(found.as_dict()))["scenes"] == [["Ann", "Bob"]]


def test_five_speakers_are_two_scenes() -> None:
    planned = plan(parse_script("\n".join(f"Speaker {i}: Hello." for i in (1, 2, 3, 4, 1, 5, 2))))
    assert isinstance(planned, Plan)
    assert planned.scenes == (
        Scene(("Speaker 1", "Speaker 2", "Speaker 3", "Speaker 4"), 0, 5),
        Scene(("Speaker 5", "Speaker 2"), 5, 7),
    )
    assert carried(planned, 6, [1.0] * 6) == range(5, 6)  # Speaker 1 is not in this scene
