"""Defects of data and models, each planted in a sound set, are found before a training: by name, with figures."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
import torch

from loquor.training.checkup.text import read
from loquor.training.dataset.build import prepare_dataset
from loquor.training.dataset.settings import Settings
from loquor.training.dataset.shards import Job
from loquor.training.dataset.sources import open_source
from toy import named_voice, toy_config, toy_model
from training.ailing import (
    copied,
    examine,
    examine_unmoved,
    faults,
    named,
    prepare_sound,
    rewrite_items,
    rewrite_json,
    rewrite_model,
    rewrite_shard,
)
from training.recordings import WORDS, silence, speech, text, write

NEXT = {"step": "warn"}  # no step is tried where one cannot be taken


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return {f: prepare_sound(tmp_path_factory.mktemp(f), f) for f in ("realtime", "longform")}


@pytest.fixture
def realtime(sound, tmp_path):
    return copied(sound["realtime"], tmp_path / "realtime")


@pytest.fixture
def longform(sound, tmp_path):
    return copied(sound["longform"], tmp_path / "longform")


@pytest.mark.parametrize("name", ["realtime-lora", "realtime-conservative", "realtime-full", "longform-lora"])
def test_a_sound_training_gets_a_clean_bill_and_leaves_nothing_behind(sound, name):
    place = sound[name.partition("-")[0]]
    before = {path: path.stat().st_mtime_ns for path in place["data"].parent.rglob("*")}
    findings = examine(place, name)
    assert faults(findings) == {}
    names = [finding.name for finding in findings]
    for wanted in ("codec", "latents", "leakage", "text", "context", "gradients", "frozen", "passes", "time", "memory"):
        assert wanted in names
    assert ("adapter" in names) == name.endswith("lora")
    assert {path: path.stat().st_mtime_ns for path in place["data"].parent.rglob("*")} == before


def test_what_was_found_is_told_in_figures(sound):
    findings = examine(sound["realtime"], "realtime-lora")
    assert named(findings, "data").detail == "10 items to train on, 0.00 h; 2 items held out"
    assert named(findings, "latents").figures["std"] == pytest.approx(1, abs=0.01)
    passes = named(findings, "passes").figures
    assert (passes["steps"], passes["passes"]) == (6, round(6 / passes["epoch"], 3))
    assert named(findings, "memory").figures["peak"] > 1e7


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
@pytest.mark.parametrize("family", ["realtime", "longform"])
def test_a_latent_scale_that_normalises_nothing(realtime, longform, family, value):
    place = {"realtime": realtime, "longform": longform}[family]
    rewrite_model(place["model"], lambda tensors: tensors["model.speech_scaling_factor"].fill_(value))
    findings = examine(place, f"{family}-lora")
    assert faults(findings) == {"latent scale": "fail"}
    assert str(value) in named(findings, "latent scale").detail or "* 0" in named(findings, "latent scale").detail


def test_a_latent_scale_that_is_missing(realtime):
    rewrite_model(realtime["model"], lambda tensors: tensors.pop("model.speech_bias_factor"))
    findings = examine(realtime, "realtime-lora")
    assert faults(findings) == {"latent scale": "fail"}
    assert "lack model.speech_scaling_factor or model.speech_bias_factor" in named(findings, "latent scale").detail


@pytest.mark.parametrize(("factor", "verdict"), [(2, "warn"), (10, "fail"), (0.1, "fail")])
def test_a_latent_scale_of_other_latents(realtime, factor, verdict):
    rewrite_model(realtime["model"], lambda tensors: tensors["model.speech_scaling_factor"].mul_(factor))
    findings = examine_unmoved(realtime, "realtime-lora")
    assert faults(findings)["latents"] == verdict
    assert named(findings, "latents").figures["std"] == pytest.approx(factor, rel=0.01)
    assert f"std {named(findings, 'latents').figures['std']:.2f}" in named(findings, "latents").detail


def test_latents_that_are_no_numbers_are_named(realtime):
    rewrite_shard(realtime["data"], lambda tensors: tensors["latents"][7].fill_(torch.nan))  # of the second item
    findings = examine(realtime, "realtime-lora")
    assert faults(findings) == {"latents": "fail"} | NEXT
    assert named(findings, "latents").items == ("001",)
    assert "1 item of 12: 001" in named(findings, "latents").detail


def test_latents_that_never_change_are_named(realtime):
    rewrite_shard(realtime["data"], lambda tensors: tensors["latents"][:6].fill_(0.5))
    assert named(examine(realtime, "realtime-lora"), "latents").items == ("000",)


def test_semantic_features_of_zeros(longform):
    rewrite_shard(longform["data"], lambda tensors: tensors["features"].zero_())
    findings = examine(longform, "longform-lora")
    assert faults(findings) == {"semantic features": "fail"} | NEXT
    assert named(findings, "semantic features").figures["silent"] == 12


def test_zeros_that_the_recipe_asks_for_are_a_warning(longform):
    findings = examine_unmoved(longform, "longform-lora", "loss.zero_semantics=true")
    assert faults(findings)["semantic features"] == "warn"


def test_data_without_semantic_features(longform):
    rewrite_json(longform["data"] / "index.json", channels={"latents": 8})
    findings = examine(longform, "longform-lora")
    assert faults(findings) == {"codec": "fail"} | NEXT
    assert "no semantic features" in named(findings, "codec").detail
    assert f"--model {longform['model']}" in named(findings, "codec").advice


def test_data_of_another_codec(realtime):
    rewrite_json(realtime["data"] / "index.json", codec="0123456789abcdef")
    findings = examine(realtime, "realtime-lora")
    assert faults(findings) == {"codec": "fail"} | NEXT
    assert "another codec" in named(findings, "codec").detail


def lose_encoder(place):
    def drop(tensors):
        for name in [name for name in tensors if ".encoder." in name]:
            del tensors[name]

    rewrite_model(place["model"], drop)


def test_without_an_encoder_the_decoder_is_asked_whether_the_codec_is_right(realtime):
    lose_encoder(realtime)
    findings = examine(realtime, "realtime-lora")
    assert faults(findings) == {"codec": "fail"} | NEXT  # a random decoder gives no recording back
    assert named(findings, "codec").figures["items"] == 3
    assert named(findings, "codec").figures["echo"] < 0.6


def test_a_decoder_that_follows_the_recordings_is_the_right_one(realtime, tmp_path):
    from loquor.models.registry import EMBEDDED

    folder = write(tmp_path / "pairs" / "a.wav", speech(2.0)).parent
    (folder / "a.txt").write_text(text(2.0))
    place = {"model": shutil.copytree(EMBEDDED, tmp_path / "embedded"), "data": tmp_path / "set"}
    prepare_dataset(open_source(folder), place["data"], Job(place["model"], Settings(validation=0, keep_audio=True)))
    shutil.rmtree(folder)  # the set has the sound too
    lose_encoder(place)
    codec = named(examine(place, "realtime-lora", "voice=nobody"), "codec")
    assert (codec.verdict, codec.figures["items"]) == ("ok", 1)
    assert codec.figures["echo"] > 0.9


def test_without_encoder_and_recordings_the_codec_cannot_be_proven(realtime):
    lose_encoder(realtime)
    rewrite_items(realtime["data"], lambda rows: [row.update(source="/gone") for row in rows])
    findings = examine_unmoved(realtime, "realtime-lora")
    assert faults(findings)["codec"] == "warn"
    assert "--keep-audio" in named(findings, "codec").advice


def test_another_sample_rate(realtime):
    rewrite_json(realtime["model"] / "preprocessor_config.json", sampling_rate=16_000)
    findings = examine(realtime, "realtime-lora")
    assert faults(findings) == {"sample rate": "fail"} | NEXT
    assert named(findings, "sample rate").detail == "the data is at 24000 Hz, the model at 16000 Hz"


@pytest.mark.parametrize("times", [0.5, 2])
def test_frames_that_are_not_those_of_the_sound(realtime, times):
    rewrite_items(realtime["data"], lambda rows: rows[3].update(samples=int(rows[3]["samples"] * times)))
    findings = examine_unmoved(realtime, "realtime-lora")
    assert faults(findings)["durations"] == "fail"
    assert named(findings, "durations").items == ("003",)


def test_levels_that_were_left_as_they_were(realtime):
    rewrite_json(realtime["data"] / "plan.json", **{"--level": None})
    assert "level" not in faults(examine_unmoved(realtime, "realtime-lora"))
    rewrite_items(realtime["data"], lambda rows: [row.update(level_dbfs=-50) for row in rows[:4]])
    findings = examine_unmoved(realtime, "realtime-lora")
    assert faults(findings) == {"level": "warn"}
    assert "from -50 to -20; left so" in named(findings, "level").detail


def say(row, words, voice=0):
    row.update(lines=[[voice, words]], written=words)


def test_a_text_that_cannot_be_that_of_its_sound(realtime):
    rewrite_items(realtime["data"], lambda rows: say(rows[4], " ".join(WORDS * 2)[:40]))
    findings = examine_unmoved(realtime, "realtime-lora")
    assert faults(findings) == {"pace": "warn"}
    assert named(findings, "pace").items == ("004",)
    assert "characters a second; far from it is 1 item: 004 (" in named(findings, "pace").detail


def test_texts_that_were_shifted_by_a_line(tmp_path, realtime):
    for i in range(24):
        seconds = 0.5 + (i % 6) * 0.4
        write(tmp_path / "p" / f"{i:02}.wav", speech(seconds, seed=i))
        (tmp_path / "p" / f"{i:02}.txt").write_text(text(seconds, seed=i))
    realtime["data"] = tmp_path / "set"
    prepare_dataset(open_source(tmp_path / "p"), realtime["data"], Job(realtime["model"], Settings(validation=0.2)))
    assert faults(examine_unmoved(realtime, "realtime-lora")).get("pace") is None

    def shift(rows):
        lines = [row["lines"] for row in rows]
        for row, line in zip(rows, lines[3:] + lines[:3], strict=True):
            row["lines"] = line

    rewrite_items(realtime["data"], shift)
    pace = named(examine_unmoved(realtime, "realtime-lora"), "pace")
    assert pace.verdict == "fail"
    assert pace.figures["correlation"] < 0.5
    assert "shifted by a line" in pace.advice


PERSIAN = "سلام دنیا"


def test_text_of_another_script_than_the_tokenizer_reads(realtime):
    rewrite_items(realtime["data"], lambda rows: [say(row, PERSIAN) for row in rows[:3]])
    findings = examine(realtime, "realtime-lora")
    found = named(findings, "text")
    assert found.verdict == "fail"
    assert found.detail.startswith("PhonemeTokenizer does not read 100% of 24 Arabic letters, in 3 items of 12")
    assert PERSIAN in found.detail and found.items == ("000", "001", "002")
    assert found.figures["unread Arabic"] == 1


def test_a_few_words_of_another_script_are_a_warning(realtime):
    rewrite_items(realtime["data"], lambda rows: say(rows[0], f"{rows[0]['lines'][0][1]} لا"))
    assert faults(examine_unmoved(realtime, "realtime-lora"))["text"] == "warn"


def test_the_tokenizer_of_long_form_models_reads_every_script(longform):
    rewrite_items(longform["data"], lambda rows: [say(row, PERSIAN) for row in rows])
    findings = examine_unmoved(longform, "longform-lora")
    assert named(findings, "text").detail == "QwenTokenizer reads all 96 letters (Arabic)"
    assert named(findings, "tokens").figures["per_character"] == pytest.approx(0.5, abs=0.3)


def test_only_what_no_token_comes_from_is_unread():
    from loquor.text.phoneme_tokenizer import PhonemeTokenizer

    reading = read(PhonemeTokenizer(), f"Naïve {PERSIAN}, 24 ok")
    assert (reading.unread, reading.letters) == ({"Arabic": 8}, {"Latin": 7, "Arabic": 8, "digits": 2})
    assert read(PhonemeTokenizer(), PERSIAN).fault


def test_tokens_that_the_model_has_no_embeddings_for(realtime):
    tokenizer = realtime["model"] / "tokenizer.json"
    symbols = json.loads(tokenizer.read_text())["symbols"]
    rewrite_json(tokenizer, symbols=[f"<spare{i}>" for i in range(50)] + symbols)
    findings = examine(realtime, "realtime-lora")
    assert faults(findings)["tokens"] == "fail"
    assert "and the model has" in named(findings, "tokens").detail


def test_speech_that_outruns_its_text(realtime):
    rewrite_json(realtime["model"] / "config.json", text_window=2)
    findings = examine_unmoved(realtime, "realtime-lora")
    assert faults(findings) == {"tokens": "warn"}
    assert named(findings, "tokens").figures["late"] == 12


def test_examples_longer_than_the_context(realtime):
    rewrite_items(realtime["data"], lambda rows: say(rows[5], "a " * 60))
    findings = examine(realtime, "realtime-lora")
    found = named(findings, "context")
    assert (found.verdict, found.items, found.figures["context"]) == ("fail", ("005",), 64)
    assert found.detail.startswith("1 item of 12 longer than the context; 005 is the longest: ")


@pytest.mark.parametrize(("extra", "verdict"), [(0, None), (1, "fail")])
def test_the_context_is_filled_to_the_last_position_and_no_further(longform, extra, verdict):
    longest = named(examine_unmoved(longform, "longform-lora"), "context").figures["longest"]
    config = json.loads((longform["model"] / "config.json").read_text())
    config["decoder_config"]["max_position_embeddings"] = longest - extra
    rewrite_json(longform["model"] / "config.json", **config)
    assert faults(examine_unmoved(longform, "longform-lora")).get("context") == verdict


def both(rows):
    """An item of each split."""
    return next(r for r in rows if r["split"] == "train"), next(r for r in rows if r["split"] == "validation")


def leak(key, change=lambda value: value):
    def plant(rows):
        mine, theirs = both(rows)
        theirs[key] = change(mine[key])

    return plant


def louder(lines):
    return [[voice, f"{words.upper()}!"] for voice, words in lines]


@pytest.mark.parametrize(
    ("plant", "kind", "verdict"),
    [
        (leak("lines", louder), "texts", "fail"),
        (leak("sound"), "sounds", "fail"),
        (leak("start"), "latents", "fail"),
        (leak("source"), "recordings", "warn"),
    ],
    ids=["texts", "sounds", "latents", "recordings"],
)
def test_what_stands_in_both_splits(realtime, plant, kind, verdict):
    rewrite_items(realtime["data"], plant)
    found = named(examine_unmoved(realtime, "realtime-lora"), "leakage")
    assert found.verdict == verdict
    assert found.figures[kind] == 1 and f"1 item of validation has {kind}" in found.detail
    assert len(found.items) == 2


def test_a_speaker_in_both_splits_where_the_split_is_by_speaker(realtime):
    rewrite_items(realtime["data"], lambda rows: [row.update(speaker="ada") for row in rows])
    assert faults(examine_unmoved(realtime, "realtime-lora")) == {}
    rewrite_json(realtime["data"] / "plan.json", **{"--split-by": "speaker"})
    found = named(examine_unmoved(realtime, "realtime-lora"), "leakage")
    assert (found.verdict, found.figures["speakers"], found.figures["held_out"]) == ("fail", 1, 2)


def test_nothing_held_out_is_a_warning_unless_nobody_validates(realtime):
    rewrite_items(realtime["data"], lambda rows: [row.update(split="train") for row in rows])
    assert faults(examine_unmoved(realtime, "realtime-lora")) == {"data": "warn"}
    assert faults(examine_unmoved(realtime, "realtime-lora", "watch.validate_every=0")) == {}


def test_a_voice_of_another_model(realtime):
    config = toy_config(context=64)
    wider = dataclasses.replace(config, speech=dataclasses.replace(config.speech, num_hidden_layers=4))
    named_voice(toy_model(wider)).save(realtime["model"] / "voices" / "Toy.safetensors")
    findings = examine(realtime, "realtime-lora")
    assert faults(findings) == {"voice": "fail"} | NEXT
    assert "made by another model" in named(findings, "voice").detail


def test_a_voice_that_nobody_has(realtime):
    assert faults(examine(realtime, "realtime-lora", "voice=nobody")) == {"voice": "fail"} | NEXT


def test_several_speakers_taught_to_one_voice(realtime):
    rewrite_items(realtime["data"], lambda rows: [r.update(speaker=s) for r, s in zip(rows, "ab" * 6, strict=True)])
    found = named(examine_unmoved(realtime, "realtime-lora"), "voice")
    assert (found.verdict, found.figures["speakers"]) == ("warn", 2)


def test_items_without_voices(longform):
    rewrite_items(longform["data"], lambda rows: rows[0].update(voices=[]))
    assert named(examine_unmoved(longform, "longform-lora"), "voices").items == ("000",)


def test_data_and_models_that_cannot_be_opened(realtime, longform):
    assert faults(examine(realtime, "realtime-lora", "data=")) == {"data": "fail"}
    assert faults(examine(realtime, "realtime-lora", "data=./nowhere")) == {"data": "fail"}
    assert faults(examine(longform, "realtime-lora")) == {"model": "fail"}
    shard = next((realtime["data"] / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:100])
    assert faults(examine(realtime, "realtime-lora")) == {"latents": "fail"} | NEXT


def test_weights_that_are_no_numbers(realtime):
    rewrite_model(realtime["model"], lambda t: t["model.acoustic_connector.fc1.weight"][0].fill_(torch.nan))
    findings = examine(realtime, "realtime-lora")
    assert faults(findings) == {"model": "fail"}
    assert "connector.inward.weight" in named(findings, "model").detail


def test_recordings_of_silence_are_no_reason_to_stop(realtime, tmp_path):
    """The set knows where its items came from; what lies there now may be something else."""
    write(tmp_path / "quiet.wav", silence(1.0))
    lose_encoder(realtime)
    rewrite_items(realtime["data"], lambda rows: [row.update(source=str(tmp_path / "quiet.wav")) for row in rows])
    assert named(examine(realtime, "realtime-lora"), "codec").figures["echo"] == 0
