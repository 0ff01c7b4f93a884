"""How speed is measured: turns, medians of ratios, rounds that do not count, and what VITA-Audio is made to say."""

from __future__ import annotations

import pytest
import torch

from loquor.errors import ConfigError, InputError
from loquor.evaluation.speed import protocol, realtime, vita
from loquor.evaluation.speed.bench import Options, Watch, watched, with_random_weights
from loquor.evaluation.speed.machine import bandwidth, core_share, facts
from loquor.evaluation.speed.memory import peak_of
from loquor.evaluation.speed.models import bench_of_shape
from loquor.evaluation.speed.protocol import Go, Measurement, Outcome, Round, Spread, Subject, measure
from loquor.evaluation.speed.trace import Call, Span, Trace
from loquor.models import EMBEDDED
from loquor.models.vita.model import VitaModel
from loquor.models.vita.schedule import BALANCE, BOOST, SCHEDULES, TURBO, VANILLA

AUDIO = vita.TOY_AUDIO


def a_round(threads=1, core_share=None, wall_s=1.0, **rates):
    return Round(
        {name: Go({"rate": rate}, wall_s, cpu_s=1.0) for name, rate in rates.items()}, threads, 0.5, core_share
    )


# ---- rounds


def test_a_comparison_is_the_median_of_ratios_not_the_ratio_of_medians():
    found = Measurement(tuple(a_round(plain=p, fast=f) for p, f in [(1.0, 2.0), (10.0, 30.0), (2.0, 8.0)]))
    assert found.figure("fast", "rate") == Spread(8.0, 2.0, 30.0)
    assert found.ratio("fast", "rate") == Spread(3.0, 2.0, 4.0)


@pytest.mark.parametrize(
    ("one", "is_quiet"),
    [
        (a_round(plain=1.0, wall_s=1.09), True),
        (a_round(plain=1.0, wall_s=1.11), False),
        (a_round(2, 0.96, plain=1.0, wall_s=3.0), True),
        (a_round(2, 0.94, plain=1.0), False),
    ],
)
def test_a_round_is_quiet_if_the_machine_was_ours(one, is_quiet):
    assert one.is_quiet is is_quiet


def test_disturbed_rounds_are_told_of_and_not_counted():
    found = Measurement((a_round(plain=1.0), a_round(plain=100.0, wall_s=2.0)))
    assert found.figure("plain", "rate").median == 1.0
    facts = found.as_dict()
    assert (facts["rounds"], facts["discarded"], facts["was_quiet"]) == (1, 1, True)
    assert [r["is_quiet"] for r in facts["every_round"]] == [True, False]


def test_if_none_was_quiet_all_are_counted_and_it_is_said():
    facts = Measurement((a_round(plain=1.0, wall_s=2.0),)).as_dict()
    assert (facts["rounds"], facts["discarded"], facts["was_quiet"]) == (1, 0, False)


def test_subjects_take_turns_after_a_go_to_warm_up(monkeypatch):
    turns = []
    subjects = [Subject(name, lambda name=name: turns.append(name) or Outcome({"rate": 1.0})) for name in "ab"]
    monkeypatch.setattr(protocol, "core_share", lambda cores: 1.0)
    found = measure(subjects, rounds=2, threads=2)
    assert turns == ["a", "b"] * 3
    assert len(found.rounds) == 2


def test_disturbed_rounds_are_tried_again_but_not_for_ever(monkeypatch):
    shares = iter([1.0, 0.5, 1.0, 1.0] + [0.5] * 20)
    monkeypatch.setattr(protocol, "core_share", lambda cores: next(shares))
    heard = []
    found = measure([Subject("a", lambda: Outcome({"rate": 1.0}))], rounds=3, threads=2, told=heard.append)
    assert [r.is_quiet for r in found.rounds] == [False, True, False, False, False, False]
    assert heard == list(found.rounds)


def test_threads_are_as_many_as_asked_for_and_then_as_before():
    before, seen = torch.get_num_threads(), []
    measure([Subject("a", lambda: seen.append(torch.get_num_threads()) or Outcome({"rate": 1.0}))], rounds=1, threads=3)
    assert set(seen) == {3} and torch.get_num_threads() == before


def test_the_machine_is_described():
    assert facts()["cores"] >= 1 and facts()["processor"]
    assert 0 < core_share(2) <= 1


# ---- VITA-Audio


def toy():
    return vita.bench_shape("vita-toy", Options(torch.float32, 28))


def test_random_weights_are_where_they_stay_and_compute():
    model = with_random_weights(lambda: VitaModel(vita.SHAPES["vita-toy"].model), torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    with torch.no_grad():
        assert model.logits(model(model.embedding(torch.arange(9)[None]))).isfinite().all()


@pytest.mark.parametrize(("name", "passes"), [("vanilla", 1), ("balance", 3.5), ("boost", 3.5), ("turbo", 11)])
def test_whole_turns_of_a_schedule_are_counted(name, passes):
    figures = next(subject for subject in toy().subjects if subject.name == name).go().figures
    assert figures[vita.PASSES] == passes
    assert figures[vita.FIRST_SPAN] > 0
    parts = [figures[part] for part in toy().parts]
    assert min(parts) >= 0 and sum(parts) == pytest.approx(1000 / figures[vita.RATE])


@pytest.mark.parametrize("schedule", [BOOST, BALANCE, TURBO])
def test_constrained_it_says_text_and_spans_as_the_schedule_has_them(monkeypatch, schedule):
    said = []
    append = vita.InterleavedBatch.join
    monkeypatch.setattr(
        vita.InterleavedBatch, "join", lambda batch, stream: said.append(stream) or append(batch, stream)
    )
    runs = next(s for s in toy().subjects if SCHEDULES.get(s.name) == schedule)
    runs.go()
    kinds = "".join(
        "[" if t == AUDIO.begin else "]" if t == AUDIO.end else "a" if AUDIO.is_audio(t) else "t"
        for t in said[0].tokens
    )
    expected = ""
    for text, audio in [*schedule.pairs, *[schedule.pairs[-1]] * 9]:
        expected += "t" * text + "[" + "a" * (audio - 2) + "]"
    assert len(kinds) >= 28 and kinds == expected[: len(kinds)] and kinds.endswith("]")


def test_every_go_reads_its_prompt_anew(monkeypatch):
    rows = []
    read = VitaModel.read
    monkeypatch.setattr(VitaModel, "read", lambda self, x, *rest: rows.append(len(x)) or read(self, x, *rest))
    plain = toy().subjects[0]
    for _ in range(2):
        rows.clear()
        plain.go()
        assert rows[0] == vita.PROMPT_TOKENS


def test_parts_are_watched_only_while_they_are_measured():
    class Owner:
        def __init__(self):
            self.own = len

        def method(self):
            return "called"

    owner, clock = Owner(), iter(range(9))
    watch = Watch(lambda: next(clock))
    with watched(watch, [(owner, "method", "a"), (owner, "own", "b")]):
        assert (owner.method(), owner.own("four")) == ("called", 4)
    assert (owner.method(), owner.own("four")) == ("called", 4)
    assert vars(owner) == {"own": len}
    assert watch.spent == {"a": 1, "b": 1}


def test_what_a_watched_call_calls_is_its_own():
    clock = iter([0, 10, 20, 21])
    watch = Watch(lambda: next(clock))
    inner = watch.on("inner", lambda: "called")
    assert watch.on("outer", inner)() == inner() == "called"
    assert watch.spent == {"outer": 10, "inner": 1}


def test_plain_decoding_says_a_first_span_as_long_as_that_of_boost():
    assert vita.Course(VANILLA).first_pair == vita.Course(BOOST).first_pair == (1, 10)
    assert vita.Course(VANILLA).steady(28) == 28 and vita.Course(TURBO).steady(28) == 33


def test_more_than_the_context_holds_is_an_error():
    with pytest.raises(InputError, match="2000 tokens a go do not fit the context of 1024"):
        bench_of_shape("vita-toy", Options(length=2000))


def test_an_unknown_shape_is_an_error_that_names_those_there_are():
    with pytest.raises(ConfigError, match="no shape 'vita-9b'") as error:
        bench_of_shape("vita-9b", Options())
    assert "vita-0.5b" in error.value.hint


# ---- memory


def test_memory_is_what_a_go_holds_not_what_was_held_before():
    before = torch.zeros(40 * 2**20)  # 160 MiB
    least = peak_of(Subject("nothing", lambda: Outcome({})))
    assert len(before)
    del before
    most = peak_of(Subject("something", lambda: Outcome({"sum": float(torch.ones(20 * 2**20).sum())})))
    assert least - 90 < most < least - 70  # 80 MiB in their place


# ---- Realtime


def test_a_model_speaks_as_it_does_if_it_is_asked_for_nothing():
    manner = realtime.Manner.of(EMBEDDED)
    assert (manner.sampling.steps, manner.sampling.guidance) == (8, 2.0)
    assert min(manner.voice.values()) >= 1


def test_more_frames_than_the_context_holds_are_an_error():
    with pytest.raises(InputError, match=r"take 16\d+ of the context's 8192 positions"):
        bench_of_shape("realtime-toy", Options(length=9000, backends=("torch",)))


# ---- a frame, operator by operator


def test_a_frame_is_told_by_its_operators_and_by_what_reading_its_weights_takes():
    calls = [Call("language model", 0.0, 600.0), Call("language model", 1000.0, 600.0), Call("decoder", 700.0, 100.0)]
    spans = [
        Span("language model", "mm", "", 0.0, 500.0, 300.0),
        Span("language model", "mm", "", 1000.0, 500.0, 300.0),
        Span("language model", "add", "", 100.0, 200.0, 200.0),
    ]
    weights = {
        "text.0.qkv.weight": 2_000_000,
        "speech_model.norm.weight": 3_000_000,
        "end.fc1.weight": 1_000_000,
        "head.0.down.weight": 1_000_000,
        "head.modulation.weight": 500_000,
        "head.time.fc1": 7_000_000,
        "codec.decoder.stem.weight": 4_000_000,
        "codec.encoder.stem.weight": 9_000_000,
        "embedding": 50_000_000,
    }
    trace = Trace("toy", 2, calls, spans, weights, steps=5, bandwidth=2e9)
    assert trace.ms("language model") == 0.6
    assert trace.kinds("language model") == pytest.approx({"mm": 0.3, "add": 0.1, "between operators": 0.2})
    assert trace.megabytes("language model") == 2 / 2 + 3 + 1  # a text window in two frames, a pass for each frame
    assert trace.megabytes("latents") == 5 * 1 + 0.5
    assert trace.megabytes("decoder") == 4 / 2  # two frames in one call
    assert trace.bound_ms("decoder") == pytest.approx(1.0)


def test_memory_is_read_at_a_speed_that_memory_has():
    assert 1e8 < bandwidth() < 1e12
