"""`loquor bench` from outside."""

from __future__ import annotations

import pytest

from loquor.evaluation.speed import vita
from models.toy_speech_tokens import toy_glm_decoder
from toy_converser import write_toy_converser
from toy_longform import write_toy as write_longform

QUICK = ("--rounds", "1", "--length", "14", "--threads", "1")
SUBJECTS = ["vanilla", "balance", "boost", "turbo", "balance, all rows", "boost, all rows", "turbo, all rows"]


def test_bench_compares_the_schedules_with_plain_decoding(loquor):
    done = loquor("bench", "--shape", "vita-toy", *QUICK)
    assert done.code == 0
    lines = done.text.splitlines()
    assert "shape vita-toy" in lines[0] and "processor" in lines[0]
    assert lines[2].startswith("1 thread, ")
    assert "times vanilla" in lines[3]
    assert [line.split("  ")[0] for line in lines[4:]] == SUBJECTS


def test_bench_tells_machines_everything_and_draws(loquor, tmp_path):
    done = loquor("bench", "--shape", "vita-toy", *QUICK, "--threads", "1", "--json", "--plot", tmp_path / "parts.svg")
    found = done.json
    assert found["settings"]["dtype"] == "bfloat16" and found["machine"]["cores"] >= 1
    assert [m["threads"] for m in found["measurements"]] == [1, 1]
    for measurement in found["measurements"]:
        assert list(measurement["subjects"]) == SUBJECTS
        assert set(measurement["subjects"]["boost"]["ratios"]["tokens/s"]) == {"median", "low", "high"}
        assert {"wall_s", "cpu_s", "tokens/s"} <= set(measurement["every_round"][0]["goes"]["boost"])
    drawn = (tmp_path / "parts.svg").read_text(encoding="utf-8")
    assert drawn.startswith("<?xml")


def test_bench_measures_a_checkpoint_until_it_is_heard_and_checked_by_its_backbone(loquor, tmp_path, monkeypatch):
    decoder = toy_glm_decoder()
    monkeypatch.setattr(vita, "published_config", lambda: (decoder.flow.config, decoder.vocoder.config))
    found = loquor("bench", write_toy_converser(tmp_path / "model"), *QUICK, "--dtype", "float32", "--json").json
    assert found["settings"]["model"] == str(tmp_path / "model")
    subjects = found["measurements"][0]["subjects"]
    assert list(subjects) == [*SUBJECTS, "balance, verified", "boost, verified", "turbo, verified"]
    for name in subjects:
        figures = {figure: spread["median"] for figure, spread in subjects[name]["figures"].items()}
        assert 0 < figures["first span, ms"] < figures["first audio, ms"]
        assert figures["tokens a backbone pass"] >= 1


def test_bench_wants_a_model_or_a_shape(loquor):
    assert loquor("bench").code == 2
    assert loquor("bench", "somewhere", "--shape", "vita-toy").code == 2


def test_bench_names_the_shapes_there_are(loquor):
    done = loquor("bench", "--shape", "huge")
    assert done.code == 1 and "there is no shape 'huge'" in done.err and "vita-0.5b" in done.err


def test_bench_says_which_families_it_cannot_measure_yet(loquor, tmp_path):
    write_longform(tmp_path / "model")
    done = loquor("bench", tmp_path / "model")
    assert done.code == 1 and "which bench cannot measure yet" in done.err


@pytest.mark.parametrize("option", ["--rounds", "--length", "--threads"])
def test_bench_counts_from_one(loquor, option):
    assert loquor("bench", "--shape", "vita-toy", option, "0").code == 2


def test_bench_compares_the_backends_of_a_realtime_model_alone_and_in_company(loquor):
    pytest.importorskip("openvino", reason="the fast extra is not installed")
    done = loquor("bench", "--shape", "realtime-toy", *QUICK, "--backend", "torch", "--backend", "openvino", "--json")
    found = done.json
    assert found["settings"]["frames"] == 14
    subjects = found["measurements"][0]["subjects"]
    alone, company = ("torch bfloat16", "openvino int8"), ("torch bfloat16, 8 streams", "openvino int8, 8 streams")
    assert set(subjects) == {*alone, *company}
    for name, facts in subjects.items():
        assert set(facts["ratios"]["rtf"]) == {"median", "low", "high"}, name
        figures = facts["figures"]
        assert figures["first audio, ms"]["median"] > 0
        assert figures["text windows, ms/frame"]["median"] < figures["ms/frame"]["median"]


def test_bench_says_which_backends_there_are(loquor):
    done = loquor("bench", "--shape", "realtime-toy", "--backend", "onnx", *QUICK)
    assert (done.code, "backend 'onnx' is unknown" in done.err) == (1, True)
    done = loquor("bench", "--shape", "vita-toy", "--backend", "openvino", *QUICK)
    assert (done.code, "vita-toy runs on torch only, not on openvino" in done.err) == (1, True)
