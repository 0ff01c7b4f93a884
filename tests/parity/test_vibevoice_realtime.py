"""Golden e: the whole Realtime model, by a plain loop over its passes and by the engine, alone and in company."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from loquor.diffusion.noise import RecordedNoise
from loquor.diffusion.sample import Guidance, Sampler
from loquor.diffusion.solver import SolverConfig, solver_plan
from loquor.engine.realtime import RealtimeBatch, Stream
from loquor.engine.request import RealtimeFrame, Sampling
from loquor.models.realtime.checkpoint import export_realtime, load_realtime
from loquor.models.realtime.model import RealtimeModel
from loquor.models.realtime.prompt import prefill, voice_state
from loquor.text.tokenizer import Token
from parity.exports import assert_same_tensors
from parity.goldens import Golden, case_json

CASE = "e_realtime"
SPEECH_IN_SEQUENCE = 1  # what the reference notes for a frame
NO_TENSORS = "none: they are compared elsewhere"
RUNS = list(case_json("vibevoice", CASE).get("runs", {}))

each_run = pytest.mark.parametrize(("case", "run"), [pytest.param(CASE, run, id=f"{CASE}-{run}") for run in RUNS])


def preset_of(golden: Golden) -> dict[str, Tensor]:
    """The recorded voice under the names of our voices."""
    names = [name for name in golden.tensors if name.startswith("preset/")]
    return {name.removeprefix("preset/").replace("/", "."): golden.tensors[name] for name in names}


def is_stochastic(golden: Golden, run: str) -> bool:
    return f"{run}/step_noise" in golden.tensors


@dataclass
class Replay:
    """What a run gives, frame by frame, those after the end of speech included."""

    sequence: list[int]
    condition: list[Tensor] = field(default_factory=list)
    neg_condition: list[Tensor] = field(default_factory=list)
    latents: list[Tensor] = field(default_factory=list)
    frame_audio: list[Tensor] = field(default_factory=list)
    eos_logits: list[Tensor] = field(default_factory=list)
    frames_in_audio: int = 0
    reach_max: bool = False


@torch.no_grad()
def replay(model: RealtimeModel, golden: Golden, run: str) -> Replay:
    """The loop of the reference, as its documentation has it, over our passes."""
    facts, stochastic = golden.about["runs"][run], is_stochastic(golden, run)
    head = model.config.head
    algorithm = "sde-dpmsolver++" if stochastic else "dpmsolver++"
    solver = SolverConfig(
        beta_schedule=head.ddpm_beta_schedule,
        num_train_timesteps=head.ddpm_num_steps,
        prediction_type=head.prediction_type,
        algorithm_type=algorithm,
    )
    sampler = Sampler(model.head, solver_plan(solver, facts["ddpm_steps"]))
    noise, scale = golden[f"{run}/noise"], torch.tensor([float(facts["cfg_scale"])])
    step_noise = golden[f"{run}/step_noise"] if stochastic else None

    state, memory = voice_state(model, preset_of(golden)), model.init_decoder()
    position = int(state.speech.length[0])
    limit = position + facts["max_new_tokens"]
    ids = golden[f"{run}/text_ids"].flatten().tolist()
    done = Replay(sequence=[golden.about["special_ids"]["image_pad"]] * position)
    has_ended = False
    while not has_ended:
        window, ids = ids[: golden.about["text_window"]], ids[golden.about["text_window"] :]
        done.sequence += window
        position += len(window)
        if window and position > limit:
            done.reach_max = True
            return done
        if window:
            model.read(torch.tensor([window]), state)
        for _ in range(golden.about["speech_window"]):
            frame = len(done.latents)
            done.condition.append(state.condition.clone())
            done.neg_condition.append(state.negative_condition.clone())
            fresh = None if step_noise is None else step_noise[frame][:, None]
            guidance = Guidance(state.negative_condition.clone(), scale)
            latent = sampler(state.condition.clone(), noise[frame][None], guidance, fresh)
            done.latents.append(latent)
            done.frame_audio.append(model.decode(latent[:, None], memory))
            done.sequence.append(SPEECH_IN_SEQUENCE)
            done.frames_in_audio += not has_ended
            position += 1
            if position > limit:
                done.reach_max = True
                return done
            logit = model.hear(latent, state)
            done.eos_logits.append(logit)
            has_ended = has_ended or bool(torch.sigmoid(logit) > 0.5)
    return done


@each_run
def test_every_frame_of_a_run_is_the_reference_s(case: str, run: str) -> None:
    with Golden.open("vibevoice", case, f"{run}/") as golden:
        tolerance, facts = tolerances(golden), golden.about["runs"][run]
        done = replay(load_realtime(golden.folder), golden, run)
        assert len(done.latents) == facts["frames_sampled"]
        assert len(done.eos_logits) == facts["eos_logits_recorded"]
        assert done.frames_in_audio == facts["frames_in_audio"]
        assert done.reach_max == facts["reach_max"]
        for name in ("condition", "neg_condition", "latents", "eos_logits", "frame_audio"):
            compare(golden, f"{run}/{name}", torch.cat(getattr(done, name)), tolerance[name])
        compare(golden, f"{run}/audio", torch.cat(done.frame_audio[: done.frames_in_audio]), tolerance["audio"])
        compare(golden, f"{run}/sequences", torch.tensor(done.sequence), tolerance["latents"])


@each_run
def test_the_engine_speaks_as_the_reference_does(case: str, run: str) -> None:
    with Golden.open("vibevoice", case, NO_TENSORS) as golden:
        spoken = speak(load_realtime(golden.folder), golden, [run])
        check_frames(golden, run, *spoken[run])


@pytest.mark.parametrize("case", [CASE])
def test_the_engine_speaks_all_runs_in_one_batch_as_the_reference_does_one_by_one(case: str) -> None:
    with Golden.open("vibevoice", case, NO_TENSORS) as golden:
        spoken = speak(load_realtime(golden.folder), golden, RUNS)
        for run in RUNS:
            check_frames(golden, run, *spoken[run])


def speak(model: RealtimeModel, golden: Golden, runs: list[str]) -> dict[str, tuple[Stream, list[RealtimeFrame]]]:
    """Runs in one batch of the engine, with the recorded noise."""
    batch, streams = RealtimeBatch(model), {run: stream_of(model, golden, run) for run in runs}
    spoken: dict[str, tuple[Stream, list[RealtimeFrame]]] = {run: (stream, []) for run, stream in streams.items()}
    for stream in streams.values():
        batch.join(stream)
    while batch.streams:
        for stream, frame in batch.step():
            next(frames for other, frames in spoken.values() if other is stream).append(frame)
    return spoken


def stream_of(model: RealtimeModel, golden: Golden, run: str) -> Stream:
    facts, stochastic = golden.about["runs"][run], is_stochastic(golden, run)
    draws = golden[f"{run}/noise"][:, None]
    if stochastic:
        draws = torch.cat([draws, golden[f"{run}/step_noise"]], 1)
    sampling = Sampling(
        guidance=facts["cfg_scale"],
        steps=facts["ddpm_steps"],
        stochastic=stochastic,
        max_new_tokens=facts["max_new_tokens"],
    )
    stream = Stream(voice_state(model, preset_of(golden)), sampling, RecordedNoise(draws))
    stream.feed([Token(i, 0, 0) for i in golden[f"{run}/text_ids"].flatten().tolist()])
    stream.text_closed = True
    return stream


def check_frames(golden: Golden, run: str, stream: Stream, frames: list[RealtimeFrame]) -> None:
    """The frames a listener gets; the reference computes some more in the last window and drops them."""
    tolerance, facts = tolerances(golden), golden.about["runs"][run]
    assert len(frames) == facts["frames_in_audio"]
    assert stream.finish == ("limit" if facts["reach_max"] else "end")
    gives = {
        "condition": [f.condition for f in frames],
        "neg_condition": [f.negative_condition for f in frames],
        "latents": [f.latent for f in frames],
        "frame_audio": [f.waveform for f in frames],
        "eos_logits": [torch.tensor(f.end_logit) for f in frames if f.end_logit is not None],
    }
    for name, rows in gives.items():
        recorded = golden[f"{run}/{name}"][: len(rows)]
        torch.testing.assert_close(torch.stack(rows).view_as(recorded), recorded, **tolerance[name])
    compare(golden, f"{run}/audio", torch.cat(gives["frame_audio"]), tolerance["audio"])


def tolerances(golden: Golden) -> Mapping[str, dict[str, Any]]:
    """Per tensor; the case names three, conditions are as the latents that follow from them."""
    given = golden.about["tolerance"]
    latents, audio = ({"rtol": 0.0, **given[name]} for name in ("latents", "audio"))
    same = {"condition": latents, "neg_condition": latents, "latents": latents, "frame_audio": audio, "audio": audio}
    return {**same, "eos_logits": {"rtol": 0.0, **given["eos_logits"]}}


def compare(golden: Golden, key: str, actual: Tensor, tolerance: dict[str, Any]) -> None:
    """Recorded shapes may have an axis of one more."""
    golden.check(key, actual.reshape(golden.tensors[key].shape), tolerance)


@pytest.mark.parametrize("case", [CASE])
def test_a_prompt_becomes_the_recorded_voice(case: str) -> None:
    with Golden.open("vibevoice", case, "preset") as golden:
        model = load_realtime(golden.folder)
        ids, latents = golden["preset_source/prompt_ids"], golden["preset_source/prompt_latents"]
        negative_id = golden.about["special_ids"]["image_pad"]
        voice = prefill(model, ids.view(1, -1), latents.view(1, -1, model.config.latent_size), negative_id)
        assert set(voice) == set(preset_of(golden))
        for name, tensor in voice.items():
            branch, rest = name.split(".", 1)
            golden.check(f"preset/{branch}/{rest}", tensor, tolerances(golden)["latents"])


@pytest.mark.parametrize("case", [CASE])
def test_the_model_is_exported_byte_for_byte(case: str, tmp_path: Path) -> None:
    with Golden.open("vibevoice", case, NO_TENSORS) as golden:
        export_realtime(load_realtime(golden.folder), tmp_path, golden.folder)
        assert_same_tensors(golden.folder, tmp_path)
        known = {*RUNS, "preset", "preset_source"}
        assert {name.split("/")[0] for name in golden.tensors} == known, "a recorded tensor belongs to no test"
        about = (golden.about["text_window"], golden.about["speech_window"])
        config = load_realtime(tmp_path).config
        assert (config.text_window, config.speech_window) == about
