"""The model that OpenVINO runs: it says what torch says, exactly in float32, within the bound in eight bits."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import pytest
import torch

from loquor.diffusion.sample import Guidance
from loquor.diffusion.solver import SolverConfig, solver_plan
from loquor.engine.realtime import RealtimeBatch, Stream
from loquor.engine.request import RealtimeFrame, Sampling
from loquor.models import EMBEDDED
from loquor.models.realtime.checkpoint import load_realtime
from loquor.models.realtime.model import RealtimeModel
from loquor.models.realtime.prompt import voice_state
from loquor.text.tokenizer import Token
from toy import NEVER, toy_config, toy_model, toy_voice

pytest.importorskip("openvino", reason="the fast extra is not installed")

from loquor.backends.openvino import weights
from loquor.backends.openvino.backend import OpenVinoRealtime, Pass
from loquor.backends.openvino.decoder import DecoderGraph
from loquor.backends.openvino.graph import Weights
from loquor.backends.openvino.optimised import BOUND
from loquor.backends.openvino.probe import errors, outcome

EXACT = 1e-3  # nothing in eight bits: the order of sums, and an embedding in half precision, which has 11 bits
SUM_ORDER = 1e-5


@lru_cache
def toy(end_bias: float = NEVER) -> RealtimeModel:
    return toy_model(end_bias=end_bias)


def optimised(model: RealtimeModel, least_size: int = weights.LEAST_SIZE) -> OpenVinoRealtime:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "LEAST_SIZE", least_size)
        return OpenVinoRealtime(model.config, {k: v.contiguous() for k, v in weights.weights_of(model)})


@pytest.fixture(scope="module")
def exact() -> OpenVinoRealtime:
    """The toy, whose matrices are all too small for eight bits."""
    return optimised(toy())


@pytest.fixture(scope="module")
def rounded() -> OpenVinoRealtime:
    """The toy with all its matrices in eight bits."""
    return optimised(toy(), least_size=1)


def test_graphs_without_eight_bits_are_the_torch_model(exact: OpenVinoRealtime) -> None:
    given = outcome(toy())
    assert max(errors(outcome(exact, given), given).values()) < EXACT


def test_eight_bits_stay_within_the_bound_and_are_really_there(rounded: OpenVinoRealtime) -> None:
    given = outcome(toy())
    found = errors(outcome(rounded, given), given)
    assert min(found[name] for name in found if name != "end") > EXACT  # the toy's end logits are nearly all bias
    assert max(found.values()) < BOUND


def test_the_embedded_voice_stays_within_the_bound() -> None:
    model = load_realtime(EMBEDDED, torch.float32)
    given = outcome(model)
    assert max(errors(outcome(optimised(model), given), given).values()) < BOUND / 2


def test_errors_are_large_where_a_pass_goes_wrong(exact: OpenVinoRealtime) -> None:
    given = outcome(toy())
    found = errors(outcome(exact, given) | {"hear": given["hear"] * float("nan"), "end": -given["end"]}, given)
    assert found["hear"] == float("inf")
    assert found["end"] == 2
    assert found["read"] < EXACT


def test_a_frame_and_the_text_behind_it_in_one_pass_are_the_two_passes(exact: OpenVinoRealtime) -> None:
    """Windows of unequal lengths, in a batch."""
    generator = torch.Generator().manual_seed(0)
    ids, latents = torch.randint(2, 100, (3, 5), generator=generator), torch.randn(3, 8, generator=generator)
    lengths, found = torch.tensor([5, 1, 3]), []
    for is_one in (True, False):
        state = exact.init_state(3)
        exact.read(ids, state, lengths)
        logits = exact.hear(latents, state, *((ids, lengths) if is_one else ()))
        if not is_one:
            exact.read(ids, state, lengths)
        exact.hear(latents, state)  # sees what was remembered
        facts = (logits, state.condition, state.negative_condition)
        found.append((*facts, state.text.length, state.speech.length, state.negative.length))
    for mine, its in zip(*found, strict=True):
        torch.testing.assert_close(mine, its, rtol=0, atol=SUM_ORDER * float(its.abs().max()))


@pytest.mark.parametrize("is_guided", [True, False])
@pytest.mark.parametrize(("algorithm", "steps"), [("dpmsolver++", 1), ("dpmsolver++", 4), ("sde-dpmsolver++", 3)])
@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon"])
def test_latents_are_drawn_as_by_the_torch_sampler(
    algorithm: str, steps: int, prediction: str, is_guided: bool
) -> None:
    """Two streams of different guidance."""
    model, generator = toy(), torch.Generator().manual_seed(steps)
    config = SolverConfig(
        beta_schedule="cosine", num_train_timesteps=1000, prediction_type=prediction, algorithm_type=algorithm
    )
    plan = solver_plan(config, steps)
    draws = torch.randn(2 * 32 + 2 * 32 + 2 * 8 + steps * 2 * 8, generator=generator)
    sizes = [64, 64, 16, steps * 16]
    condition, negative, noise, fresh = (t.reshape(2, -1) for t in draws.split(sizes))
    guidance = Guidance(negative, torch.tensor([1.0, 2.5])) if is_guided else None
    step_noise = fresh.reshape(steps, 2, 8) if plan.config.is_stochastic else None
    expected, found = (
        backend.sampler(plan, is_guided)(condition, noise, guidance, step_noise)
        for backend in (model, _exact_sampling(model))
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@lru_cache
def _exact_sampling(model: RealtimeModel) -> OpenVinoRealtime:
    return optimised(model)


CODECS = {
    "as published": {},
    "layer norm": {"layernorm": "LN"},
    "norms without weights": {"layernorm_elementwise_affine": False},
    "a last norm": {"disable_last_norm": False},
    "dense mixers": {"mixer_layer": "conv"},
    "no biases": {"conv_bias": False},
    "no layer scales": {"layer_scale_init_value": 0.0},
    "patches": {"patch_samples": 4},
    "own widths and depths": {"decoder_widths": (24, 20, 12, 6), "decoder_depths": "0-2-1-1"},
}


@pytest.mark.parametrize("changes", CODECS.values(), ids=CODECS)
@torch.no_grad()
def test_every_decoder_there_can_be_makes_the_sound_torch_makes_in_one_go_or_frame_by_frame(changes: dict) -> None:  # type: ignore[type-arg]
    config = toy_config()
    model = toy_model(replace(config, codec=replace(config.codec, **changes)))
    backend = Decoding(model)
    latents = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))
    expected = model.decode(latents, model.init_decoder(2))
    for cuts in ([5], [1, 1, 1, 1, 1], [1, 3, 1]):
        memory = model.init_decoder(2)
        found = torch.cat([backend.decode(part, memory) for part in latents.split(cuts, 1)], 1)
        torch.testing.assert_close(found, expected, rtol=0, atol=SUM_ORDER * float(expected.abs().max()))


class Decoding(OpenVinoRealtime):
    """The decoder alone."""

    def __init__(self, model: RealtimeModel) -> None:
        tensors = {k: v.contiguous() for k, v in weights.weights_of(model)}
        self._decoder = Pass(DecoderGraph(Weights(tensors), model.config.codec).build())


def stream_of(backend: OpenVinoRealtime, seed: int) -> Stream:
    stream = Stream(voice_state(backend, toy_voice(toy(), seed)), Sampling(steps=2, seed=seed, max_new_tokens=20))
    stream.feed([Token(2 + seed + i, i, i + 1) for i in range(7)])
    stream.text_closed = True
    return stream


def spoken(backend: OpenVinoRealtime, joins: dict[int, Stream]) -> dict[int, list[RealtimeFrame]]:
    batch, said, step = RealtimeBatch(backend), {at: list[RealtimeFrame]() for at in joins}, 0
    while batch.streams or step <= max(joins):
        if step in joins:
            batch.join(joins[step])
        for stream, frame in batch.step():
            next(said[at] for at, one in joins.items() if one is stream).append(frame)
        step += 1
    return said


def test_streams_of_different_ages_in_one_batch_say_what_each_says_alone(exact: OpenVinoRealtime) -> None:
    """They join at steps 0, 3 and 4: their windows, pasts and ends lie elsewhere."""
    together = spoken(exact, {at: stream_of(exact, at) for at in (0, 3, 4)})
    for at, frames in together.items():
        alone = spoken(exact, {0: stream_of(exact, at)})[0]
        assert [(f.text_end, f.finish) for f in frames] == [(f.text_end, f.finish) for f in alone]
        for name in ("latent", "waveform", "condition", "negative_condition"):
            mine, its = (torch.stack([getattr(f, name) for f in each]) for each in (frames, alone))
            torch.testing.assert_close(mine, its, rtol=0, atol=1e-2)  # as in test_batch: what differs is fed back


def test_the_engine_says_with_it_what_it_says_with_torch(exact: OpenVinoRealtime) -> None:
    found, expected = (spoken(backend, {0: stream_of(backend, 1)})[0] for backend in (exact, toy()))  # type: ignore[arg-type]
    assert [(f.text_end, f.finish) for f in found] == [(f.text_end, f.finish) for f in expected]
    mine, its = (torch.cat([f.waveform for f in frames]) for frames in (found, expected))
    assert (mine - its).norm() < BOUND * its.norm()  # half an embedding's last bit, fed back some 14 times


def test_a_matrix_in_eight_bits_takes_a_quarter_and_keeps_its_rows_scale() -> None:
    matrix = torch.randn(64, 256, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 3, 64)[:, None]
    whole, scale = weights.quantised(matrix)
    assert whole.nbytes * 4 == matrix.nbytes
    assert (whole.abs().amax(1) == 127).all()
    assert ((whole * scale - matrix).abs() <= scale / 2 * (1 + 1e-5)).all()


def test_a_row_of_zeros_stays_one() -> None:
    whole, scale = weights.quantised(torch.zeros(2, 8))
    assert torch.equal(whole * scale, torch.zeros(2, 8))


def test_a_pass_follows_the_batch_as_it_grows_and_shrinks(exact: OpenVinoRealtime) -> None:
    """OpenVINO prepares anew for another number of rows; what it gave for the last must not come again."""
    generator = torch.Generator().manual_seed(0)
    for rows in (1, 8, 2, 8):
        ids, latents = torch.randint(2, 100, (rows, 5), generator=generator), torch.randn(rows, 8, generator=generator)
        lengths = torch.randint(1, 6, (rows,), generator=generator)
        found = []
        for backend in (exact, toy()):
            state = backend.init_state(rows)
            backend.read(ids, state, lengths)
            read = state.condition.clone()
            found.append((read, backend.hear(latents, state), state.condition, state.negative_condition))
        for mine, its in zip(*found, strict=True):
            assert (mine - its).norm() < EXACT * its.norm()
