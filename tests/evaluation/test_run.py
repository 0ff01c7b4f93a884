import pickle
from dataclasses import replace

import numpy as np
import pytest

from evaluation.systems import noisy, write_recordings
from loquor.errors import InputError, MissingExtra
from loquor.evaluation import instruments, run, systems
from loquor.evaluation.choices import Choices
from loquor.evaluation.run import Options, Progress, evaluate
from loquor.evaluation.sets import Item
from toy import write_toy

pytest.importorskip("swift_f0")
TEXTS = ("The quick brown fox jumps over the lazy dog, and then it runs away into the dark wood.",)
TEXTS += ("Call me later when you are at home, because there is something I would like to show you.",)
ITEMS = tuple(Item(f"{i:04}", "speak", text) for i, text in enumerate(TEXTS, start=1))


@pytest.fixture(scope="module")
def made(spoken, tmp_path_factory):
    """An evaluation of recordings: folder, choices, options and report."""
    folder = tmp_path_factory.mktemp("evaluated")
    write_recordings(folder / "wavs", spoken)
    choices, options = Choices(str(folder / "wavs")), Options(folder / "cache")
    items = (ITEMS[0], replace(ITEMS[1], reference=folder / "wavs" / "0002.wav"))
    return folder, choices, options, items, evaluate(choices, items, options)


def test_all_that_can_be_measured_is_measured(made):
    *_, report = made
    assert not report.missing
    assert {"wer", "mos", "pitch_hz", "words_per_minute", "pause_share", "fault", "seconds"} <= report.figures.keys()
    assert report.figures["wer"].value < 0.5
    assert 80 < report.figures["pitch_hz"].value < 300
    distances = {case.id: case.measures.get("mel_cepstral_distance") for case in report.cases}
    assert distances == {"0001": None, "0002": pytest.approx(0, abs=1e-6)}  # to itself


def test_a_second_run_does_nothing_and_says_the_same(made, monkeypatch):
    _, choices, options, items, report = made
    for home, name in ((systems.Recorded, "perform"), (instruments.Instruments, "measure")):
        monkeypatch.setattr(home, name, lambda *_: pytest.fail("it is done already"))
    again = evaluate(choices, items, options)
    assert (again.figures, again.cases) == (report.figures, report.cases)


def test_a_run_that_was_ended_goes_on_where_it_was(tmp_path, monkeypatch):
    done = []

    class Ending:
        def measure(self, item, performance, waveform):
            if len(done) == 1:
                done.append("the end")
                raise KeyboardInterrupt
            done.append(item.id)
            return instruments.Scores(heard=item.id)

    monkeypatch.setattr(run, "Instruments", lambda *_: Ending())
    write_recordings(tmp_path / "wavs", [np.full(2400, 0.1), np.full(2400, 0.2)])
    choices, options = Choices(str(tmp_path / "wavs")), Options(tmp_path / "cache")
    with pytest.raises(KeyboardInterrupt):
        evaluate(choices, ITEMS, options)
    assert {case.heard for case in evaluate(choices, ITEMS, options).cases} == {"0001", "0002"}
    assert done == ["0001", "the end", "0002"]


def test_other_instruments_measure_again(made):
    folder, choices, options, items, report = made
    like = replace(options, like=(folder / "wavs" / "0001.wav",))
    found = {case.id: case.measures["similarity"] for case in evaluate(choices, items, like).cases}
    assert found["0001"] == pytest.approx(1.0, abs=1e-3)
    assert 0.6 < found["0002"] < 1
    assert "similarity" not in report.figures


@pytest.fixture(scope="module")
def spoiled(spoken, tmp_path_factory):
    """An evaluation of speech in noise, clipped, with a long pause before it is repeated, and of none."""
    folder = tmp_path_factory.mktemp("spoiled")
    paused = np.concatenate([spoken[1], np.zeros(3 * 24_000, np.float32), spoken[1]])
    sounds = {"noisy": noisy(spoken[0]), "clipped": np.clip(20 * spoken[0], -1, 1), "paused": paused}
    write_recordings(folder / "wavs", sounds.values(), sounds.keys())
    items = [replace(ITEMS[name == "paused"], id=name) for name in (*sounds, "missing")]
    return evaluate(Choices(str(folder / "wavs")), items, Options(folder / "cache"))


def cases_of(report):
    return {case.id: case for case in report.cases}


def test_noise_lowers_the_opinion(made, spoiled):
    *_, report = made
    clean, noise = cases_of(report)["0001"], cases_of(spoiled)["noisy"]
    assert noise.measures["mos_background"] < clean.measures["mos_background"] - 0.5


def test_broken_speech_is_told_by_what_is_wrong_with_it(spoiled):
    cases = cases_of(spoiled)
    assert "clipping" in cases["clipped"].faults
    assert {"silence", "repetition"} <= cases["paused"].faults.keys()


def test_what_the_system_did_not_do_counts_as_wrong(spoiled):
    worst = spoiled.cases[0]
    assert (worst.id, worst.measures["error_rate"]) == ("missing", 1.0)
    assert "nothing for missing" in worst.error
    assert "truncated" in worst.faults
    assert spoiled.figures["wer"].value > spoiled.figures["wer_of_spoken"].value


def test_a_failure_is_not_kept(tmp_path, monkeypatch):
    class Silent:
        def measure(self, item, performance, waveform):
            return instruments.Scores()

    monkeypatch.setattr(run, "Instruments", lambda *_: Silent())
    choices, options = Choices(str(tmp_path / "wavs")), Options(tmp_path / "cache")
    (tmp_path / "wavs").mkdir()
    assert evaluate(choices, ITEMS[:1], options).cases[0].error
    write_recordings(tmp_path / "wavs", [np.full(2400, 0.1)], ["0001"])
    assert not evaluate(choices, ITEMS[:1], options).cases[0].error


def test_without_instruments_the_rest_is_measured_and_what_is_not_is_told(spoken, tmp_path, monkeypatch):
    write_recordings(tmp_path / "wavs", spoken)
    monkeypatch.setattr(run, "Instruments", lambda *_: instruments.Instruments("ears"))
    report = evaluate(Choices(str(tmp_path / "wavs")), ITEMS, Options(tmp_path / "cache"))
    assert "no transcriber" in report.missing["words"]
    assert "wer" not in report.figures
    assert {"fault", "pause_share"} <= report.figures.keys()


def test_what_is_sent_to_other_processes_arrives(tmp_path, monkeypatch):
    def sent(make, tasks, workers):
        assert workers == 2
        work = pickle.loads(pickle.dumps(make))()
        for task in pickle.loads(pickle.dumps(tasks)):
            yield pickle.loads(pickle.dumps(work(task)))

    monkeypatch.setenv("LOQUOR_VOICES", str(tmp_path / "voices"))
    monkeypatch.setattr(instruments, "open_transcriber", fail_to_open)
    choices = Choices(str(write_toy(tmp_path / "toy", end_bias=100)))
    told = []
    one = evaluate(choices, ITEMS, Options(tmp_path / "one"), told.append)
    monkeypatch.setattr(run, "each", sent)
    two = evaluate(choices, ITEMS, Options(tmp_path / "two", workers=2))
    there = {case.id: (case.key, one.sound_of(case).read_bytes()) for case in one.cases}
    assert there == {case.id: (case.key, two.sound_of(case).read_bytes()) for case in two.cases}
    assert told[0] == Progress("performing", 0, 2)
    assert told[-1] == Progress("measuring", 2, 2)


def fail_to_open(*_):
    raise MissingExtra("no ears")


def test_what_a_system_cannot_do_is_refused_before_any_work(tmp_path):
    heard = Item("1", "transcribe", "Hello.", heard=tmp_path / "1.wav")
    with pytest.raises(InputError, match="embedded can speak, not transcribe"):
        evaluate(Choices(), [heard], Options(tmp_path))
    with pytest.raises(InputError, match="to speak and to transcribe"):
        evaluate(Choices(), [heard, ITEMS[0]], Options(tmp_path))
    with pytest.raises(InputError, match="nothing"):
        evaluate(Choices(), [], Options(tmp_path))
