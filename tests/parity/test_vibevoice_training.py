"""Golden g: the training pass of the community's fine-tuner, its losses and gradients, from the recorded draws.

Also recorded is the published model's own pass, whose loss differs on purpose: the last test says in what.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from loquor.models.longform.checkpoint import keys, load_longform
from loquor.training.longform import Draws, LongformBatch, LongformLossWeights, LongformTraining, collate
from loquor.training.sequences import Example, Segment, encode_segment
from parity.goldens import Golden, recorded

CASE = "g_training"
TRAINER = ("in/", "draw/", "out/trainer/")
FORWARD, ESTIMATED, GRADIENTS = "out/model_forward/", "out/estimated_", "grad/"
LOGITS = {"atol": 1e-4, "rtol": 1e-4}  # the case names none; its losses, which follow from them, have this rtol

each_case = pytest.mark.parametrize("case", [CASE])


def training_of(golden: Golden) -> LongformTraining:
    model = load_longform(golden.folder)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(("codec.", "semantic_codec.")))
    return LongformTraining(model, LongformLossWeights(draws=golden.about["ddpm_batch_mul"]))


def examples_of(golden: Golden, training: LongformTraining) -> list[Example]:
    """The recorded rows, their padding cut off. Segments are listed in the order they stand in, over all rows.

    The reference encodes all waveforms at the length of the longest, ours come as long as that to be equal.
    """
    segments = []
    audio, features = golden["in/speech_tensors"], golden["in/speech_semantic_tensors"]
    for waveform, heard, mask in zip(audio, features, golden["in/speech_masks"], strict=True):
        segments.append(Segment(encode_segment(training.model, waveform, "none").means[mask], heard[mask]))
    examples, at = [], iter(segments)
    for row, mask in enumerate(golden["in/attention_mask"].bool()):
        ids, is_frame, is_target = (
            golden[f"in/{name}"][row][mask] for name in ("input_ids", "acoustic_input_mask", "acoustic_loss_mask")
        )
        mine: list[Segment] = []
        while sum(len(s.means) for s in mine) < int(is_frame.sum()):
            mine.append(next(at))
        examples.append(Example(ids, is_frame, is_target, tuple(mine)))
    assert next(at, None) is None
    return examples


def draws_of(golden: Golden) -> Draws:
    """Only a gaussian codec draws a scale for each segment, and only one that samples draws noise around its means."""
    mask, noise = golden["in/speech_masks"], golden["draw/diffusion_noise"]
    drawn = {"draw/std": torch.zeros(len(mask)), "draw/latent_noise": torch.zeros(*mask.shape, noise.shape[1])}
    scale, latent = (golden[key] if key in golden.tensors else nothing for key, nothing in drawn.items())
    return Draws(scale, latent[mask], noise, golden["draw/timesteps"])


def states_of(training: LongformTraining, batch: LongformBatch, draws: Draws) -> tuple[Tensor, Tensor]:
    """Normalised latents of all frames, and the states they lead to."""
    latents = training.model.latent_scale.normalised(training.sample(batch, draws))
    return latents, training.states(batch, latents)


def compare(golden: Golden, key: str, actual: Tensor, tolerance: dict[str, Any]) -> None:
    golden.check(key, actual.detach(), {"atol": 0.0, "rtol": 0.0, **tolerance})


def compare_logits(golden: Golden, key: str, actual: Tensor, batch: LongformBatch) -> None:
    """Padding is left out: the reference masks keys there, which changes states that nothing reads."""
    torch.testing.assert_close(actual[batch.is_real], golden[key][batch.is_real], **LOGITS)


@each_case
def test_the_losses_of_a_batch_are_the_fine_tuner_s(case: str) -> None:
    with Golden.open("vibevoice", case, *TRAINER) as golden, torch.no_grad():
        training, tolerance = training_of(golden), golden.about["tolerance"]["loss"]
        batch, draws = collate(examples_of(golden, training), training.model.config), draws_of(golden)
        assert torch.equal(batch.is_real, golden["in/attention_mask"].bool())
        assert torch.equal(batch.is_frame, golden["in/acoustic_input_mask"])
        assert torch.equal(batch.is_target, golden["in/acoustic_loss_mask"])
        targets = golden["in/speeches_loss_input"][golden["in/speech_masks"]]
        assert torch.equal(batch.is_target[batch.is_frame], targets)
        compare(golden, "out/trainer/ce_labels", batch.labels, tolerance)

        _, states = states_of(training, batch, draws)
        losses = training(batch, draws)

        compare_logits(golden, "out/trainer/logits", F.linear(states, training.model.token_weights), batch)
        compare(golden, "out/trainer/ce_loss", losses["tokens"], tolerance)
        compare(golden, "out/trainer/diffusion_loss", losses["diffusion"], tolerance)
        assert losses["loss"] == losses["tokens"] + losses["diffusion"]


@each_case
def test_the_gradients_of_both_losses_are_the_fine_tuner_s(case: str) -> None:
    with Golden.open("vibevoice", case, GRADIENTS) as golden:
        training = training_of(golden)
        model = training.model

        training(collate(examples_of(golden, training), model.config), draws_of(golden))["loss"].backward()

        gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
        assert all(gradient is not None for gradient in gradients.values())
        for entry in keys(model.config):
            ours = gradients.get(entry.ours or "")
            for name, theirs in zip(entry.theirs, entry.to_theirs(ours) if ours is not None else (), strict=False):
                if f"{GRADIENTS}{name}" in golden.tensors:
                    compare(golden, f"{GRADIENTS}{name}", theirs, golden.about["tolerance"]["grad"])


@each_case
def test_a_model_without_a_latent_scale_takes_that_of_its_first_batch(case: str) -> None:
    with Golden.open("vibevoice", case, ESTIMATED) as golden, torch.no_grad():
        training, tolerance = training_of(golden), golden.about["tolerance"]["loss"]
        scale = training.model.latent_scale
        scale.scale.fill_(torch.nan)
        scale.bias.fill_(torch.nan)
        batch = collate(examples_of(golden, training), training.model.config)

        first = training(batch, draws_of(golden))["loss"]
        training(dataclasses.replace(batch, means=2 * batch.means), draws_of(golden))  # too late to move it

        assert first.isfinite()
        compare(golden, "out/estimated_scaling_factor", scale.scale, tolerance)
        compare(golden, "out/estimated_bias_factor", scale.bias, tolerance)


@each_case
def test_the_published_pass_differs_in_nothing_but_its_condition_and_a_mean_over_frames(case: str) -> None:
    """It conditions a frame on the state at the frame itself, which has heard it; generation cannot."""
    with Golden.open("vibevoice", case, FORWARD) as golden, torch.no_grad():
        training, tolerance = training_of(golden), golden.about["tolerance"]["loss"]
        batch, draws = collate(examples_of(golden, training), training.model.config), draws_of(golden)

        latents, states = states_of(training, batch, draws)
        unshifted = training.diffusion_loss(states[batch.is_target], latents[batch.is_target[batch.is_frame]], draws)
        ours = training(batch, draws)["diffusion"] * batch.counts.frames

        compare_logits(golden, f"{FORWARD}logits", F.linear(states, training.model.token_weights), batch)
        compare(golden, f"{FORWARD}diffusion_loss", unshifted, tolerance)
        published = golden[f"{FORWARD}diffusion_loss"]
        assert not torch.isclose(ours, published, rtol=10 * tolerance["rtol"], atol=0), "conditions are not shifted"


def test_every_recorded_tensor_belongs_to_a_test() -> None:
    known = (*TRAINER, FORWARD, ESTIMATED, GRADIENTS)
    assert all(name.startswith(known) for name in recorded("vibevoice", CASE))
