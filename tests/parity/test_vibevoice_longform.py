"""Golden f: the whole long-form model by the engine, run by run, all runs in one batch, and the reference's own batch.

Each run is given the recorded draws; tokens must be equal, everything else within the case's tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from loquor.diffusion.noise import RecordedNoise
from loquor.engine.longform import LongformBatch, LongformStream
from loquor.engine.request import LongformFrame, Sampling
from loquor.models.longform.checkpoint import export_longform, load_longform
from loquor.models.longform.model import LongformModel
from loquor.models.longform.prompt import Prompt, SpecialIds
from parity.exports import assert_same_tensors
from parity.goldens import Golden, case_json, recorded

FAMILY, CASE = "vibevoice", "f_longform"
PROMPT = ("input_ids", "speech_input_mask", "speech_tensors", "speech_masks")
NO_TENSORS = "none: they are compared elsewhere"
ABOUT = case_json(FAMILY, CASE)
BATCHES = [name for name, run in ABOUT.get("runs", {}).items() if isinstance(run["generated"], list)]
RUNS = [name for name in ABOUT.get("runs", {}) if name not in BATCHES]


@dataclass
class Said:
    """A stream and what it gave."""

    stream: LongformStream
    frames: list[LongformFrame] = field(default_factory=list)


def special_ids(golden: Golden) -> SpecialIds:
    ids = golden.about["special_ids"]
    return SpecialIds(ids["speech_start"], ids["speech_end"], ids["speech_diffusion"], ids["eos"])


def speak(model: LongformModel, golden: Golden, streams: list[LongformStream]) -> list[Said]:
    """What streams say in one batch of the engine."""
    batch, said = LongformBatch(model, special_ids(golden)), [Said(stream) for stream in streams]
    for stream in streams:
        batch.join(stream)
    while batch.streams:
        for stream, frame in batch.step():
            next(s for s in said if s.stream is stream).frames.append(frame)
    return said


@torch.no_grad()
def stream_of(model: LongformModel, golden: Golden, run: str, row: int | None = None) -> LongformStream:
    """A run as a stream; of a batch, its sample `row`."""
    at = "" if row is None else f"{run}/"
    row = row or 0
    real = golden[f"{at}attention_mask"][row].bool() if at else torch.ones_like(golden["input_ids"][0]).bool()
    prompt = Prompt(golden[f"{at}input_ids"][row][real], golden[f"{at}speech_input_mask"][row][real])
    sample = golden[f"{run}/sample_index"] == row if at else slice(None)
    return LongformStream(
        prompt,
        voices_of(model, golden, at, run, row),
        sampling_of(golden.about["runs"][run]),
        noise=RecordedNoise(golden[f"{run}/noise"][sample][:, None]),
        max_length_times=golden.about["runs"][run].get("mlt") or 2.0,
        refresh_negative=golden.about["runs"][run].get("refresh", True),
    )


def voices_of(model: LongformModel, golden: Golden, at: str, run: str, row: int) -> list[Tensor]:
    """The voices of a sample: all samples' are stacked, so they are told apart by how many frames each prompt has."""
    masks, waveforms = golden[f"{at}speech_masks"], golden[f"{at}speech_tensors"]
    scales, noises = golden[f"{run}/prefill_std_draw"], golden[f"{run}/prefill_noise_draw"]
    wanted = golden[f"{at}speech_input_mask"].sum(1)
    before, voices = int(wanted[:row].sum()), list[Tensor]()
    for waveform, mask, scale, noise in zip(waveforms, masks, scales, noises, strict=True):
        frames = int(mask.sum())
        if before > 0:
            before -= frames
        elif sum(map(len, voices)) < int(wanted[row]):
            voices.append(model.encode_voice(waveform, scale, noise)[mask])
    assert before == 0
    return voices


def sampling_of(facts: Mapping[str, Any]) -> Sampling:
    return Sampling(guidance=facts["cfg_scale"], steps=facts["steps"], max_new_tokens=facts.get("max_new"))


def check_run(golden: Golden, run: str, said: Said) -> None:
    """Every recorded tensor of a run without a batch."""
    assert_ended_as_recorded(golden, said, golden[f"{run}/generated"].tolist())
    gives = {
        "condition": [f.condition for f in said.frames],
        "neg_condition": [f.negative_condition for f in said.frames],
        "latents": [f.latent for f in said.frames],
        "semantic": [f.features for f in said.frames],
        "frame_audio": [f.waveform for f in said.frames],
    }
    for name, rows in gives.items():
        compare(golden, f"{run}/{name}", torch.stack(rows))
    compare(golden, f"{run}/audio", torch.cat(gives["frame_audio"]))


def check_sample(golden: Golden, run: str, row: int, said: Said) -> None:
    """The rows of a batch that belong to one sample."""
    generated = golden[f"{run}/generated"][row].tolist()
    reached = golden.about["runs"][run]["reach_max"][row]
    steps = said.stream.limit if reached else generated.index(special_ids(golden).eos) + 1
    assert_ended_as_recorded(golden, said, generated[:steps])
    assert (said.stream.finish == "limit") == reached
    mine = golden[f"{run}/sample_index"] == row
    for name, rows in {
        "condition": [f.condition for f in said.frames],
        "neg_condition": [f.negative_condition for f in said.frames],
        "latents": [f.latent for f in said.frames],
    }.items():
        expected = golden[f"{run}/{name}"][mine]
        torch.testing.assert_close(torch.stack(rows) if rows else expected[:0], expected, **tolerance(golden, name))
    audio = f"{run}/audio.{row}"
    if said.frames or audio in golden.tensors:
        compare(golden, audio, torch.cat([f.waveform for f in said.frames]))


def assert_ended_as_recorded(golden: Golden, said: Said, tokens: list[int]) -> None:
    """The same tokens; and what did not choose the end was at its limit."""
    special = special_ids(golden)
    assert said.stream.tokens == tokens
    assert said.stream.finish == ("end" if tokens[-1] == special.eos else "limit")
    assert said.stream.frames == len(said.frames) == tokens.count(special.frame)


def tolerance(golden: Golden, name: str) -> dict[str, Any]:
    """The case names two; states and features are as exact as the latents that come of them."""
    given: dict[str, Any] = golden.about["tolerance"]["audio" if "audio" in name else "latents"]
    return {"rtol": 0.0, **given}


def compare(golden: Golden, key: str, actual: Tensor) -> None:
    """Recorded shapes may have an axis of one more."""
    golden.check(key, actual.reshape(golden.tensors[key].shape), tolerance(golden, key))


@pytest.mark.parametrize("run", RUNS)
def test_the_engine_speaks_a_script_as_the_reference_does(run: str) -> None:
    with Golden.open(FAMILY, CASE, f"{run}/", *PROMPT) as golden:
        model = load_longform(golden.folder, torch.float32)
        (said,) = speak(model, golden, [stream_of(model, golden, run)])
        check_run(golden, run, said)


@pytest.mark.parametrize("case", [CASE])
def test_the_engine_speaks_all_runs_in_one_batch_as_the_reference_does_one_by_one(case: str) -> None:
    with Golden.open(FAMILY, case, NO_TENSORS) as golden:
        model = load_longform(golden.folder, torch.float32)
        for run, said in zip(RUNS, speak(model, golden, [stream_of(model, golden, run) for run in RUNS]), strict=True):
            check_run(golden, run, said)


@pytest.mark.parametrize("run", BATCHES)
@pytest.mark.parametrize("together", [True, False], ids=["together", "alone"])
def test_the_samples_of_a_batch_are_spoken_as_the_reference_does_together(run: str, together: bool) -> None:
    with Golden.open(FAMILY, CASE, f"{run}/") as golden:
        model = load_longform(golden.folder, torch.float32)
        streams = [stream_of(model, golden, run, row) for row in range(len(golden[f"{run}/generated"]))]
        said = speak(model, golden, streams) if together else [speak(model, golden, [s])[0] for s in streams]
        for row, each in enumerate(said):
            check_sample(golden, run, row, each)


@pytest.mark.parametrize("case", [CASE])
def test_a_voice_encoded_in_pieces_has_the_means_of_the_reference(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loquor.models.longform.model.VOICE_FRAMES", 2)
    with Golden.open(FAMILY, case, "prefill/", "speech_tensors") as golden:
        model = load_longform(golden.folder, torch.float32)
        means = golden["prefill/acoustic_mean"]
        unscaled = [
            model.latent_scale.latent(model.encode_voice(waveform, torch.tensor(0.0), torch.zeros_like(mean)))
            for waveform, mean in zip(golden["speech_tensors"], means, strict=True)
        ]
        compare(golden, "prefill/acoustic_mean", torch.stack(unscaled))


@pytest.mark.parametrize("case", [CASE])
def test_the_model_is_exported_byte_for_byte(case: str, tmp_path: Path) -> None:
    with Golden.open(FAMILY, case, NO_TENSORS) as golden:
        export_longform(load_longform(golden.folder), tmp_path, golden.folder)
        assert_same_tensors(golden.folder, tmp_path)


def test_every_recorded_tensor_belongs_to_a_test() -> None:
    known = (*(f"{run}/" for run in (*RUNS, *BATCHES)), *PROMPT, "prefill/")
    assert [name for name in recorded(FAMILY, CASE) if not name.startswith(known)] == []
