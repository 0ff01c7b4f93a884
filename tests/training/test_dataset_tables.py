"""Sets saved by the `datasets` library, read by pyarrow alone."""

import io
import json

import numpy as np
import pytest
import soundfile

from loquor.errors import AudioError, InputError, MissingExtra
from loquor.training.dataset import tables
from loquor.training.dataset.sources import open_source
from training.recordings import speech, text, write

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

COUNT = 5
AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
ARRAY = pa.struct([("array", pa.list_(pa.float32())), ("sampling_rate", pa.int64())])


def flac(waveform):
    data = io.BytesIO()
    soundfile.write(data, waveform, 24_000, format="flac")
    return data.getvalue()


def table(**more):
    sounds = [{"bytes": flac(speech(0.5, seed=i)), "path": f"{i}.flac"} for i in range(COUNT)]
    columns = {"audio": pa.array(sounds, AUDIO), "sentence": [text(0.5, seed=i) for i in range(COUNT)]}
    return pa.table(columns | {"gender": ["x"] * COUNT} | more)


def save_to_disk(folder, rows, indices=None):
    """What datasets.save_to_disk writes: Arrow streams of record batches, and a state that names them."""
    folder.mkdir()
    names = [f"data-0000{i}-of-00002.arrow" for i in range(2)]
    for name, part in zip(names, (rows.slice(0, 3), rows.slice(3)), strict=True):
        with pa.ipc.new_stream(folder / name, part.schema) as stream:
            stream.write_table(part, max_chunksize=2)
    state = {"_data_files": [{"filename": name} for name in names], "_indices_data_files": indices}
    (folder / "state.json").write_text(json.dumps(state))
    return folder


def save_parquet(folder, rows):
    folder.mkdir()
    parquet.write_table(rows, folder / "train-00000-of-00001.parquet", row_group_size=2)
    return folder


@pytest.mark.parametrize("save", [save_to_disk, save_parquet])
def test_rows_are_items_in_order(tmp_path, save):
    facts = {"client_id": ["ada"] * COUNT, "locale": ["en", None, "en", "en", "en"]}
    source = open_source(save(tmp_path / "set", table(**facts)))

    items = list(source)

    assert source.layout == "datasets"
    assert [item.id for item in items] == [f"{i:08}" for i in range(COUNT)]
    assert [item.text for item in items] == [text(0.5, seed=i) for i in range(COUNT)]
    assert [(item.speaker, item.language) for item in items[:2]] == [("ada", "en"), ("ada", "")]
    for i in (4, 0, 3, 1, 2):
        np.testing.assert_allclose(items[i].sound.waveform(), speech(0.5, seed=i), atol=1e-4)


def test_a_set_of_several_splits_asks_which_one(tmp_path):
    save_to_disk(tmp_path / "train", table())
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(InputError) as error:
        list(open_source(tmp_path))
    assert f"{tmp_path / 'train'}" in error.value.hint
    assert len(list(open_source(tmp_path / "train"))) == COUNT


def test_sound_may_be_paths_or_samples(tmp_path):
    write(tmp_path / "a.wav", speech(0.5))
    paths = pa.table({"audio": ["a.wav", str(tmp_path / "a.wav")], "text": ["x", "y"]})
    parquet.write_table(paths, tmp_path / "paths.parquet")
    for item in open_source(tmp_path / "paths.parquet"):
        np.testing.assert_array_equal(item.sound.waveform(), speech(0.5))
    samples = [{"array": speech(0.5, rate_hz=48_000), "sampling_rate": 48_000}]
    parquet.write_table(pa.table({"audio": pa.array(samples, ARRAY), "text": ["x"]}), tmp_path / "arrays.parquet")
    (item,) = open_source(tmp_path / "arrays.parquet")
    assert item.sound.waveform().shape == (12_000,)


def test_voice_prompts_may_be_one_or_several(tmp_path):
    write(tmp_path / "a.wav", speech(0.5))
    rows = {"audio": ["a.wav"] * 3, "text": ["x"] * 3}
    listed = pa.table(rows | {"voice_prompts": [["a.wav", "a.wav"], [], None]})
    single = pa.table(rows | {"voice_prompts": ["a.wav", None, "a.wav"]})
    for name, counts, saved in (("listed", [2, 0, 0], listed), ("single", [1, 0, 1], single)):
        parquet.write_table(saved, tmp_path / f"{name}.parquet")
        items = list(open_source(tmp_path / f"{name}.parquet"))
        assert [len(item.voices) for item in items] == counts
        np.testing.assert_array_equal(items[0].voices[-1].waveform(), speech(0.5))


@pytest.mark.parametrize("column", ["audio", "sentence"])
def test_a_set_without_sound_or_text_says_what_it_has(tmp_path, column):
    source = open_source(save_parquet(tmp_path / "set", table().drop_columns(column)))
    with pytest.raises(InputError, match="gender") as error:
        list(source)
    assert error.value.hint


def test_a_selection_of_rows_must_be_saved_as_it_is_read(tmp_path):
    source = open_source(save_to_disk(tmp_path / "set", table(), indices=[{"filename": "indices.arrow"}]))
    with pytest.raises(InputError, match="selection of the rows"):
        list(source)


def test_cells_without_sound_are_faults_of_their_items(tmp_path):
    empty = [{"bytes": None, "path": None}, {"bytes": b"no audio", "path": "x.wav"}]
    parquet.write_table(pa.table({"audio": pa.array(empty, AUDIO), "text": ["x", "y"]}), tmp_path / "x.parquet")
    for item in open_source(tmp_path / "x.parquet"):
        with pytest.raises(AudioError):
            item.sound.waveform()


def test_a_torn_table_and_a_missing_library_are_our_errors(tmp_path, monkeypatch):
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(InputError, match="cannot be read"):
        list(open_source(tmp_path / "torn.parquet"))
    parquet.write_table(table(), tmp_path / "fine.parquet")
    tables._opened.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra) as error:
        list(open_source(tmp_path / "fine.parquet"))
    assert "loquor[data]" in error.value.hint
