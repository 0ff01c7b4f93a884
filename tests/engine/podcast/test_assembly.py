"""When takes are heard, and that nothing is lost or added when they are put together."""

import numpy as np
import pytest

from loquor.engine.podcast.assembly import PIECE_GAP_S, TURN_GAP_S, sound, timeline
from loquor.engine.podcast.plan import plan
from loquor.text.script import parse_script

RATE = 24_000
SCRIPT = """
[chapter: One]
Ada: First.
Bo: Second.
[pause 1.5s]
[chapter: Two]
Ada: Third, and this is a sentence of its own. It has another one behind it, which makes it long enough for two.
"""
SECONDS = [1.0, 2.0, 0.5, 0.7]


@pytest.fixture
def when():
    takes = plan(parse_script(SCRIPT), longest_take_s=5).takes
    assert [(take.speaker, take.piece) for take in takes] == [("Ada", 0), ("Bo", 0), ("Ada", 0), ("Ada", 1)]
    return timeline(takes, [round(s * RATE) for s in SECONDS], RATE)


def waveform(index):
    return np.random.default_rng(index).uniform(-1, 1, round(SECONDS[index] * RATE)).astype(np.float32)


def heard(when, speaker=None):
    return np.concatenate(list(sound(when, waveform, speaker)))[:, 0]


def test_turns_have_a_gap_pieces_a_shorter_one_and_pauses_are_the_scripts(when):
    starts = [when.times_s(i)[0] for i in range(4)]
    second = 1.0 + TURN_GAP_S
    third = second + 2.0 + 1.5
    assert starts == pytest.approx([0, second, third, third + 0.5 + PIECE_GAP_S])
    assert when.times_s(3)[1] == when.seconds == pytest.approx(starts[3] + 0.7)


def test_every_take_is_where_the_timeline_says_with_soft_edges(when):
    mix = heard(when)
    assert len(mix) == when.samples
    for i, span in enumerate(when.spans):
        inside = slice(span.start + 200, span.stop - 200)
        assert np.array_equal(mix[inside], waveform(i)[200:-200])
        assert mix[span.start] == mix[span.stop - 1] == 0
        assert np.abs(mix[span.start + 60]) <= 0.5
    silence = np.ones(len(mix), dtype=bool)
    for span in when.spans:
        silence[span.start : span.stop] = False
    assert not mix[silence].any()


def test_stems_are_as_long_as_the_mix_and_add_up_to_it(when):
    stems = [heard(when, speaker) for speaker in ("Ada", "Bo")]
    assert np.array_equal(sum(stems), heard(when))
    assert not (stems[0].astype(bool) & stems[1].astype(bool)).any()


def test_subtitles_lie_within_their_takes(when):
    cues = when.cues()
    assert " ".join(cue.text.replace("\n", " ") for cue in cues) == " ".join(take.text for take in when.takes)
    for take in when.takes:
        start_s, end_s = when.times_s(take.index)
        own = [cue for cue in cues if start_s - 1e-9 <= cue.start_s and cue.end_s <= end_s + 1e-9]
        assert own and {cue.speaker for cue in own} == {take.speaker}
        assert (own[0].start_s, own[-1].end_s) == (pytest.approx(start_s), pytest.approx(end_s))


def test_chapters_begin_with_their_takes(when):
    assert [(chapter.title, chapter.start_s) for chapter in when.chapters()] == [
        ("One", 0.0),
        ("Two", pytest.approx(when.times_s(2)[0])),
    ]


def test_takes_of_no_sound_and_of_one_sample_do_no_harm():
    takes = plan(parse_script("Ada: a\nBo: b\nAda: c")).takes
    when = timeline(takes, [0, 1, 5], RATE)
    mix = np.concatenate(list(sound(when, lambda i: np.ones([0, 1, 5][i], dtype=np.float32))))
    assert len(mix) == when.samples == 6 + 2 * round(TURN_GAP_S * RATE)


def test_only_one_take_is_asked_for_at_a_time(when):
    asked = []
    blocks = sound(when, lambda i: asked.append(i) or waveform(i))
    next(blocks)
    assert asked == [0]
    assert all(len(block) <= 1 << 15 for block in blocks)
    assert asked == [0, 1, 2, 3]
