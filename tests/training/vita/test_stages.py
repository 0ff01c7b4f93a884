"""The four stages of VITA-Audio's training: what each trains, how it begins, and what a killed run repeats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from loquor.errors import CheckpointError, ConfigError, InputError
from loquor.models.vita.checkpoint import load_vita
from loquor.models.vita.vocabulary import open_vocabulary
from loquor.training.finetune import optimisation
from loquor.training.plots import read_curves
from loquor.training.recipes.recipe import read_recipe
from training.vita.toy_stages import CODES, stage, train, write_talks, write_toy_base

STAGES = ("alignment", "one-module", "ten-modules", "supervised")
FEW = ("optimiser.steps=3", "watch.validate_every=0")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A base, conversations, and the models of three stages."""
    folder = tmp_path_factory.mktemp("stages")
    models = {"data": write_talks(folder), "base": write_toy_base(folder / "base")}
    before = models["base"]
    for name, modules in (("alignment", 0), ("one-module", 1), ("ten-modules", 3)):
        train(stage(name, before, models["data"], folder / name, f"modules={modules}"))
        before = models[name] = folder / name / "model"
    return models


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_vita(folder, torch.float32).state_dict()


def saved(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "training.safetensors")


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in after if name not in before or not torch.equal(before[name], after[name])}


def test_the_recipes_have_the_published_figures():
    figures = {name: read_recipe(f"vita-{name}") for name in STAGES}
    found = {
        name: (r.modules, r.strategy, r.optimiser.learning_rate, r.optimiser.steps, r.batch.length)
        for name, r in figures.items()
    }
    assert found == {
        "alignment": (0, "full", 6e-5, 8000, 8192),
        "one-module": (1, "modules", 1e-3, 4000, 8192),
        "ten-modules": (10, "modules", 1e-3, 8000, 8192),
        "supervised": (None, "full", 5e-5, 4000, 2048),
    }
    for name, recipe in figures.items():
        optimiser = recipe.optimiser
        assert (optimiser.betas, optimiser.clip_norm, optimiser.ema_decay) == ((0.9, 0.95), 1.0, 0.0)
        assert optimiser.warmup_steps == round(0.03 * optimiser.steps)
        assert (optimiser.weight_decay, optimiser.modules_rate) == ((0.1, 10) if name == "supervised" else (0, 1))
        assert recipe.batch.accumulation == 16 and recipe.batch.checkpointing
        assert recipe.feed.ratio == (1, 10, 4, 10)


def test_alignment_trains_everything_and_unties_the_head(place):
    before, after = load_file(place["base"] / "model.safetensors"), weights(place["alignment"])
    assert "lm_head.weight" not in before
    assert not torch.equal(after["token_head.weight"], after["embedding.weight"])
    start = before["model.embed_tokens.weight"]
    for name in ("embedding.weight", "token_head.weight"):
        assert not torch.equal(after[name], start)
    assert json.loads((place["alignment"] / "config.json").read_bytes())["num_nextn_predict_layers"] == 0


def test_one_module_trains_the_module_alone(place):
    before, after = weights(place["alignment"]), weights(place["one-module"])
    assert changed(before, after) == {name for name in after if name.startswith("predictors.0.")}


def test_further_modules_train_with_the_first_and_nothing_else(place):
    before, after = weights(place["one-module"]), weights(place["ten-modules"])
    assert changed(before, after) == {name for name in after if name.startswith("predictors.")}
    assert {name.split(".")[1] for name in after if name.startswith("predictors.")} == {"0", "1", "2"}


def test_the_last_stage_trains_everything(place, tmp_path):
    train(stage("supervised", place["ten-modules"], place["data"], tmp_path, *FEW))
    before, after = weights(place["ten-modules"]), weights(tmp_path / "model")
    assert changed(before, after) == set(after)


def test_a_stage_leaves_the_published_layout(place):
    config, generation, tensors = (
        json.loads((place["ten-modules"] / "config.json").read_bytes()),
        json.loads((place["ten-modules"] / "generation_config.json").read_bytes()),
        load_file(place["ten-modules"] / "model.safetensors"),
    )
    vocabulary = open_vocabulary(place["ten-modules"])
    assert (config["model_type"], config["num_hidden_layers"], config["num_nextn_predict_layers"]) == (
        "qwen2_mtp", 5, 3
    )  # fmt: skip
    assert (config["mtp_loss_weight"], config["tie_word_embeddings"]) == (1.0, False)
    assert generation["mtp_inference_mode"] == [1, 10, 4, 10]
    assert generation["eos_token_id"] == [vocabulary.turn_end, vocabulary.pad]
    assert {"model.layers.4.mlp.gate_proj.weight", "mtp_projs.2.weight", "lm_head.weight"} <= set(tensors)
    assert vocabulary.audio.codes == CODES


def test_the_weight_of_the_modules_losses_is_the_recipe_s_and_is_written(place, tmp_path):
    train(stage("one-module", place["alignment"], place["data"], tmp_path, "loss.modules=0.25", *FEW))
    assert json.loads((tmp_path / "model" / "config.json").read_bytes())["mtp_loss_weight"] == 0.25
    curves = read_curves(tmp_path)
    assert curves["loss"][1] == pytest.approx([0.25 * value for value in curves["module 0"][1]], rel=1e-5)


def test_modules_learn_as_much_faster_as_the_recipe_says(place, tmp_path):
    chosen = stage("supervised", place["ten-modules"], place["data"], tmp_path, *FEW, "optimiser.modules_rate=4")
    options = optimisation(chosen)
    assert (options.fast, options.fast_rate) == (("model.predictors.",), 4)
    for rate in ("4", "0"):
        changes = (*FEW, "optimiser.steps=1", f"optimiser.modules_rate={rate}")
        train(stage("supervised", place["ten-modules"], place["data"], tmp_path / rate, *changes))
    before, frozen = weights(place["ten-modules"]), weights(tmp_path / "0" / "model")
    assert not any(name.startswith("predictors.") for name in changed(before, frozen))
    after = weights(tmp_path / "4" / "model")
    for name, part in (("predictors.0.projection.weight", 4), ("language_model.norm.weight", 1)):
        step = (after[name] - before[name]).abs().max()  # AdamW's first step is the rate, whatever the gradient
        torch.testing.assert_close(step, torch.tensor(part * 0.005), rtol=0.2, atol=0)


@pytest.mark.parametrize("stop_at", [1, 5])
def test_a_killed_stage_that_resumes_equals_one_that_was_not(place, tmp_path, stop_at):
    def run(out: str, stop: int | None = None) -> None:
        train(
            stage(
                "supervised",
                place["one-module"],
                place["data"],
                tmp_path / out,
                "feed.packing=shared",
                "batch.checkpointing=true",
            ),
            stop,
        )

    run("whole")
    run("killed", stop_at)
    run("killed")

    one, other = saved(tmp_path / "whole"), saved(tmp_path / "killed")
    assert one.keys() == other.keys() and not any(name.startswith("ema.") for name in one)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_a_run_goes_through_the_data_again_and_again(place, tmp_path):
    tuner = train(stage("alignment", place["base"], place["data"], tmp_path, "optimiser.steps=12"))
    assert tuner.told["conversations"]["seen"] > 24


def test_it_learns_what_it_is_shown(place, tmp_path):
    changes = ("optimiser.steps=24", "watch.validate_every=12")
    train(stage("supervised", place["ten-modules"], place["data"], tmp_path, "optimiser.modules_rate=1", *changes))
    curves = read_curves(tmp_path)
    for name in ("main", "module 0", "module 1", "module 2"):
        values = curves[name][1]
        assert values[-1] < 0.6 * values[0], name
        assert f"valid/{name}" in curves


def test_bad_conversations_are_counted_told_and_too_many_stop_the_run(place, tmp_path):
    data = write_talks(tmp_path, count=24, bad=2)
    tuner = train(stage("alignment", place["base"], data, tmp_path / "run", *FEW, "feed.tolerated=0.2", "validation="))
    assert tuner.told["conversations"]["skipped"] == {"AudioError": 2}
    with pytest.raises(InputError, match=r"skipped .*more than the 1% that may be"):
        train(stage("alignment", place["base"], data, tmp_path / "strict", "feed.tolerated=0.01", "validation="))


def test_a_recording_without_codes_and_a_recipe_without_a_tokenizer_is_told(place, tmp_path, caplog):
    data = write_talks(tmp_path, count=8)
    for file in tmp_path.glob("*_toy.json"):
        file.rename(file.with_name(file.name.replace("_toy.json", ".wav")))
    with pytest.raises(InputError, match="conversations were skipped"):
        train(stage("alignment", place["base"], data, tmp_path / "run", "validation="))
    assert "names no audio.folder to make them with" in caplog.text


@pytest.mark.parametrize(
    ("model", "name", "changes", "error", "message"),
    [
        ("ten-modules", "one-module", (), ConfigError, "3 modules, more than the 1 wanted"),
        ("base", "alignment", ("batch.length=129",), ConfigError, "longer than the context of 128"),
        (
            "base",
            "alignment",
            ("audio.tokenizer=glm4voice",),
            ConfigError,
            "speaks in ids of 'toy', not of 'glm4voice'",
        ),
        ("base", "alignment", ("batch.accumulation=25",), InputError, "24 conversations, too few for 25 batches"),
        ("base", "alignment", ("model=", "data="), InputError, "does not say data"),
        ("base", "alignment", ("data=nowhere.jsonl",), InputError, "no conversations in nowhere.jsonl"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(  # noqa: PLR0917 - the table's columns
    place, tmp_path, model, name, changes, error, message
):
    chosen = stage(name, place[model], place["data"], tmp_path / "run", *changes)
    with pytest.raises(error, match=message):
        train(chosen)
    assert not (tmp_path / "run").exists()


def test_a_base_without_rows_for_its_text_is_refused(place, tmp_path):
    for file in ("config.json", "model.safetensors"):
        (tmp_path / file).write_bytes((place["base"] / file).read_bytes())
    with pytest.raises(CheckpointError, match="its text has 151665 ids") as error:
        train(stage("alignment", tmp_path, place["data"], tmp_path / "run"))
    assert "loquor base" in error.value.hint


def test_other_data_is_another_run(place, tmp_path):
    train(stage("alignment", place["base"], place["data"], tmp_path / "run", *FEW))
    other = write_talks(tmp_path, "other", count=30)
    with pytest.raises(CheckpointError, match=r"differs in data, .*the files of the data"):
        train(stage("alignment", place["base"], other, tmp_path / "run", *FEW))


@pytest.mark.parametrize("change", ["modules=-1", "modules=many", "feed.ratio=[1]", "feed.packing=bags", "lora.rank=2"])
def test_recipes_of_vita_are_read_strictly(change):
    with pytest.raises(ConfigError):
        read_recipe("vita-alignment", [change])
