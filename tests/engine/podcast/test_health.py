"""What is wrong with a take is found, and nothing is found in sound speech: of the embedded voice, and mistreated."""

import re

import numpy as np
import pytest

import loquor
from loquor.audio import resample
from loquor.engine.podcast.health import Ears, Limits, Take, examine, longest_s, worst
from loquor.engine.podcast.repetition import repeated_s, repeated_words
from loquor.text.timing import estimated_s

RATE = 24_000
MAP = "The captain kept the only map of the harbour, and nobody else had ever seen it."
RIVER = "We left before the sun was up, and walked along the river until noon."
BREAD = "She asked for bread, milk and two eggs at the corner shop."


@pytest.fixture(scope="module")
def say():
    speaker, said = loquor.load(), {}

    def speak(*texts, seed=0):
        for text in texts:
            if (text, seed) not in said:
                said[text, seed] = speaker.speak(text, seed=seed).waveform.numpy()
        return np.concatenate([said[text, seed] for text in texts])

    return speak


def take(waveform, text=f"{MAP} {RIVER}", finish="end"):
    sound = np.asarray(waveform, dtype=np.float32)
    return Take(sound, RATE, text, speaker="Ada", estimated_s=estimated_s(text), finish=finish)


def faults(waveform, text=f"{MAP} {RIVER}", finish="end", **limits):
    return [f.kind for f in examine(take(waveform, text, finish), Limits(**limits)) if f.is_fault]


def hush(seconds):
    return np.zeros(round(seconds * RATE), dtype=np.float32)


@pytest.mark.parametrize("texts", [(MAP,), (MAP, RIVER, BREAD), ("Yes.",), ("No, never.",)], ids=len)
def test_sound_speech_has_no_fault(say, texts):
    findings = examine(take(say(*texts), " ".join(texts)))
    assert worst(findings) < 0.8  # not even nearly
    assert [f.kind for f in findings] == ["runaway", "truncated", "silence", "clipping", "repetition"]


@pytest.mark.parametrize(("seconds", "times"), [(0.5, 6), (1.0, 4), (2.0, 3), (4.0, 2)])
def test_a_loop_is_a_fault_also_when_its_rounds_differ(say, seconds, times):
    speech, random = say(MAP, RIVER), np.random.default_rng(0)
    part = speech[RATE : RATE + round(seconds * RATE)]
    rounds = []
    for i in range(times):
        slower = resample(part, RATE, round(RATE * (1 + 0.03 * i)))
        rounds.append((1 - 0.1 * i) * slower + 0.003 * random.standard_normal(len(slower)))
    assert "repetition" in faults(np.concatenate([speech[:RATE], *rounds, speech[RATE + len(part) :]]))


def test_a_sentence_said_twice_is_a_fault_unless_the_text_has_it_twice(say):
    spoken = np.concatenate([say(MAP), say(RIVER, seed=1), say(MAP, seed=2)])
    assert faults(spoken, f"{MAP} {RIVER} {BREAD}") == ["repetition"]
    assert faults(spoken, f"{MAP} {RIVER} {MAP}") == []


@pytest.mark.parametrize("sound", ["hum", "hiss"])
def test_a_sound_that_never_changes_is_a_repetition(sound):
    noise = np.random.default_rng(0).standard_normal(6 * RATE)
    steady = {"hum": np.sin(np.arange(6 * RATE) * 2 * np.pi * 150 / RATE), "hiss": 0.3 * noise}[sound]
    assert faults(0.2 * steady, MAP) == ["repetition"]


def test_a_vowel_that_gets_stuck_is_a_repetition(say):
    speech = say(MAP)
    loudest = int(np.abs(speech).argmax())
    period = speech[loudest : loudest + 200]  # 120 Hz
    stuck = np.concatenate([speech[:loudest], np.tile(period, 360), speech[loudest:]])  # 3 s
    assert "repetition" in faults(stuck)


def test_likeness_does_not_depend_on_loudness(say):
    speech = say(RIVER)
    assert repeated_s(0.05 * speech, RATE) == pytest.approx(repeated_s(speech, RATE), abs=0.05)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("One two three.", (0, 3)),
        ("No, no, no!", (2, 3)),
        ("The map. Where is the Map?", (2, 6)),
        ("", (0, 0)),
        ("你好你好", (2, 4)),
    ],
)
def test_the_longest_run_of_words_that_comes_twice_is_counted(text, words):
    assert repeated_words(text) == words


def test_a_long_silence_is_a_fault_and_a_pause_is_none(say):
    speech = say(MAP, RIVER)
    halves = speech[: len(speech) // 2], speech[len(speech) // 2 :]
    assert faults(np.concatenate([halves[0], hush(2.5), halves[1]])) == ["silence"]
    assert faults(np.concatenate([halves[0], hush(1.0), halves[1]])) == []
    assert "silence" in faults(np.concatenate([speech, hush(2.5)]))
    (found,) = [f for f in examine(take(np.concatenate([hush(2.5), speech[RATE:]]))) if f.kind == "silence"]
    assert re.fullmatch(r"2\.[5-7] s without sound at 0\.0 s", found.detail)


def test_nothing_but_silence_is_the_worst():
    (found,) = examine(take(1e-4 * np.ones(3 * RATE)))
    assert (found.kind, found.detail, found.is_fault) == ("silence", "all 3.0 s are silent", True)


def test_clipping_is_a_fault(say):
    speech = say(MAP)
    assert faults(np.clip(speech * 12, -1, 1), MAP) == ["clipping"]
    assert faults(speech * 12, MAP) == ["clipping"]  # louder than full scale: a file would clip it


def test_speech_far_longer_than_its_text_is_running_away(say):
    spoken = np.concatenate([say(MAP), say(RIVER), say(BREAD)])
    assert faults(spoken, "She asked for bread.") == ["runaway"]
    assert len(spoken) / RATE > longest_s(estimated_s("She asked for bread."))


@pytest.mark.parametrize("finish", ["limit", "runaway"])
def test_speech_that_was_cut_off_is_running_away_however_short(say, finish):
    assert faults(say(MAP), MAP, finish) == ["runaway"]


def test_speech_far_shorter_than_its_text_is_truncated(say):
    assert faults(say(MAP)[: 2 * RATE], MAP) == ["truncated"]
    assert faults(say("Yes."), "Yes.") == []


@pytest.mark.parametrize(
    ("waveform", "kind"), [([], "truncated"), ([0.1, float("nan"), 0.2], "broken"), ([float("inf")], "broken")]
)
def test_no_sound_and_no_numbers_are_faults_of_their_own(waveform, kind):
    (found,) = examine(take(waveform))
    assert (found.kind, found.is_fault) == (kind, True)


@pytest.mark.parametrize("samples", [1, 100, 3200])
def test_the_shortest_takes_can_be_examined(say, samples):
    findings = examine(take(say(MAP)[RATE : RATE + samples], "Oh."))
    assert all(np.isfinite(f.score) for f in findings)


def test_ears_judge_the_voice_and_the_words(say):
    spoken = take(say(MAP), MAP)
    heard = []

    def similarity(judged):
        heard.append(judged.speaker)
        return 0.2

    findings = examine(spoken, Limits(similarity=0.5), Ears(similarity, lambda judged: (9, 15)))
    found = {f.kind: (f.is_fault, f.detail) for f in findings}
    assert found["drift"] == (True, "similarity 0.20 to the speaker's voice")
    assert found["words"] == (True, "9 of 15 words misheard")
    assert heard == ["Ada"]
    fine = examine(spoken, Limits(similarity=0.5), Ears(lambda judged: 0.8, lambda judged: (1, 15)))
    assert worst(fine) < 1


def test_worse_takes_score_worse(say):
    speech = say(MAP, RIVER)
    scores = [worst(examine(take(np.concatenate([speech, hush(s)])))) for s in (0.5, 2.5, 4.0)]
    assert scores == sorted(scores) and scores[0] < 1 < scores[1] < scores[2]
