"""Takes of a toy model: made in order, carried on from, repeated where they fail, and never made twice."""

import dataclasses

import numpy as np
import pytest
import torch

from loquor.engine.dialogue import DialogueSpeaker
from loquor.engine.podcast import produce
from loquor.engine.podcast.health import Ears, Limits, longest_s
from loquor.engine.podcast.identity import Identity
from loquor.engine.podcast.journal import Journal
from loquor.engine.podcast.plan import plan
from loquor.engine.podcast.produce import Producer, faults, take_seed
from loquor.engine.podcast.production import Production, Settings
from loquor.engine.request import Sampling
from loquor.errors import CapacityError, VoiceError
from loquor.text.script import parse_script
from loquor.voices.recording import RecordedVoice
from toy_longform import NEVER, toy_config, toy_model, toy_waveform

SCRIPT = """
Ada: Good morning to all of you who are listening to us today.
Bo: And good morning to you, Ada, on this rather grey day in the north.
Ada: Shall we begin with what we have, or wait for the others to come?
Bo: Let us begin, and see who else comes in while we are talking.
"""
SECOND = "And good morning to you, Ada, on this rather grey day in the north."
LENIENT = Limits(silence_s=1e6, repeated_s=1e6, clipped_share=1e6, longest_share=6.0, shortest_share=0.0)
STRICT = dataclasses.replace(LENIENT, repeated_s=-1e6)


@pytest.fixture(scope="module")
def speaker():
    return DialogueSpeaker(toy_model(frames_per_token=0.5))


def voice(seed):
    return RecordedVoice(name=f"voice {seed}", created="2026-11-21", waveform=toy_waveform(0.5, seed=seed))


def production(script=SCRIPT, limits=LENIENT, seed=0, **settings):
    read = parse_script(script)
    cast = {name: voice(i) for i, name in enumerate(read.speakers)}
    return Production(plan(read), cast, Settings(Sampling(1.3, 2, seed), limits=limits, **settings))


@pytest.fixture
def journal(tmp_path):
    return Journal.open(tmp_path / "takes", Identity({}, {}))


@pytest.fixture
def streams(monkeypatch):
    """What the engine is asked to speak, in order."""
    asked, real = [], produce.LongformStream

    def noted(*arguments, **named):
        asked.append(real(*arguments, **named))
        return asked[-1]

    monkeypatch.setattr(produce, "LongformStream", noted)
    return asked


def takes(journal):
    return {path.name: path.read_bytes() for path in journal.folder.glob("take-*")}


def test_every_take_is_made_and_kept(speaker, journal):
    facts = Producer(speaker, production()).run(journal)
    assert [one.index for one in facts] == [0, 1, 2, 3]
    for one in facts:
        assert journal.facts(one.index) == one
        assert one.samples == 3200 * one.frames == len(journal.waveform(one.index)) > 0
        assert (one.attempts, one.finish, faults(one)) == (1, "end", "")


def test_the_same_seed_makes_the_same_takes_and_another_others(speaker, tmp_path):
    folders = [Journal.open(tmp_path / str(i), Identity({}, {})) for i in range(3)]
    for place, seed in zip(folders, (5, 5, 6), strict=True):
        Producer(speaker, production(seed=seed)).run(place)
    same, again, other = map(takes, folders)
    assert same == again
    assert not set(same.values()) & set(other.values())


@pytest.mark.parametrize("missing", [(3,), (1, 2, 3), (1,), (0, 2)])
def test_takes_that_are_lost_are_made_again_to_the_same_bytes(speaker, journal, missing):
    Producer(speaker, production()).run(journal)
    whole = takes(journal)
    for index in missing:
        (journal.folder / f"take-{index:05}.safetensors").unlink()
    kept = {path.name: path.stat().st_mtime_ns for path in journal.folder.glob("take-*")}
    Producer(speaker, production()).run(journal)
    assert takes(journal) == whole
    assert all((journal.folder / name).stat().st_mtime_ns == time for name, time in kept.items())


def test_a_take_hears_those_before_it(speaker, tmp_path, streams):
    made = Producer(speaker, production(carry_s=60)).run(Journal.open(tmp_path / "a", Identity({}, {})))
    heard = [len(stream.spoken) if stream.spoken else 0 for stream in streams]
    frames = [one.frames for one in made]
    assert heard == [0, frames[0], sum(frames[:2]), sum(frames[:3])]
    assert [len(stream.prompt) for stream in streams] == sorted(
        len(stream.prompt) for stream in streams
    )  # and its words
    streams.clear()
    Producer(speaker, production(carry_s=0)).run(Journal.open(tmp_path / "b", Identity({}, {})))
    assert not any(stream.spoken for stream in streams)


def test_a_take_with_a_fault_is_repeated_with_another_seed_and_the_best_is_kept(speaker, journal):
    faulty = {1: [0.1, 0.9, 0.3]}  # what the judge thinks of the attempts at take 1
    heard = []

    def similarity(take):
        heard.append(take.text)
        return faulty[1].pop(0) if take.text == SECOND else 1.0

    limits = dataclasses.replace(LENIENT, similarity=0.95, similarity_s=0.0)
    facts = Producer(speaker, production(limits=limits, retakes=2), Ears(similarity)).run(journal)
    assert [one.attempts for one in facts] == [1, 3, 1, 1]
    assert heard.count(SECOND) == 3
    assert facts[1].seed == take_seed(0, 1, 1)  # the second was the best, though it has a fault as well
    assert faults(facts[1]).startswith("drift: similarity 0.90")
    assert not faults(facts[2])


def test_a_take_that_is_sound_at_once_is_not_repeated(speaker, journal):
    facts = Producer(speaker, production(limits=LENIENT, retakes=5)).run(journal)
    assert [one.attempts for one in facts] == [1, 1, 1, 1]


def test_retakes_can_be_forbidden(speaker, journal):
    facts = Producer(speaker, production(limits=STRICT, retakes=0)).run(journal)
    assert [one.attempts for one in facts] == [1, 1, 1, 1]


def test_a_model_that_never_ends_is_cut_off_and_told_of(journal):
    speaker, made = DialogueSpeaker(toy_model(frames_per_token=NEVER)), production("Ada: Yes.", Limits(), retakes=1)
    (facts,) = Producer(speaker, made).run(journal)
    limit_s = longest_s(made.plan.takes[0].estimated_s)
    assert limit_s <= facts.frames * speaker.frame_s <= limit_s + 2 * speaker.frame_s
    assert (facts.finish, facts.attempts) == ("limit", 2)
    assert "runaway: cut off" in faults(facts)


def test_a_model_that_says_nothing_is_told_of(journal):
    speaker = DialogueSpeaker(toy_model(frames_per_token=0.0))
    facts = Producer(speaker, production("Ada: Yes.\nBo: No.", Limits(), retakes=1)).run(journal)
    assert [(one.frames, one.attempts, faults(one)) for one in facts] == [(0, 2, "truncated: nothing was said")] * 2


def test_five_speakers_take_turns_in_scenes_of_four_voices(speaker, journal, streams):
    made = production(
        "\n".join(
            f"{name}: I am the one whom all of you call {name}, good day."
            for name in ("Ada", "Bo", "Cy", "Di", "Ed", "Di", "Ada")
        )
    )
    facts = Producer(speaker, made).run(journal)
    assert len(facts) == 7
    assert [len(stream.voices) for stream in streams] == [4, 4, 4, 4, 3, 3, 3]
    frames = [one.frames for one in facts]
    heard = [len(stream.spoken) if stream.spoken else 0 for stream in streams]
    assert heard == [0, *(sum(frames[:i]) for i in (1, 2, 3)), frames[3], *(sum(frames[3:i]) for i in (5, 6))]


def test_the_voice_of_a_speaker_is_heard(speaker, tmp_path):
    one = production("Ada: Good morning to you.")
    other = dataclasses.replace(one, cast={"Ada": voice(9)})
    journals = [Journal.open(tmp_path / name, Identity({}, {})) for name in ("one", "other")]
    for place, made in zip(journals, (one, other), strict=True):
        Producer(speaker, made).run(place)
    waveforms = [place.waveform(0)[:3200] for place in journals]
    assert not torch.allclose(*waveforms, atol=1e-4)


def test_a_speaker_without_a_voice_is_an_error():
    made = production()
    with pytest.raises(VoiceError, match="there is no voice for Bo"):
        dataclasses.replace(made, cast={"Ada": made.cast["Ada"]})


def test_voices_that_fill_the_context_are_an_error_before_the_work(journal):
    small = DialogueSpeaker(toy_model(toy_config(context=120), frames_per_token=0.2))
    with pytest.raises(CapacityError, match="turn 1, by Ada, does not fit into the model's context of 120"):
        Producer(small, production("Ada: " + "word " * 60))


def test_less_is_carried_where_the_context_is_small(tmp_path):
    small = DialogueSpeaker(toy_model(toy_config(context=460), frames_per_token=0.2))
    lines = "\n".join(f"{name}: Let us say it once more, number {i}." for i, name in enumerate(["Ada", "Bo"] * 4))
    facts = Producer(small, production(lines)).run(Journal.open(tmp_path / "takes", Identity({}, {})))
    assert len(facts) == 8


def test_progress_never_goes_back_and_ends_at_the_end(speaker, journal):
    told = []
    facts = Producer(speaker, production()).run(journal, told.append)
    assert [p.take for p in told] == sorted(p.take for p in told)
    assert {p.takes for p in told} == {4}
    assert [p.seconds for p in told] == sorted(p.seconds for p in told)
    assert told[-1].seconds == pytest.approx(sum(one.frames for one in facts) * speaker.frame_s)
    assert all(p.expected_s >= p.seconds for p in told)
    assert told[0].left_s is None or told[0].left_s >= 0
    told.clear()
    Producer(speaker, production()).run(journal, told.append)
    assert told == []  # nothing was left to do


def test_seeds_of_takes_and_attempts_differ_and_fit():
    seeds = [take_seed(seed, take, attempt) for seed in range(3) for take in range(20) for attempt in range(3)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert np.std(np.array(seeds, dtype=float)) > 2**60
