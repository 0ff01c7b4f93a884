"""Fine-tuning by a recipe: what it learns, what a killed run repeats, and what it writes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from loquor import load
from loquor.cli.conversion import convert
from loquor.errors import CapacityError, CheckpointError, ConfigError, InputError
from loquor.models import family_of
from loquor.training.dataset.build import prepare_dataset
from loquor.training.dataset.reader import Dataset
from loquor.training.dataset.settings import Settings
from loquor.training.dataset.shards import Job
from loquor.training.dataset.sources import open_source
from loquor.training.export import export_tuned
from loquor.training.finetune import finetune, prepare_model
from loquor.training.order import Order
from loquor.training.plots import read_curves
from loquor.training.processes import Processes
from loquor.training.tasks import open_task
from training.recordings import write_pairs
from training.tunable import prepare, recipe, tune

FEW = ("optimiser.steps=3", "watch.validate_every=0")


@pytest.fixture(scope="module")
def realtime(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("realtime"), "realtime")


@pytest.fixture(scope="module")
def longform(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("longform"), "longform")


def saved(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "training.safetensors")


def assert_same(one: Path, other: Path) -> None:
    a, b = saved(one), saved(other)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return family_of(folder).load(folder, torch.float32).state_dict()


def exported(place, name, out, *changes):
    chosen = recipe(place, name, out, *changes)
    tuner = tune(chosen)
    return export_tuned(tuner.task, chosen, out)


@pytest.mark.parametrize("name", ["realtime-lora", "realtime-conservative", "realtime-full"])
@pytest.mark.parametrize("stop_at", [1, 3])
def test_a_killed_run_that_resumes_equals_one_that_was_not(realtime, tmp_path, name, stop_at):
    tune(recipe(realtime, name, tmp_path / "whole"))
    assert tune(recipe(realtime, name, tmp_path / "killed"), stop_at) is None
    tune(recipe(realtime, name, tmp_path / "killed"))
    assert_same(tmp_path / "whole", tmp_path / "killed")


def test_a_killed_longform_run_resumes_too(longform, tmp_path):
    changes = ("optimiser.steps=3", "watch.validate_every=0", "batch.accumulation=1")
    tune(recipe(longform, "longform-lora", tmp_path / "whole", *changes))
    tune(recipe(longform, "longform-lora", tmp_path / "killed", *changes), stop_at=3)
    tune(recipe(longform, "longform-lora", tmp_path / "killed", *changes))
    assert_same(tmp_path / "whole", tmp_path / "killed")


def test_looking_changes_nothing_that_is_learned(realtime, tmp_path):
    tune(recipe(realtime, "realtime-lora", tmp_path / "blind", "watch.validate_every=0", "watch.save_every=100"))
    tune(recipe(realtime, "realtime-lora", tmp_path / "seeing", "watch.sample_every=2", "watch.validate_every=1"))
    assert_same(tmp_path / "blind", tmp_path / "seeing")
    assert sorted(path.name for path in (tmp_path / "seeing" / "samples").iterdir()) == [
        f"step-00000{step}-0.wav" for step in (2, 4, 6)
    ]


class Listener:
    """A judge that notes what it is given."""

    def __init__(self):
        self.references, self.is_english, self.heard = [], None, []

    def __call__(self, references, is_english):
        self.references.append(references)
        self.is_english = is_english
        return self.judge

    def judge(self, spoken):
        self.heard.append(spoken)
        return {"length": len(spoken[0][1])}


def judged(place, out, *changes):
    listener = Listener()
    chosen = recipe(place, "realtime-lora", out, "watch.sample_every=2", *changes)
    finetune(chosen, place["model"], Processes("cpu"), judging=listener)
    return listener


def test_samples_are_judged_and_the_verdicts_are_curves(realtime, tmp_path):
    listener = judged(realtime, tmp_path, "watch.samples=[One., Two.]")
    assert [[text for text, _ in spoken] for spoken in listener.heard] == [["One.", "Two."]] * 3
    steps, lengths = read_curves(tmp_path)["samples/length"]
    assert (steps, lengths) == ([2, 4, 6], [len(spoken[0][1]) for spoken in listener.heard])
    written, _ = soundfile.read(tmp_path / "samples" / "step-000006-1.wav", dtype="float32")
    heard = np.clip(listener.heard[2][1][1], -1, 1)
    np.testing.assert_allclose(heard, written, rtol=0, atol=2**-14)  # it is written with 16 bits


def test_samples_are_compared_with_validation_as_the_codec_has_it(realtime, tmp_path):
    listener = judged(realtime, tmp_path)
    ((reference, *_),) = listener.references
    data = Dataset(realtime["data"], "validation")
    model = family_of(realtime["model"]).load(realtime["model"], torch.float32)
    expected = model.codec.decoder(data[0].speech.means[None])[0, 0].numpy()
    assert len(reference) == data.records[0].samples
    np.testing.assert_allclose(reference, expected[: len(reference)], rtol=1e-4, atol=1e-6)


def test_samples_are_compared_with_the_recordings_if_they_were_kept(realtime, tmp_path):
    settings = Settings(language="de", validation=0.5, keep_audio=True)
    source = open_source(write_pairs(tmp_path / "pairs", 6))
    prepare_dataset(source, tmp_path / "data", Job(realtime["model"], settings))
    listener = judged({"model": realtime["model"], "data": tmp_path / "data"}, tmp_path / "out")
    ((reference, *_),) = listener.references
    np.testing.assert_array_equal(reference, Dataset(tmp_path / "data", "validation").waveform(0).numpy())


def test_whether_words_are_counted_follows_from_the_language_of_the_data(realtime, tmp_path):
    settings = Settings(language="de", validation=0.3)
    source = open_source(write_pairs(tmp_path / "pairs", 6))
    prepare_dataset(source, tmp_path / "data", Job(realtime["model"], settings))
    assert judged(realtime, tmp_path / "en").is_english is True
    assert judged(realtime | {"data": tmp_path / "data"}, tmp_path / "de").is_english is False


def test_judging_can_be_turned_off(realtime, tmp_path):
    assert judged(realtime, tmp_path, "watch.judge=false").references == []
    assert not any(name.startswith("samples/") for name in read_curves(tmp_path))


@given(processes=st.integers(1, 9), count=st.integers(1, 40))
def test_processes_share_everything_once_and_have_equally_much_to_do(processes, count):
    member, shares = Processes("cpu"), []
    member.count = processes
    for member.rank in range(processes):
        shares.append(member.share(count))
    assert len({len(share) for share in shares}) == 1
    assert sorted(number for share in shares for number, weight in share if weight == 1) == list(range(count))
    assert all(weight in {0, 1} and number < count for share in shares for number, weight in share)


def test_another_seed_is_another_run(realtime, tmp_path):
    for seed in (0, 1):
        tune(recipe(realtime, "realtime-lora", tmp_path / str(seed), f"seed={seed}", *FEW))
    one, other = saved(tmp_path / "0"), saved(tmp_path / "1")
    assert not any(torch.equal(one[name], other[name]) for name in one if name.startswith("model."))


def test_remembering_less_learns_the_same(realtime, tmp_path):
    for name, checkpointing in (("a", "false"), ("b", "true")):
        tune(recipe(realtime, "realtime-lora", tmp_path / name, f"batch.checkpointing={checkpointing}", *FEW))
    assert_same(tmp_path / "a", tmp_path / "b")


def test_products_in_bfloat16_are_close_to_those_in_float32(realtime, tmp_path):
    for precision in ("float32", "bfloat16"):
        out = tmp_path / precision
        tune(recipe(realtime, "realtime-full", out, f"optimiser.precision={precision}", "optimiser.steps=1"))
    one, other = saved(tmp_path / "float32"), saved(tmp_path / "bfloat16")
    moments = torch.cat([one[n].flatten() for n in one if n.startswith("exp_avg.")])
    others = torch.cat([other[n].flatten() for n in one if n.startswith("exp_avg.")])
    assert not torch.equal(moments, others)
    assert torch.nn.functional.cosine_similarity(moments, others, 0) > 0.99


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("realtime-lora", {"speech_model", "head", "connector", "end_classifier"}),
        ("realtime-conservative", {"speech_model", "head", "connector", "end_classifier", "types"}),
        (
            "realtime-full",
            {"speech_model", "head", "connector", "end_classifier", "types", "text_model", "embedding"},
        ),
    ],
)
def test_a_strategy_changes_what_it_names_and_nothing_else(realtime, tmp_path, name, expected):
    folder, *_ = exported(realtime, name, tmp_path, *FEW)
    before, after = weights(realtime["model"]), weights(folder)
    changed = {key.partition(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert changed == expected


@pytest.mark.parametrize(("family", "small_part"), [("realtime", "end classifier"), ("longform", "semantic connector")])
def test_an_adapter_loads_back_as_the_merged_model(family, small_part, request, tmp_path):
    place = request.getfixturevalue(family)
    merged, adapter = exported(place, f"{family}-lora", tmp_path, *FEW)
    base = family_of(place["model"]).load(place["model"], torch.float32)

    (applied,) = family_of(place["model"]).merge(base, adapter)

    assert [part.name for part in applied.parts] == [
        "language model", "diffusion head", "acoustic connector", small_part
    ]  # fmt: skip
    for name, expected in weights(merged).items():
        torch.testing.assert_close(base.state_dict()[name], expected, rtol=1e-5, atol=1e-6)


def test_an_adapter_fits_no_other_family(realtime, longform, tmp_path):
    _, adapter = exported(realtime, "realtime-lora", tmp_path, *FEW)
    family = family_of(longform["model"])
    with pytest.raises(CheckpointError, match="of another family of models: it holds tts_eos_classifier"):
        family.merge(family.load(longform["model"], torch.float32), adapter)


def test_a_realtime_model_speaks_with_an_adapter_as_with_the_merged_weights(realtime, tmp_path):
    merged, adapter = exported(realtime, "realtime-lora", tmp_path, *FEW)
    plain, adapted, whole = (
        load(folder, adapter=chosen).speak("Rain.", seed=1).latents
        for folder, chosen in ((realtime["model"], ()), (realtime["model"], adapter), (merged, ()))
    )
    torch.testing.assert_close(adapted, whole, rtol=1e-3, atol=1e-3)
    assert plain.shape != whole.shape or float((plain - whole).abs().max()) > 0.1
    with pytest.raises(CheckpointError, match="changes nothing"):
        load(realtime["model"], adapter=f"{adapter}@0")


def test_an_export_is_of_the_models_types_with_all_that_lay_beside_it(realtime, tmp_path):
    half = tmp_path / "half"
    convert(realtime["model"], half, "float16", 10**9)
    prepare_dataset(open_source(write_pairs(tmp_path / "pairs", 4)), tmp_path / "data", Job(half, Settings()))
    place = {"model": half, "data": tmp_path / "data"}
    tuned, adapter = exported(place, "realtime-lora", tmp_path / "out", *FEW)

    assert {t.dtype for t in family_of(tuned).load(tuned, None).state_dict().values()} == {torch.float16}
    names = {str(path.relative_to(half)) for path in half.rglob("*") if path.is_file()}
    assert {str(path.relative_to(tuned)) for path in tuned.rglob("*") if path.is_file()} == names
    assert (adapter / "lora" / "adapter_config.json").is_file()


def open_realtime(place, tmp_path, *changes):
    chosen = recipe(place, "realtime-lora", tmp_path, *changes)
    data = Dataset(place["data"])
    return open_task(chosen, place["model"], data.facts, torch.device("cpu")), data, chosen


@torch.no_grad()
@pytest.mark.parametrize("has_text", [True, False], ids=["positive branch", "negative branch"])
def test_conditions_are_those_of_a_generation_that_replays_the_latents(realtime, tmp_path, has_text):
    task, data, _ = open_realtime(realtime, tmp_path)
    training, model = task.training, task.model
    example = task.lay_out(data[0], torch.Generator(), is_validation=True)
    latents = torch.randn(14, model.config.latent_size, generator=torch.Generator().manual_seed(1))
    example = dataclasses.replace(example, latents=latents, ids=example.ids if has_text else example.ids[:0])
    other = task.lay_out(data[1], torch.Generator(), is_validation=True)

    batch = task.collate([other, example])
    conditions, states = training.states(batch, batch.latents)

    state, expected, logits = training.voice.clone(), [], []
    ids, windows = task.tokenizer.encode(data[0].record.text), model.config
    for i, latent in enumerate(latents):
        if i % windows.speech_window == 0:
            text = ids[i // windows.speech_window * windows.text_window :][: windows.text_window]
            if text:
                model.read(torch.tensor([text]), state)
        expected.append((state.condition if has_text else state.negative_condition)[0].clone())
        logits.append(model.hear(latent[None], state)[0])
    torch.testing.assert_close(conditions[1, : len(latents)], torch.stack(expected), rtol=1e-4, atol=1e-5)
    if has_text:
        found = model.end_classifier(states[1, : len(latents)])
        torch.testing.assert_close(found, torch.stack(logits), rtol=1e-4, atol=1e-4)


def test_the_loss_of_a_step_is_that_of_its_examples_however_they_are_batched(realtime, tmp_path):
    task, data, _ = open_realtime(realtime, tmp_path, "loss.text_drop=0.5", "loss.input_noise=0.3")
    training, examples, draws = task.training, [], []
    for i in range(6):
        generator = torch.Generator().manual_seed(i)
        examples.append(task.lay_out(data[i], generator, False))
        draws.append(training.draw(examples[-1], generator))
    examples[0] = dataclasses.replace(examples[0], latents=examples[0].latents[:2])
    draws[0] = training.draw(examples[0], torch.Generator().manual_seed(9))
    assert {bool(len(e.ids)) for e in examples} == {True, False}

    whole = task.collate(examples)
    expected = training(whole, type(draws[0]).join(draws))
    alone = [training(task.collate([e]), d, whole.counts) for e, d in zip(examples, draws, strict=True)]

    for name in expected:
        torch.testing.assert_close(sum(each[name] for each in alone), expected[name], rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_before_the_first_step_a_lora_changes_nothing(realtime, tmp_path):
    task, data, chosen = open_realtime(realtime, tmp_path, "lora.dropout=0")
    example = task.lay_out(data[0], torch.Generator(), True)
    batch, draws = task.collate([example]), task.training.draw(example, torch.Generator())
    before = task.training(batch, draws)
    assert prepare_model(task, chosen) > 0
    torch.testing.assert_close(task.training(batch, draws), before)


def test_it_learns_what_it_is_shown(realtime, tmp_path):
    losses = []
    chosen = recipe(realtime, "realtime-full", tmp_path, "optimiser.steps=40", "loss.text_drop=0", "loss.draws=16")
    finetune(chosen, realtime["model"], Processes("cpu"), lambda step, loss: losses.append(loss))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_an_epoch_has_every_item_once_and_any_step_can_be_asked_for_first():
    frames = [(7 * i) % 40 + 1 for i in range(50)]
    order = Order(frames, 100, seed=1)
    batches = [order.batch(i) for i in range(2 * len(order.epoch(0)))]
    first = batches[: len(order.epoch(0))]
    assert sorted(i for batch in first for i in batch) == list(range(50))
    assert Order(frames, 100, seed=1).batch(len(batches) - 1) == batches[-1]
    assert first != batches[len(first) : 2 * len(first)]
    assert first != [Order(frames, 100, seed=2).batch(i) for i in range(len(first))]


def test_a_folder_with_another_run_is_refused(realtime, tmp_path):
    tune(recipe(realtime, "realtime-lora", tmp_path, *FEW))
    with pytest.raises(CheckpointError, match=r"differs in lora\.rank"):
        tune(recipe(realtime, "realtime-lora", tmp_path, *FEW, "lora.rank=2"))


def test_what_does_not_fit_together_is_refused_before_training(realtime, longform, tmp_path):
    mixed = realtime | {"data": longform["data"]}
    with pytest.raises(CheckpointError, match=r"another codec|channels") as error:
        tune(recipe(mixed, "realtime-lora", tmp_path))
    assert f"--model {realtime['model']}" in error.value.hint
    with pytest.raises(ConfigError, match="the recipe is for VibeVoice long-form models"):
        tune(recipe(realtime, "longform-lora", tmp_path))
    for key in ("data", "out"):
        with pytest.raises(InputError, match=f"does not say {key}"):
            tune(recipe(realtime, "realtime-lora", tmp_path, f"{key}="))
    assert list(tmp_path.iterdir()) == []


def test_an_example_longer_than_the_context_is_refused(realtime, tmp_path):
    task, data, _ = open_realtime(realtime, tmp_path)
    item = data[0]
    long = dataclasses.replace(item, speech=dataclasses.replace(item.speech, means=torch.zeros(70, 8)))
    with pytest.raises(CapacityError, match="the model has 64"):
        task.lay_out(long, torch.Generator(), True)


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed is not supported"),
        ("ACCELERATE_USE_MEGATRON_LM", "Megatron-LM is not supported"),
        ("ACCELERATE_USE_FSDP", "FSDP of version 1 is not supported"),
    ],
)
def test_other_ways_to_cut_a_model_up_are_refused(monkeypatch, variable, message):
    monkeypatch.setenv(variable, "true")
    with pytest.raises(ConfigError, match=message) as error:
        Processes("cpu")
    assert "--use_fsdp --fsdp_version 2" in error.value.hint
