"""What makes a production another one."""

import dataclasses

import pytest
import torch

from loquor.engine.podcast.health import Ears, Limits
from loquor.engine.podcast.identity import differences, hash_of, hash_of_model, identity_of
from loquor.engine.podcast.plan import plan
from loquor.engine.podcast.production import Production, Settings
from loquor.engine.request import Sampling
from loquor.text.script import parse_script
from loquor.voices.recording import RecordedVoice
from toy_longform import toy_model

SCRIPT = "Ada: Good morning.\nBo: Good evening. [pause 1s] Good night."


def production(script=SCRIPT, voice=1.0, **settings):
    cast = {
        name: RecordedVoice(name=name, created="2026-11-21", waveform=torch.full((100,), voice + i))
        for i, name in enumerate(("Ada", "Bo", "Nobody"))
    }
    return Production(plan(parse_script(script)), cast, Settings(Sampling(), **settings))


@pytest.fixture(scope="module")
def model():
    return toy_model()


def changed(model, **changes):
    before, now = (identity_of(p, model, Ears()).parts for p in (production(), production(**changes)))
    return [line.partition(" was ")[0] for line in differences(before, now)]


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, []),
        ({"script": SCRIPT.replace("night", "day")}, ["script"]),
        ({"script": SCRIPT.replace("1s", "2s")}, []),  # a pause comes in later
        ({"voice": 2.0}, ["voice of Ada", "voice of Bo"]),
        ({"retakes": 5}, ["retakes"]),
        ({"carry_s": 10.0}, ["seconds carried"]),
        ({"limits": Limits(silence_s=9)}, ["limits of health"]),
    ],
    ids=str,
)
def test_what_shapes_a_take_is_part_of_it(model, changes, names):
    assert changed(model, **changes) == names


def test_sampling_and_judges_are_part_of_it(model):
    made = production()
    before = identity_of(made, model, Ears()).parts
    sampling = dataclasses.replace(made.settings.sampling, seed=1, steps=9)
    other = dataclasses.replace(made, settings=dataclasses.replace(made.settings, sampling=sampling))
    now = identity_of(other, model, Ears(similarity=lambda take: 1.0)).parts
    assert differences(before, now) == [
        "judged by ear was nothing, is similarity",
        "seed was 0, is 1",
        "steps was 5, is 9",
    ]


def test_a_model_is_known_by_its_weights_whatever_their_files(model):
    same, other, adapted = toy_model(), toy_model(seed=1), toy_model()
    adapted.language_model.layers[0].ffn.down.weight += 1e-3  # as an adapter does
    hashes = [hash_of_model(each) for each in (model, same, other, adapted, toy_model().to(torch.bfloat16))]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 4


def test_hashes_tell_values_and_their_order_apart():
    a, b = torch.zeros(3), torch.tensor([0.0, 0.0, 1e-6])
    hashes = {hash_of(), hash_of("a", "b"), hash_of("ab"), hash_of("b", "a"), hash_of(a), hash_of(b), hash_of(1, "1")}
    assert len(hashes) == 7
    assert hash_of("a", a) == hash_of("a", a.clone())
