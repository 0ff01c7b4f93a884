"""Golden b: schedules, noising, and every solver configuration the reference was recorded with, step by step."""

from __future__ import annotations

import pytest
import torch

from loquor.configs import from_dict
from loquor.diffusion.schedule import ScheduleConfig, noise_schedule
from loquor.diffusion.solver import SolverConfig, solver_plan
from parity.goldens import Golden, case_json, recorded

CASE = ("vibevoice", "b_dpm_solver")
CONFIGS = case_json(*CASE).get("configs", {})
KEYS = recorded(*CASE)
SCHEDULES = sorted({key.split("/")[1] for key in KEYS if key.startswith("schedule/")})
NOISINGS = sorted({key.split("/")[1] for key in KEYS if key.startswith("noising/")})
BETA_TOLERANCE = {"atol": 0, "rtol": 1e-6}  # they are small: float64 cast to float32, give or take the last place


def ids(names: list[str]) -> list[str]:
    return [f"{CASE[1]}-{name}" for name in names]


@pytest.mark.parametrize("name", SCHEDULES, ids=ids(SCHEDULES))
def test_the_tables_of_a_schedule_are_those_of_the_reference(name: str) -> None:
    with Golden.open(*CASE, f"schedule/{name}/") as golden:
        steps = len(golden[f"schedule/{name}/betas"])
        schedule = noise_schedule(ScheduleConfig(beta_schedule=name, num_train_timesteps=steps))

        golden.check(f"schedule/{name}/betas", schedule.betas, BETA_TOLERANCE)
        tolerance = golden.about["tolerance"]
        golden.check(f"schedule/{name}/alphas_cumprod", schedule.alphas_cumprod, tolerance)
        golden.check(f"schedule/{name}/alpha_t", schedule.alpha, tolerance)
        golden.check(f"schedule/{name}/sigma_t", schedule.sigma, tolerance)


@pytest.mark.parametrize("name", NOISINGS, ids=ids(NOISINGS))
def test_noise_is_added_as_the_reference_adds_it_in_training(name: str) -> None:
    with Golden.open(*CASE, f"noising/{name}/") as golden:
        schedule = noise_schedule(ScheduleConfig(beta_schedule=name))
        inputs = [golden[f"noising/{name}/{part}"] for part in ("x0", "noise", "timesteps")]

        golden.check(f"noising/{name}/add_noise", schedule.add_noise(*inputs), golden.about["tolerance"])
        golden.check(f"noising/{name}/velocity", schedule.velocity(*inputs), golden.about["tolerance"])


@pytest.mark.parametrize("name", list(CONFIGS), ids=ids(list(CONFIGS)))
def test_the_solver_takes_every_step_the_reference_takes(name: str) -> None:
    with Golden.open(*CASE, f"{name}/") as golden:
        options, tolerance = CONFIGS[name], golden.about["tolerance"]
        config = from_dict(SolverConfig, options["scheduler"], f"{CASE[1]}/{name}")
        custom = options["custom_timesteps"]
        plan = solver_plan(config, tuple(custom) if custom else options["num_inference_steps"])

        golden.check(f"{name}/timesteps", plan.timesteps, tolerance)
        golden.check(f"{name}/sigmas", plan.sigmas, tolerance)

        outputs = golden[f"{name}/model_outputs"]
        noise = golden[f"{name}/noise"] if config.is_stochastic else [None] * len(plan)
        samples, history = [golden[f"{name}/x_T"]], []
        for i in range(len(plan)):
            history.insert(0, plan.estimate(i, samples[-1], outputs[i]))
            samples.append(plan.step(i, samples[-1], history, noise[i]))
        golden.check(f"{name}/x0_preds", torch.stack(history[::-1]), tolerance)
        golden.check(f"{name}/samples", torch.stack(samples), tolerance)


def test_every_recorded_tensor_of_the_case_belongs_to_a_test() -> None:
    claimed = (*CONFIGS, *(f"schedule/{n}" for n in SCHEDULES), *(f"noising/{n}" for n in NOISINGS))

    assert [key for key in KEYS if key.rsplit("/", 1)[0] not in claimed] == []
