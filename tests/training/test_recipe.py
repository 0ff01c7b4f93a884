"""Recipes: what is shipped, what may be changed, and what is refused with the way out."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from loquor.errors import ConfigError, InputError
from loquor.training.recipes.options import LongformOptions, RealtimeOptions
from loquor.training.recipes.recipe import read_recipe, shipped_recipes, write_recipe


def test_the_shipped_recipes_are_these_and_are_read():
    vibevoice = ["longform-lora", "realtime-conservative", "realtime-full", "realtime-lora"]
    assert shipped_recipes() == [*vibevoice, "vita-alignment", "vita-one-module", "vita-supervised", "vita-ten-modules"]
    for name in vibevoice:
        recipe = read_recipe(name)
        family, _, strategy = name.partition("-")
        assert (recipe.family, recipe.strategy) == (family, strategy)
        assert isinstance(recipe.loss, RealtimeOptions if family == "realtime" else LongformOptions)


def test_the_figures_of_the_guide_are_the_defaults():
    recipe = read_recipe("realtime-lora")
    assert (recipe.lora.rank, recipe.lora.alpha, recipe.lora.dropout) == (16, 32, 0.05)
    optimiser = recipe.optimiser
    assert (optimiser.learning_rate, optimiser.betas, optimiser.weight_decay) == (1e-4, (0.9, 0.999), 0.01)
    assert (optimiser.steps, optimiser.warmup_steps, recipe.loss.end) == (5000, 500, 0.1)
    assert read_recipe("longform-lora").lora.rank == 8


def test_keys_are_changed_on_the_command_line():
    changes = ["lora.rank=4", "optimiser.learning_rate=3e-5", "data=2026", "watch.samples=[One., Two.]", "voice=Ada"]
    recipe = read_recipe("realtime-lora", changes)
    assert (recipe.lora.rank, recipe.optimiser.learning_rate, recipe.data) == (4, 3e-5, "2026")
    assert (recipe.watch.samples, recipe.voice) == (("One.", "Two."), "Ada")


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_recipe_that_is_written_is_read_back(name, tmp_path):
    speaks = not name.startswith("vita")
    recipe = read_recipe(name, ["seed=3", "watch.samples=[سلام, 'a: b']" if speaks else "data='a: سلام.json'"])
    path = tmp_path / "mine.yaml"
    path.write_text(write_recipe(recipe), encoding="utf-8")
    assert read_recipe(str(path)) == recipe
    assert set(yaml.safe_load(path.read_text(encoding="utf-8"))) == set(recipe.as_dict())


@pytest.mark.parametrize(
    ("change", "nearest"),
    [
        ("lora.rnk=3", "lora.rank"),
        ("optimizer.steps=3", "optimiser"),
        ("loss.txt_drop=0.2", "loss.text_drop"),
        ("strategy=conservativ", "conservative"),
    ],
)
def test_what_is_mistyped_is_answered_with_the_nearest(change, nearest):
    with pytest.raises(ConfigError) as error:
        read_recipe("realtime-lora", [change])
    assert error.value.hint == f"did you mean {nearest}?"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("lora.rank=0", "lora.rank is 0"),
        ("lora.rank=two", "rank has a value of the wrong type: 'two'"),
        ("optimiser.betas=[0.9]", "betas must be two numbers"),
        ("optimiser.learning_rate=.nan", "learning_rate has a value of the wrong type"),
        ("optimiser.precision=float16", "precision is 'float16'"),
        ("watch.samples=[1]", "samples has a value of the wrong type"),
        ("seed=-1", "seed must be a whole number"),
        ("lora=8", "lora must have keys"),
        ("family=music", "family is 'music'"),
        ("seed.x=1", "seed has no keys below it"),
        ("loss.voice_drop=0.1", "no key loss.voice_drop"),
    ],
)
def test_what_cannot_be_is_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        read_recipe("realtime-lora", ["seed=0", change])


def test_a_voice_is_of_realtime_recipes_only():
    with pytest.raises(ConfigError, match="voice is of realtime recipes"):
        read_recipe("longform-lora", ["voice=Ada"])


@pytest.mark.parametrize("change", ["rank", "=3", ""])
def test_a_change_is_key_and_value(change):
    with pytest.raises(InputError, match="is no key=value"):
        read_recipe("realtime-lora", [change])


def test_what_is_no_recipe_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no recipe realtime-lro") as error:
        read_recipe("realtime-lro")
    assert "realtime-lora" in error.value.hint
    (tmp_path / "list.yaml").write_text("- one\n")
    with pytest.raises(ConfigError, match="holds no keys"):
        read_recipe(str(tmp_path / "list.yaml"))
    (tmp_path / "torn.yaml").write_text("a: [1\n")
    with pytest.raises(ConfigError, match="is no YAML"):
        read_recipe(str(tmp_path / "torn.yaml"))
    (tmp_path / "code.yaml").write_text("family: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigError, match="is no YAML"):
        read_recipe(str(tmp_path / "code.yaml"))


def test_recipes_differ_in_what_they_learn_not_in_where_and_how_they_are_watched():
    recipe = read_recipe("realtime-lora")
    other = read_recipe("realtime-lora", ["out=x", "watch.save_every=7", "lora.rank=8", "optimiser.betas=[0.8, 0.9]"])
    assert recipe.differences(other.as_dict()) == ["lora.rank", "optimiser.betas"]
    assert recipe.differences({}) != []


@given(st.floats(0, 1), st.integers(1, 4096))
def test_numbers_survive_being_written_on_the_command_line(rate, rank):
    recipe = read_recipe("realtime-lora", [f"optimiser.learning_rate={rate!r}", f"lora.rank={rank}"])
    assert (recipe.optimiser.learning_rate, recipe.lora.rank) == (rate, rank)
