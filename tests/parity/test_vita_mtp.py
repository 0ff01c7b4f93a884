"""Golden mtp: the backbone, the chain of modules, and every recorded generation: tokens, passes and scores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from loquor.engine.interleaved import InterleavedBatch
from loquor.engine.interleaved_stream import InterleavedStream
from loquor.engine.sampling import TokenSampling, penalise
from loquor.models.vita.checkpoint import export_vita, load_vita
from loquor.models.vita.model import VitaModel
from loquor.models.vita.schedule import VANILLA, Schedule
from parity.exports import assert_same_tensors
from parity.goldens import Golden
from parity.vita import open_vita, vita_case

TOLERANCE = {"atol": 1e-4, "rtol": 0.0}  # what the fixtures suggest for logits and hidden states
RUNS = [name.removeprefix("gen.") for name in vita_case("mtp") if name.startswith("gen.")]
MAIN = "main"

each_run = pytest.mark.parametrize("run", RUNS)


@pytest.fixture
def golden() -> Iterator[Golden]:
    with open_vita("mtp", "mini_mtp", "none: the tests below say what they answer for") as golden:
        yield golden


@pytest.fixture
def model(golden: Golden) -> VitaModel:
    return load_vita(golden.folder)


def facts_of(run: str) -> dict[str, Any]:
    return vita_case("mtp")[f"gen.{run}"]


def stream_of(golden: Golden, run: str, **options: Any) -> InterleavedStream:
    """The run as a request. Without a cache the reference never uses its modules, whatever the schedule says."""
    facts = facts_of(run)
    schedule = Schedule.of(facts["mtp_inference_mode"]) if facts["use_cache"] else VANILLA
    sampling = TokenSampling(repetition_penalty=facts["repetition_penalty"], max_new_tokens=facts["max_new_tokens"])
    return InterleavedStream(golden[f"gen.{run}.prompt"][0], schedule, sampling, **options)


def eos_of(run: str) -> list[int]:
    eos = facts_of(run)["eos_token_id"]
    return [] if eos is None else [eos] if isinstance(eos, int) else list(eos)


def run_all(batch: InterleavedBatch, *streams: InterleavedStream) -> None:
    for stream in streams:
        batch.join(stream)
    while batch.streams:
        batch.step()


def test_the_backbone_s_states_and_logits_are_the_recorded_ones() -> None:
    with open_vita("mtp", "mini_mtp", "forward.") as golden, torch.no_grad():
        model = load_vita(golden.folder)
        layers = model.config.decoder.num_hidden_layers
        assert layers == vita_case("mtp")["forward"]["num_main_layers"]
        inputs: list[Tensor] = []
        for layer in model.language_model.layers:
            layer.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
        hidden = model(model.embedding(golden["forward.input_ids"]))
        for i, states in enumerate([*inputs, hidden]):
            golden.check(f"forward.hidden_{i}", states, TOLERANCE)
        golden.check("forward.logits", model.logits(hidden), TOLERANCE)


def test_samples_of_a_packed_row_are_as_if_alone() -> None:
    with open_vita("mtp", "mini_mtp", "forward_packed.") as golden, torch.no_grad():
        model = load_vita(golden.folder)
        lengths = vita_case("mtp")["forward_packed"]["sample_lengths"]
        samples = golden["forward_packed.input_ids"].split(lengths, 1)
        logits = torch.cat([model.logits(model(model.embedding(ids))) for ids in samples], 1)
        golden.check("forward_packed.logits", logits, TOLERANCE)
        positions = torch.cat([torch.arange(length) for length in lengths])[None]
        assert torch.equal(golden["forward_packed.position_ids"], positions)


def test_the_chain_of_modules_is_the_recorded_one() -> None:
    with open_vita("mtp", "mini_mtp", "mtp_chain.") as golden, torch.no_grad():
        model = load_vita(golden.folder)
        embedded = model.embedding(golden["mtp_chain.input_ids"])
        hidden = model(embedded)
        golden.check("mtp_chain.main_hidden", hidden, TOLERANCE)
        golden.check("mtp_chain.main_logits", model.logits(hidden), TOLERANCE)
        for k in range(model.config.modules):
            golden.check(f"mtp_chain.mtp{k}.hidden_in", hidden[:, :-1], TOLERANCE)
            hidden = model.predict(k, embedded[:, k + 1 :], hidden[:, :-1])
            golden.check(f"mtp_chain.mtp{k}.hidden_out", hidden, TOLERANCE)
            golden.check(f"mtp_chain.mtp{k}.logits", model.logits(hidden), TOLERANCE)


@each_run
def test_tokens_and_passes_are_the_recorded_ones(golden: Golden, model: VitaModel, run: str) -> None:
    stream, facts = stream_of(golden, run), facts_of(run)
    run_all(InterleavedBatch(model, eos_of(run)), stream)
    assert stream.tokens == golden[f"gen.{run}.tokens"][0].tolist()
    assert len(stream.tokens) == facts["n_tokens"]
    assert (stream.main_passes, stream.module_passes) == (facts["n_main_forwards"], facts["n_mtp_forwards"])
    assert stream.finish == ("end" if stream.tokens[-1] in eos_of(run) else "limit")


@each_run
def test_every_stage_is_fed_what_the_reference_feeds_it(
    golden: Golden, model: VitaModel, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[Any]] = []
    read, predict = model.read, model.predict_on
    monkeypatch.setattr(model, "read", lambda x, *rest: calls.append([MAIN, len(x)]) or read(x, *rest))
    monkeypatch.setattr(
        model, "predict_on", lambda k, x, *rest: calls.append([f"mtp{k}", len(x)]) or predict(k, x, *rest)
    )
    run_all(InterleavedBatch(model, eos_of(run)), stream_of(golden, run))
    recorded = facts_of(run)["calls"]
    if not facts_of(run)["use_cache"]:  # the reference reads all again and again
        length = recorded[0][1]
        recorded = [[MAIN, length], *([MAIN, rows - length - i] for i, (_, rows) in enumerate(recorded[1:]))]
    assert calls == recorded


def test_all_runs_in_one_batch_say_what_they_say_alone(golden: Golden, model: VitaModel) -> None:
    for eos in {tuple(eos_of(run)) for run in RUNS}:
        runs = [run for run in RUNS if tuple(eos_of(run)) == eos]
        streams = [stream_of(golden, run) for run in runs]
        run_all(InterleavedBatch(model, eos), *streams)
        for run, stream in zip(runs, streams, strict=True):
            assert stream.tokens == golden[f"gen.{run}.tokens"][0].tolist(), run
            assert stream.main_passes == facts_of(run)["n_main_forwards"], run


@each_run
def test_without_any_cache_the_same_is_said(golden: Golden, model: VitaModel, run: str) -> None:
    facts = facts_of(run)
    tokens, scores = recomputed(model, golden[f"gen.{run}.prompt"], stream_of(golden, run), eos_of(run))
    assert tokens == golden[f"gen.{run}.tokens"][0].tolist()
    if f"gen.{run}.scores" in golden.tensors:
        golden.check(f"gen.{run}.scores", scores, TOLERANCE)
    assert len(tokens) == facts["n_tokens"]


@torch.no_grad()
def recomputed(model: VitaModel, ids: Tensor, stream: InterleavedStream, eos: list[int]) -> tuple[list[int], Tensor]:
    """Greedy tokens and their scores, every stage computed anew over all of the text for every token."""
    start, module, scores = ids.shape[1], 0, list[Tensor]()
    read = start  # ids the backbone has read: what modules made since, it has not
    for t in range(stream.sampling.max_new_tokens or 0):
        use = t > 0 and stream.schedule.is_module(t) and module < model.config.modules
        read = read if use else ids.shape[1]
        module = module + 1 if use else 0
        embedded = model.embedding(ids)
        hidden = model(embedded[:, :read])
        for k in range(module):
            hidden = model.predict(k, embedded[:, k + 1 : k + 1 + read], hidden)
        seen = torch.zeros(1, model.config.vocab_size, dtype=torch.bool)
        seen[0, ids[0]] = True
        logits = penalise(model.logits(hidden[:, -1]), seen, torch.tensor([stream.sampling.repetition_penalty]))
        scores.append(logits)
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], 1)
        if int(ids[0, -1]) in eos:
            break
    return ids[0, start:].tolist(), torch.cat(scores)


@each_run
def test_verified_every_schedule_says_what_the_backbone_alone_says(golden: Golden, model: VitaModel, run: str) -> None:
    stream, plain = stream_of(golden, run, is_verified=True), stream_of(golden, run)
    plain.schedule = VANILLA
    run_all(InterleavedBatch(model, eos_of(run)), stream, plain)
    assert stream.tokens == plain.tokens


def test_every_recorded_run_is_asked_about(golden: Golden) -> None:
    known = {"forward", "forward_packed", "mtp_chain", "train"}
    names = {name.split(".")[0] for name in golden.tensors if not name.startswith("gen.")}
    assert names <= known, "a recorded tensor belongs to no test"
    assert {name.split(".")[1] for name in golden.tensors if name.startswith("gen.")} == set(RUNS)


def test_the_model_is_exported_byte_for_byte(golden: Golden, model: VitaModel, tmp_path: Path) -> None:
    export_vita(model, tmp_path / "as_it_was", golden.folder)
    assert_same_tensors(golden.folder, tmp_path / "as_it_was")
    export_vita(model, tmp_path / "anew")
    assert_same_tensors(golden.folder, tmp_path / "anew")
    assert load_vita(tmp_path / "anew").config == model.config
