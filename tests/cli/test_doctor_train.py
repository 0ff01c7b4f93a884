"""`loquor doctor train` from outside: what it prints, its exit codes, and the speakers it hears."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from loquor.cli import speaker_checks
from loquor.cli.speaker_checks import labels, voice_prompts
from loquor.errors import MissingExtra
from loquor.evaluation.similarity import PACKAGE
from loquor.models import family_of
from loquor.training.checkup.findings import Case
from loquor.training.dataset.build import prepare_dataset
from loquor.training.dataset.reader import Dataset
from loquor.training.dataset.settings import Settings
from loquor.training.dataset.shards import Job
from loquor.training.dataset.sources import open_source
from training.ailing import copied, prepare_sound, rewrite_items, rewrite_json, rewrite_model, rewrite_shard
from training.recordings import RATE_HZ, text, write
from training.test_checkup import PERSIAN, leak, say
from training.tunable import QUICK, recipe

needs_resemblyzer = pytest.mark.skipif(not PACKAGE.is_installed, reason="resemblyzer is not installed")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return prepare_sound(tmp_path_factory.mktemp("realtime"), "realtime")


@pytest.fixture
def place(sound, tmp_path):
    return copied(sound, tmp_path / "place")


@pytest.fixture
def ask(loquor, monkeypatch):
    """Asks for a training in that place, with an ear that hears one speaker everywhere."""
    monkeypatch.setattr(speaker_checks, "SpeakerEncoder", Ear)

    def invoke(place, *words):
        where = [f"data={place['data']}", f"model={place['model']}", "out=run", *QUICK]
        return loquor("doctor", "train", "realtime-lora", *where, *words, "--device", "cpu")

    return invoke


class Ear:
    """Stands for the speaker encoder: the shares of 16 bands of 40 Hz, from 20 Hz on, and something all voices have."""

    def embed(self, waveform, sample_rate_hz=RATE_HZ):
        power = np.abs(np.fft.rfft(waveform, 2 * RATE_HZ))[40 : 40 + 16 * 80] ** 2
        bands = np.sqrt(power.reshape(16, 80).sum(axis=1))
        shares = bands / np.linalg.norm(bands) + 0.2
        return (shares / np.linalg.norm(shares)).astype(np.float32)


def verdicts(done):
    return {finding["name"]: finding["verdict"] for finding in done.json if finding["verdict"] != "ok"}


def test_a_sound_training_is_told_line_by_line_and_exits_with_0(ask, place):
    done = ask(place)
    assert done.code == 0
    *lines, last = done.text.splitlines()
    assert last == f"{len(lines)} ok, 0 to look at, 0 wrong"
    assert all(line.startswith("ok    ") for line in lines)
    assert "ok    adapter            all 24 LoRAs moved; the loss of a batch went from " in done.text
    assert not (place["data"].parent / "run").exists() and "\x1b" not in done.text


def test_json_is_the_same_for_machines(ask, place):
    findings = ask(place, "--json").json
    assert all(f.keys() == {"name", "verdict", "detail", "advice", "figures", "items"} for f in findings)
    assert {f["verdict"] for f in findings} == {"ok"}
    figures = {f["name"]: f["figures"] for f in findings}
    assert figures["context"]["context"] == 64 and figures["adapter"]["adapters"] == 24


def lose_scale(place):
    rewrite_model(place["model"], lambda tensors: tensors["model.speech_scaling_factor"].fill_(torch.nan))


def spoil_latents(place):
    rewrite_shard(place["data"], lambda tensors: tensors["latents"][7].fill_(torch.nan))


def change_codec(place):
    rewrite_json(place["data"] / "index.json", codec="0123456789abcdef")


def change_rate(place):
    rewrite_json(place["model"] / "preprocessor_config.json", sampling_rate=16_000)


def write_persian(place):
    rewrite_items(place["data"], lambda rows: [say(row, PERSIAN) for row in rows])


def leak_text(place):
    rewrite_items(place["data"], leak("lines"))


def write_much(place):
    rewrite_items(place["data"], lambda rows: say(rows[5], "a " * 60))


@pytest.mark.parametrize(
    ("harm", "name", "told"),
    [
        (lose_scale, "latent scale", "* nan"),
        (spoil_latents, "latents", "NaN or infinity in 1 item of 12: 001"),
        (change_codec, "codec", "encoded by another codec"),
        (change_rate, "sample rate", "the data is at 24000 Hz, the model at 16000 Hz"),
        (write_persian, "text", "does not read 100% of 96 Arabic letters, in 12 items of 12"),
        (leak_text, "leakage", "1 item of validation has texts that are also trained on"),
        (write_much, "context", "1 item of 12 longer than the context"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_what_would_waste_the_training_is_told_with_advice_and_exits_with_1(ask, place, harm, name, told):
    harm(place)
    done = ask(place)
    lines = done.text.splitlines()
    (number,) = [i for i, line in enumerate(lines) if line.startswith(f"fail  {name.ljust(17)}  ")]
    assert done.code == 1 and told in lines[number]
    assert lines[number + 1].strip().startswith("-> ")
    assert lines[-1].endswith(" wrong") and not lines[-1].endswith(" 0 wrong")


def test_a_warning_exits_with_0(ask, place):
    rewrite_items(place["data"], lambda rows: [row.update(split="train") for row in rows])
    done = ask(place, "--json")
    assert (done.code, verdicts(done)) == (0, {"data": "warn"})


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["realtime-lore"], 1, "error: there is no recipe realtime-lore"),
        (["realtime-lora", "lora.rnk=3"], 1, "error: realtime-lora: there is no key lora.rnk"),
        ([], 2, "Usage: loquor doctor train"),
    ],
)
def test_mistakes_in_the_recipe_are_those_of_train(loquor, words, code, message):
    done = loquor("doctor", "train", *words)
    assert (done.code, done.out) == (code, b"")
    assert message.split(": ")[-1] in done.err


def test_options_of_the_other_doctor_are_refused(loquor):
    done = loquor("doctor", "--json", "train", "realtime-lora")
    assert done.code == 2
    assert "after train" in done.err


def test_the_command_explains_itself_with_examples(loquor):
    done = loquor("doctor", "train", "--help")
    assert (done.code, done.err) == (0, "")
    assert "    loquor doctor train realtime-lora data=./prepared" in done.text.splitlines()


def test_without_the_instrument_speakers_are_unchecked(ask, place, monkeypatch):
    def missing():
        raise MissingExtra("the speaker encoder is missing", hint="pip install it")

    monkeypatch.setattr(speaker_checks, "SpeakerEncoder", missing)
    done = ask(place)
    assert done.code == 0
    assert "warn  speakers           unchecked: the speaker encoder is missing\n" in done.text
    assert "-> pip install it" in done.text


def voiced(pitch_hz, seed, seconds=1.0):
    """[T] syllables of a buzz, never twice the same."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    wobble = pitch_hz * (1 + 0.005 * rng.normal())
    buzz = sum(np.sin(2 * np.pi * k * wobble * time_s + rng.uniform(0, 6)) / k for k in (1, 2))
    sound = buzz * (0.2 + np.abs(np.cos(np.pi * 4 * time_s))) + 0.01 * rng.normal(size=len(time_s))
    return (0.1 * sound / np.sqrt(np.mean(sound**2))).astype(np.float32)


def speakers_set(sound, folder, pitches, keep_audio=False):
    """A set of a second for each pitch; the name of an item is its number."""
    for i, pitch in enumerate(pitches):
        write(folder / "pairs" / f"{i:02}.wav", voiced(pitch, i))
        (folder / "pairs" / f"{i:02}.txt").write_text(text(1.0, seed=i))
    settings = Settings(language="en", validation=0.3, keep_audio=keep_audio, allow=("clipped",))
    prepare_dataset(open_source(folder / "pairs"), folder / "set", Job(sound["model"], settings))
    return {"model": sound["model"], "data": folder / "set"}


def label(place, names):
    rewrite_items(place["data"], lambda rows: [row.update(speaker=n) for row, n in zip(rows, names, strict=True)])


def heard(place, check=labels, name="realtime-lora", ear=None):
    chosen, data = recipe(place, name, place["data"]), Dataset(place["data"], None)
    model = family_of(place["model"]).load(place["model"], torch.float32)
    case = Case(chosen, place["model"], model, data, data)
    return list(check(case, (ear or Ear()).embed))


LOW, HIGH, OTHER = 120.0, 200.0, 280.0  # the middles of bands, and so are their doubles


@pytest.mark.parametrize("keep_audio", [True, False], ids=["kept sound", "source"])
def test_wrong_labels_of_speakers_are_found(sound, tmp_path, keep_audio):
    place = speakers_set(sound, tmp_path, [LOW] * 6 + [HIGH] * 6, keep_audio)
    if keep_audio:
        (tmp_path / "pairs").rename(tmp_path / "gone")
    label(place, ["ada"] * 6 + ["bob"] * 6)
    (fine,) = heard(place)
    assert fine.verdict == "ok"
    assert fine.detail.startswith("12 items of 2 labels heard, a typical one is ")
    assert fine.figures["typical"] > 0.95

    label(place, ["ada"] * 5 + ["bob"] * 7)
    (wrong,) = heard(place)
    assert (wrong.verdict, wrong.items, wrong.figures["misplaced"]) == ("fail", ("05",), 1)
    assert wrong.detail.startswith("1 item of 12 heard nearer to another label: 05 (bob 0.")


def test_a_label_of_two_voices_and_two_labels_of_one_voice_are_found(sound, tmp_path):
    place = speakers_set(sound, tmp_path, [LOW] * 5 + [HIGH] * 3 + [OTHER] * 6)
    label(place, ["ada"] * 8 + ["eve", "fay"] * 3)
    mixed, same = heard(place)
    assert (mixed.verdict, mixed.items) == ("fail", ("05", "06", "07"))
    assert mixed.detail.startswith("ada holds two voices, only 0.")
    assert (same.verdict, same.detail, same.items) == ("warn", "eve and fay sound like one voice", ("eve", "fay"))


def test_sets_whose_sound_is_gone_are_unchecked(sound, tmp_path):
    place = speakers_set(sound, tmp_path, [LOW] * 3)
    (tmp_path / "pairs").rename(tmp_path / "gone")
    (found,) = heard(place)
    assert (found.verdict, found.detail) == ("warn", "unchecked: the set holds no sound")
    assert "--keep-audio" in found.advice


@needs_resemblyzer
def test_the_real_encoder_tells_a_wrong_label(loquor, sound, tmp_path):
    place = speakers_set(sound, tmp_path, [LOW] * 4 + [HIGH] * 5, keep_audio=True)
    label(place, ["ada"] * 4 + ["bob"] * 4 + ["ada"])
    where = [f"data={place['data']}", f"model={place['model']}", *QUICK]
    done = loquor("doctor", "train", "realtime-lora", *where, "--device", "cpu")
    assert done.code == 1
    assert "fail  speakers " in done.text and "08" in done.text.partition("fail  speakers ")[2].splitlines()[0]


class LoudEar:
    """Knows two speakers: the loud one and the other."""

    def embed(self, waveform, sample_rate_hz=RATE_HZ):
        return np.eye(2, dtype=np.float32)[int(np.abs(waveform).max() > 100)]


class WholeEar:
    """Hears another speaker in what is made of whole frames, as a codec gives it back."""

    def embed(self, waveform, sample_rate_hz=RATE_HZ):
        return np.eye(2, dtype=np.float32)[int(len(waveform) % 3200 == 0)]


@pytest.fixture(scope="module")
def longform(tmp_path_factory):
    """A set in which another recording prompts each item."""
    place = prepare_sound(tmp_path_factory.mktemp("longform"), "longform")
    rewrite_items(place["data"], lambda rows: [row.update(own_voice=False) for row in rows])
    return place


def test_voice_prompts_of_another_speaker_are_found(longform, tmp_path):
    (fine,) = heard(longform, voice_prompts, "longform-lora", LoudEar())
    assert (fine.verdict, fine.figures["heard"]) == ("ok", 8)

    place = copied(longform, tmp_path / "place")
    rewrite_shard(place["data"], lambda tensors: tensors["voices"][:2].fill_(6e4))
    (wrong,) = heard(place, voice_prompts, "longform-lora", LoudEar())
    assert (wrong.verdict, wrong.items) == ("fail", ("000",))
    assert wrong.detail == "1 of 8 heard are of another speaker than their item: 000 (0.00)"


def test_prompts_are_unchecked_where_the_codec_gives_other_voices_back(longform):
    (found,) = heard(longform, voice_prompts, "longform-lora", WholeEar())
    assert found.verdict == "warn"
    assert found.detail.startswith("unchecked: the codec gives a voice back only ")


def test_parts_of_the_items_themselves_need_no_judging(tmp_path_factory, longform):
    place = copied(longform, tmp_path_factory.mktemp("own"))
    rewrite_items(place["data"], lambda rows: [row.update(own_voice=True) for row in rows])
    assert heard(place, voice_prompts, "longform-lora") == []
