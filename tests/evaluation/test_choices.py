import shutil

import pytest

from loquor.evaluation.choices import Choices
from loquor.evaluation.sets import Item
from toy import write_toy

ITEM = Item("1", "speak", "Hello there.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture(autouse=True)
def own_voices(tmp_path, monkeypatch):
    monkeypatch.setenv("LOQUOR_VOICES", str(tmp_path / "voices"))


def key(item=ITEM, **choices):
    return Choices(**choices).keys_of([item])[0]


def test_the_key_follows_from_content_and_not_from_places_or_names(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    elsewhere = Item("77", "speak", ITEM.text, language="de")
    assert key(model=str(folder)) == key(elsewhere, model=str(copy))


@pytest.mark.parametrize("changed", [{"seed": 1}, {"guidance": 2.0}, {"steps": 3}, {"dtype": "bfloat16"}], ids=str)
def test_the_key_changes_with_how_it_is_spoken(folder, changed):
    assert key(model=str(folder), **changed) != key(model=str(folder))


def test_the_key_changes_with_the_text_the_weights_and_the_voice(folder, tmp_path):
    before = key(model=str(folder))
    assert key(Item("1", "speak", "Hello, there."), model=str(folder)) != before
    other = shutil.copytree(folder, tmp_path / "other")
    voice = other / "voices" / "Toy.safetensors"
    data = bytearray(voice.read_bytes())
    data[-1] ^= 1
    voice.write_bytes(data)
    assert key(model=str(other)) != before
    weights = shutil.copytree(folder, tmp_path / "weights") / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert key(model=str(weights.parent)) != before


def test_recordings_are_known_by_their_content(tmp_path):
    (tmp_path / "1.wav").write_bytes(b"one")
    before = key(model=str(tmp_path))
    (tmp_path / "1.wav").write_bytes(b"two")
    assert key(model=str(tmp_path)) != before


def test_every_item_has_its_own_noise_by_its_text_alone():
    seeds = [Choices(seed=seed).seed_of(Item(str(i), "speak", f"{i}")) for seed in (0, 1) for i in range(20)]
    assert len(set(seeds)) == 40
    assert Choices().seed_of(Item("a", "speak", "same")) == Choices().seed_of(Item("b", "speak", "same"))


def test_what_a_system_can_be_asked_follows_from_what_it_is(folder, tmp_path):
    systems = {str(folder): ("speak",), "moonshine": ("transcribe",), str(tmp_path): ("speak", "transcribe", "answer")}
    assert {name: Choices(name).tasks for name in systems} == systems
