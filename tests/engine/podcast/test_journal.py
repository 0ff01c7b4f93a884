"""Finished takes survive, and are only used again for the same production."""

import json

import pytest
import torch

from loquor.engine.podcast.health import Finding
from loquor.engine.podcast.identity import Identity
from loquor.engine.podcast.journal import Facts, FinishedTake, Journal
from loquor.errors import InputError
from loquor.models.longform.prompt import Spoken

IDENTITY = Identity(parts={"script": "abc", "seed": "0"}, surroundings={"torch": "2.13", "threads": "2"})


def finished(index=0, frames=3):
    generator = torch.Generator().manual_seed(index)
    facts = Facts(index, frames * 320, frames, 7, 2, "end", (Finding("silence", 0.25, "0.5 s without sound"),))
    spoken = Spoken(torch.randn(frames, 8, generator=generator), torch.randn(frames, 6, generator=generator))
    return FinishedTake(facts, torch.randn(frames * 320, generator=generator), spoken)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "episode.wav.takes"


def test_a_take_is_kept_exactly(folder):
    take = finished()
    Journal.open(folder, IDENTITY).keep(take)
    journal = Journal.open(folder, IDENTITY)
    assert journal.facts(0) == take.facts
    assert torch.equal(journal.waveform(0), take.waveform)
    spoken = journal.spoken([0])
    assert torch.equal(spoken.latents, take.spoken.latents)
    assert torch.equal(spoken.features, take.spoken.features)
    assert journal.facts(1) is None


def test_what_takes_said_is_joined_in_order(folder):
    journal, takes = Journal.open(folder, IDENTITY), [finished(i, frames=i + 1) for i in range(3)]
    for take in takes:
        journal.keep(take)
    spoken = journal.spoken([1, 2])
    assert torch.equal(spoken.latents, torch.cat([takes[1].spoken.latents, takes[2].spoken.latents]))
    assert len(spoken) == 5
    assert journal.spoken([]) is None


def test_a_take_of_no_sound_can_be_kept(folder):
    journal = Journal.open(folder, IDENTITY)
    journal.keep(finished(frames=0))
    assert journal.facts(0).samples == 0
    assert len(journal.waveform(0)) == len(journal.spoken([0])) == 0


def test_the_same_take_makes_the_same_file(folder, tmp_path):
    for place in (folder, tmp_path / "other"):
        Journal.open(place, IDENTITY).keep(finished())
    files = [(place / "take-00000.safetensors").read_bytes() for place in (folder, tmp_path / "other")]
    assert files[0] == files[1]


def test_another_production_is_refused_and_told_apart(folder):
    Journal.open(folder, IDENTITY).keep(finished())
    other = Identity({"script": "abc", "seed": "1", "adapter": "xyz"}, IDENTITY.surroundings)
    with pytest.raises(InputError) as raised:
        Journal.open(folder, other)
    assert "adapter was nothing, is xyz; seed was 0, is 1" in str(raised.value)
    assert "--restart" in raised.value.hint
    assert Journal.open(folder, IDENTITY).facts(0) is not None  # nothing was lost


def test_other_surroundings_are_warned_of(folder, caplog):
    Journal.open(folder, IDENTITY)
    Journal.open(folder, Identity(IDENTITY.parts, {"torch": "2.13", "threads": "8"}))
    assert caplog.messages == ["what is still to come may differ in the last bits: threads was 2, is 8"]


def test_restart_throws_the_takes_away(folder):
    Journal.open(folder, IDENTITY).keep(finished())
    other = Identity({"script": "new"}, {})
    assert Journal.open(folder, other, restart=True).facts(0) is None
    assert Journal.open(folder, other).facts(0) is None


def test_a_folder_of_something_else_is_never_touched(folder):
    folder.mkdir()
    (folder / "thesis.txt").write_text("three years of work")
    for restart in (False, True):
        with pytest.raises(InputError, match="holds no production"):
            Journal.open(folder, IDENTITY, restart=restart)
    assert (folder / "thesis.txt").exists()
    file = folder.with_name("file")
    file.touch()
    with pytest.raises(InputError, match="holds no production"):
        Journal.open(file, IDENTITY)


@pytest.mark.parametrize("damage", [b"", b"\x00" * 100, None])
def test_a_damaged_take_is_made_again(folder, caplog, damage):
    journal = Journal.open(folder, IDENTITY)
    journal.keep(finished())
    path = folder / "take-00000.safetensors"
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    assert journal.facts(0) is None
    assert "is damaged and made again" in caplog.text
    journal.keep(finished())
    assert journal.facts(0) is not None


@pytest.mark.parametrize("plan", ["", "[]", "{}", '{"format": 2}', "\x00"])
def test_a_damaged_plan_is_an_error_that_restart_mends(folder, plan):
    Journal.open(folder, IDENTITY)
    (folder / "plan.json").write_text(plan)
    with pytest.raises(InputError, match=r"plan\.json cannot be used"):
        Journal.open(folder, IDENTITY)
    assert Journal.open(folder, IDENTITY, restart=True).facts(0) is None


def test_a_plan_can_be_read_by_people(folder):
    Journal.open(folder, IDENTITY)
    plan = json.loads((folder / "plan.json").read_text())
    assert plan["parts"] == {"script": "abc", "seed": "0"}


def test_removing_leaves_nothing(folder):
    journal = Journal.open(folder, IDENTITY)
    journal.keep(finished())
    journal.remove()
    assert not folder.exists()
