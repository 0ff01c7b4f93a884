"""`loquor bench` from outside."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest

from loquor.evaluation.speed import longform, vita
from models.toy_speech_tokens import toy_glm_decoder
from toy_converser import write_toy_converser
from toy_longform import write_toy as write_longform

QUICK = ("--rounds", "1", "--length", "14", "--threads", "1")
SHORT = ("--rounds", "1", "--length", "3", "--threads", "1")
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


def test_bench_measures_a_frame_of_a_long_form_model_part_by_part(loquor, tmp_path):
    write_longform(tmp_path / "model")
    options = ("--rounds", "1", "--threads", "1", "--length", "2", "--json")
    found = loquor("bench", tmp_path / "model", *options).json
    figures = found["measurements"][0]["every_round"][0]["goes"]["torch float32"]
    parts = [figures[f"{part}, ms/frame"] for part in longform.PARTS]
    assert sum(parts) == pytest.approx(figures["ms/frame"]) and min(parts[:-1]) > 0
    assert figures["prompt, ms/token"] > 0 and figures["voice, ms/s"] > 0


@pytest.mark.parametrize("option", ["--rounds", "--length", "--threads"])
def test_bench_counts_from_one(loquor, option):
    assert loquor("bench", "--shape", "vita-toy", option, "0").code == 2


def test_bench_compares_the_backends_of_a_realtime_model_alone_and_in_company(loquor):
    pytest.importorskip("openvino", reason="the fast extra is not installed")
    options = ("--backend", "torch", "--backend", "openvino", "--streams", "1", "--streams", "8", "--json")
    found = loquor("bench", "--shape", "realtime-toy", *QUICK, *options).json
    assert found["settings"]["frames"] == 14
    subjects = found["measurements"][0]["subjects"]
    alone, company = ("torch bfloat16", "openvino int8"), ("torch bfloat16, 8 streams", "openvino int8, 8 streams")
    assert set(subjects) == {*alone, *company}
    for name, facts in subjects.items():
        assert set(facts["ratios"]["rtf"]) == {"median", "low", "high"}, name
        figures = facts["figures"]
        assert figures["first audio, ms"]["median"] > 0
        assert figures["latents, ms/frame"]["median"] < figures["ms/frame"]["median"]
        waits, firsts = facts["percentiles"]["wait, ms"], facts["percentiles"]["first audio, ms"]
        rounds, streams = found["measurements"][0]["rounds"], 8 if name.endswith("8 streams") else 1
        assert 0 < waits["p50"] <= waits["p95"] <= waits["p99"]
        assert firsts["count"] == rounds * streams and waits["count"] >= rounds * streams


def test_bench_draws_waits_and_what_streams_say_together(loquor, tmp_path):
    options = ("--backend", "torch", "--streams", "1", "--streams", "3", "--plot", tmp_path / "speed.svg")
    done = loquor("bench", "--shape", "realtime-toy", *SHORT, *options)
    assert [line for line in done.text.splitlines() if line.startswith("torch bfloat16, 3 streams, wait, ms")]
    drawn = (tmp_path / "speed.svg").read_text(encoding="utf-8")
    for title in ("wait, ms", "first audio, ms", "streams at once"):
        assert f"<!-- {title} -->" in drawn  # matplotlib says so beside the outlines of its letters


def test_bench_compares_two_models_subject_by_subject(loquor, toy_folder, talkative):
    options = (*SHORT, "--backend", "torch", "--streams", "1", "--streams", "2")
    done = loquor("bench", toy_folder, "--against", talkative, *options, "--json")
    found = done.json["measurements"][0]
    mine, its = (f"{folder}: torch float32" for folder in (toy_folder, talkative))
    assert list(found["subjects"]) == [mine, f"{mine}, 2 streams", its, f"{its}, 2 streams"]
    goes = found["every_round"][0]["goes"]
    ratio = goes[f"{its}, 2 streams"]["rtf"] / goes[f"{mine}, 2 streams"]["rtf"]
    low, high = (found["subjects"][f"{its}, 2 streams"]["ratios"]["rtf"][end] for end in ("low", "high"))
    assert low <= ratio <= high  # by its like, not by the first of all


def test_bench_shows_the_ratios_of_an_earlier_measurement(loquor, tmp_path):
    options = ("--shape", "realtime-toy", *SHORT, "--backend", "torch", "--streams", "1", "--streams", "2")
    earlier = loquor("bench", *options, "--json").json
    earlier["measurements"][0]["subjects"]["torch bfloat16, 2 streams"]["ratios"]["rtf"]["median"] = 12.34
    (tmp_path / "earlier.json").write_text(json.dumps(earlier), encoding="utf-8")
    lines = loquor("bench", *options, "--against", tmp_path / "earlier.json").text.splitlines()
    assert "then" in lines[3] and "12.34" in lines[5]
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    done = loquor("bench", *options, "--against", tmp_path / "other.json")
    assert (done.code, "holds no measurement" in done.err) == (1, True)


def test_bench_compares_models_of_one_family_only(loquor):
    done = loquor("bench", "--shape", "realtime-toy", "--backend", "torch", "--against", "vita-toy", *SHORT)
    assert (done.code, "of one family" in done.err) == (1, True)


def test_bench_traces_a_frame_operator_by_operator(loquor, tmp_path):
    backends = ["torch"] + (["openvino"] if find_spec("openvino") else [])
    options = [option for backend in backends for option in ("--backend", backend)]
    files = ("--trace", tmp_path / "frame.json", "--plot", tmp_path / "frame.svg")
    done = loquor("bench", "--shape", "realtime-toy", *options, *files, "--json")
    found = json.loads((tmp_path / "frame.json").read_text(encoding="utf-8"))
    assert found["frames"] == done.json
    for number, frame in enumerate(done.json.values()):
        events = [event for event in found["traceEvents"] if event["pid"] == number and event["ph"] == "X"]
        for part, facts in frame["parts"].items():
            calls = [event for event in events if event["cat"] == "part" and event["name"] == part]
            inside = [event for event in events if event["cat"] == part]
            assert calls and inside, part
            assert sum(facts["operators, ms"].values()) == pytest.approx(facts["ms"], rel=0.1)
            assert 0 < facts["bound, ms"] == pytest.approx(facts["weights, MB"] / frame["bandwidth, GB/s"])
    assert (tmp_path / "frame.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_bench_traces_realtime_models_only(loquor, tmp_path):
    done = loquor("bench", "--shape", "vita-toy", "--trace", tmp_path / "frame.json")
    assert (done.code, "vita-toy is no Realtime model" in done.err) == (1, True)


@pytest.mark.slow
def test_bench_tells_the_memory_of_each_subject(loquor):
    options = ("--backend", "torch", "--streams", "1", "--memory", "--json")
    peaks = loquor("bench", "--shape", "realtime-toy", *SHORT, *options).json["peak MiB"]
    assert list(peaks) == ["torch bfloat16"] and peaks["torch bfloat16"] > 50


def test_bench_says_which_backends_there_are(loquor):
    done = loquor("bench", "--shape", "realtime-toy", "--backend", "onnx", *QUICK)
    assert (done.code, "backend 'onnx' is unknown" in done.err) == (1, True)
    done = loquor("bench", "--shape", "vita-toy", "--backend", "openvino", *QUICK)
    assert (done.code, "vita-toy runs on torch only, not on openvino" in done.err) == (1, True)
