from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.systems import case, report
from loquor.errors import InputError
from loquor.evaluation.report import MEASURES, Report, in_words, measure_of, summarise

counts = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=6)


@given(counts)
def test_the_error_rate_is_that_of_all_words(rows):
    cases = [case(f"{i}", errors, tokens) for i, (errors, tokens) in enumerate(rows)]
    figure = summarise(cases)[0]["wer"]
    assert figure.value == pytest.approx(sum(e for e, _ in rows) / sum(t for _, t in rows))
    assert figure.count == len(rows)
    assert figure.low <= figure.value + 1e-9
    assert figure.value <= figure.high + 1e-9


def test_the_worst_cases_stand_first():
    broken = replace(case("broken", errors=0, fault=1.0), faults={"silence": "2 s"})
    failed = replace(case("failed", errors=4), error="too long")
    cases = [case("fine"), case("wrong", errors=2), broken, failed, case("rough", mos=1.0)]
    assert [one.id for one in report(cases).cases] == ["failed", "broken", "wrong", "rough", "fine"]


def test_silent_cases_count_as_wrong_and_the_published_way_is_told_beside():
    silent = replace(case("silent", errors=4), measures=case(errors=4).measures | {"seconds": 0.0})
    figures = summarise([case("fine"), silent])[0]
    assert (figures["wer"].value, figures["wer_of_spoken"].value) == (0.5, 0.0)
    assert "wer_of_spoken" not in summarise([case("fine")])[0]


def test_a_voice_is_compared_with_the_middle_of_the_others():
    one, other = np.eye(2)
    cases = [replace(case(str(i)), voice=tuple(voice)) for i, voice in enumerate([one, one, one, other])]
    found = {c.id: c.measures["consistency"] for c in summarise(cases)[1]}
    assert found["3"] == pytest.approx(0.0)
    assert found["0"] == pytest.approx(2 / 5**0.5)
    assert "consistency" not in summarise(cases[:2])[0]


def test_latencies_have_percentiles_and_memory_the_most():
    cases = [
        replace(case(str(i), first_audio_ms=float(i), peak_memory_mb=float(i)), gaps_ms=(5.0,)) for i in range(101)
    ]
    figures = summarise(cases)[0]
    assert [figures[f"first_audio_ms_p{share}"].value for share in (50, 90, 99)] == [50, 90, 99]
    assert (figures["gap_ms_p50"].value, figures["peak_memory_mb"].value, figures["seconds"].value) == (5, 100, 101)


def test_a_saved_report_is_read_as_it_was_wherever_it_is_moved(tmp_path):
    made = report([case("a", errors=1, mos=3.0), case("b")], cache=tmp_path / "before" / "cache")
    made.save(tmp_path / "before" / "report.json")
    (tmp_path / "before").rename(tmp_path / "after")
    found = Report.read(tmp_path / "after" / "report.json")
    assert found == replace(made, cache=tmp_path / "after" / "cache")
    assert found.as_dict()["figures"]["wer"]["value"] == 0.125


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}'])
def test_what_is_no_report_is_refused(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(InputError, match="no report"):
        Report.read(tmp_path / "report.json")


def test_values_are_told_in_the_unit_of_their_measure():
    told = {"wer": 0.0889, "mos": 2.435, "first_audio_ms_p90": 327.01, "words_per_minute": 90.04}
    assert [in_words(name, value) for name, value in told.items()] == ["8.9", "2.44", "327", "90.0"]
    assert measure_of("rtf_p50") == (MEASURES["rtf"], "p50")
