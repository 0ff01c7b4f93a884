"""A prepared data set as a recipe reads it."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import toy_longform
from loquor.audio.level import level_dbfs
from loquor.errors import CheckpointError, InputError
from loquor.models import family_of
from loquor.training.dataset.build import prepare_dataset
from loquor.training.dataset.encoding import SpeechCodec
from loquor.training.dataset.indexing import read_dropped, read_records
from loquor.training.dataset.preparation import prepare
from loquor.training.dataset.reader import Dataset, length_buckets
from loquor.training.dataset.settings import Settings
from loquor.training.dataset.shards import Job
from loquor.training.dataset.sources import open_source
from loquor.training.sequences import encode_segment, whole_frames
from training.recordings import speech, text, write, write_model, write_pairs

SETTINGS = Settings(language="en", shard_items=2, validation=0.6, keep_audio=True)
COUNT = 5


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"), COUNT)


@pytest.fixture(scope="module")
def realtime(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("realtime"))


@pytest.fixture(scope="module")
def longform(tmp_path_factory):
    return toy_longform.write_toy(tmp_path_factory.mktemp("longform"))


@pytest.fixture(scope="module")
def prepared(pairs, realtime, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets") / "realtime"
    prepare_dataset(open_source(pairs), folder, Job(realtime, SETTINGS))
    return folder


def test_an_item_is_what_the_models_encoder_makes_of_its_sound(prepared, pairs, realtime):
    dataset, model = Dataset(prepared, None), family_of(realtime).load(realtime, torch.float32)

    for raw, item in zip(open_source(pairs), dataset, strict=True):
        (piece,) = prepare(raw, SETTINGS).pieces
        expected = model.codec.encoder(whole_frames(torch.from_numpy(piece.waveform), 3200)[None, None])[0]
        torch.testing.assert_close(item.speech.means, expected, rtol=2**-10, atol=1e-6)  # stored in float16
        assert item.speech.features is None and item.voices == ()
        assert (item.record.text, item.record.frames) == (piece.record.text, len(expected))
        assert item.speech.means.dtype == torch.float32

    assert dataset.facts.codec == SpeechCodec.open(realtime).fingerprint
    assert (dataset.facts.hop_samples, dataset.facts.sample_rate_hz) == (3200, 24_000)


def test_long_form_items_have_features_and_a_voice_of_their_own(pairs, longform, tmp_path):
    prepare_dataset(open_source(pairs), tmp_path, Job(longform, SETTINGS))
    dataset, model = Dataset(tmp_path, None), family_of(longform).load(longform, torch.float32)

    for raw, item in zip(open_source(pairs), dataset, strict=True):
        (piece,) = prepare(raw, SETTINGS).pieces
        expected = encode_segment(model, whole_frames(torch.from_numpy(piece.waveform), 3200), "real")
        torch.testing.assert_close(item.speech.means, expected.means, rtol=2**-10, atol=1e-6)
        torch.testing.assert_close(item.speech.features, expected.features, rtol=2**-10, atol=1e-6)
        (voice,) = item.voices
        assert item.record.own_voice and voice.features is None
        assert 1 <= len(voice.means) <= item.record.frames / 2 + 1


def test_voice_prompts_are_heard_at_the_level_of_voices_once_a_shard(longform, tmp_path):
    waveforms = [speech(1.0, seed=50 + i, level_dbfs=-35) for i in range(2)]
    voices = [write(tmp_path / f"v{i}.wav", waveform) for i, waveform in enumerate(waveforms)]
    write_pairs(tmp_path, 2, seconds=1.5)
    spoken = [f"Speaker 1: {text(0.7, 1)}\nSpeaker 2: {text(0.7, 2)}", text(1.5)]
    prompts = [[path.name for path in voices], voices[1].name]
    rows = [{"audio": f"00{i}.wav", "text": spoken[i], "voice_prompts": prompts[i]} for i in range(2)]
    rows += [rows[0] | {"id": "one voice", "voice_prompts": "v0.wav"}]
    rows += [rows[1] | {"id": "no voice", "voice_prompts": "v9.wav"}]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))

    prepare_dataset(open_source(tmp_path / "list.jsonl"), tmp_path / "set", Job(longform, SETTINGS))

    assert {one.id: one.reason for one in read_dropped(tmp_path / "set")} == {"one voice": "voice", "no voice": "voice"}
    two, one = Dataset(tmp_path / "set", None)
    assert [voice for voice, _ in two.record.lines] == [0, 1]
    assert (len(two.voices), len(one.voices), two.record.own_voice) == (2, 1, False)
    torch.testing.assert_close(two.voices[1].means, one.voices[0].means, rtol=0, atol=0)
    assert two.record.voices[1] == one.record.voices[0]  # stored once
    model = family_of(longform).load(longform, torch.float32)
    levelled = waveforms[0] - waveforms[0].mean()
    levelled *= 10 ** ((-25 - level_dbfs(levelled)) / 20)
    expected = encode_segment(model, torch.from_numpy(levelled.astype(np.float32)), "none")
    torch.testing.assert_close(two.voices[0].means, expected.means, rtol=2**-8, atol=1e-3)


def test_the_splits_are_parts_of_the_whole(prepared):
    train, validation = Dataset(prepared), Dataset(prepared, "validation")
    assert {r.id for r in train.records} | {r.id for r in validation.records} == {f"00{i}" for i in range(COUNT)}
    assert len(train) + len(validation) == COUNT
    assert train.hours + validation.hours == pytest.approx(sum(r.seconds for r in read_records(prepared)) / 3600)
    assert train.frames == [len(item.speech.means) for item in train]
    with pytest.raises(InputError, match="no split 'test'"):
        Dataset(prepared, "test")


def test_the_sound_can_be_kept(prepared, pairs, realtime, tmp_path):
    dataset = Dataset(prepared, None)
    for i, raw in enumerate(open_source(pairs)):
        (piece,) = prepare(raw, SETTINGS).pieces
        np.testing.assert_allclose(dataset.waveform(i), piece.waveform, atol=0.6 / 32767)
    prepare_dataset(open_source(pairs), tmp_path, Job(realtime, Settings(language="en")))
    with pytest.raises(InputError, match="has no sound"):
        Dataset(tmp_path).waveform(0)


def test_changing_what_was_read_leaves_the_set_as_it_is(prepared):
    dataset = Dataset(prepared)
    before = dataset[0].speech.means.clone()
    dataset[0].speech.means.zero_()
    assert torch.equal(dataset[0].speech.means, before)


def test_an_unfinished_or_damaged_set_is_refused(prepared, tmp_path):
    with pytest.raises(InputError, match="holds no prepared data"):
        Dataset(tmp_path)
    copy = shutil.copytree(prepared, tmp_path / "copy")
    (copy / "items.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(CheckpointError, match=r"items\.jsonl cannot be read"):
        Dataset(copy)
    (copy / "index.json").unlink()
    with pytest.raises(InputError, match="is not prepared to its end"):
        Dataset(copy)


def test_a_model_without_an_encoder_cannot_prepare(realtime, tmp_path):
    family = family_of(realtime)
    model = family.load(realtime, None)
    model.codec.encoder = None
    family.layouts["original"](model, tmp_path, None, 10**9)
    with pytest.raises(CheckpointError, match="has no encoder") as error:
        SpeechCodec.open(tmp_path)
    assert "loquor distil" in error.value.hint


@given(st.lists(st.integers(1, 200), max_size=60), st.integers(1, 600), st.integers(0, 3))
def test_buckets_hold_every_item_once_within_the_budget(frames, most, seed):
    batches = list(length_buckets(frames, most, seed))
    assert sorted(i for batch in batches for i in batch) == list(range(len(frames)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(frames[i] for i in batch) <= most
    assert batches == list(length_buckets(frames, most, seed))


def test_buckets_waste_little_and_differ_from_epoch_to_epoch():
    frames = torch.randint(5, 150, (500,), generator=torch.Generator().manual_seed(0)).tolist()
    batches = list(length_buckets(frames, 1000, epoch_seed=0))
    padded = sum(len(batch) * max(frames[i] for i in batch) for batch in batches)
    assert sum(frames) / padded > 0.85
    assert batches != list(length_buckets(frames, 1000, epoch_seed=1))
