"""The losses of a long-form model, on one small enough to run in a moment: what they mean and do not depend on."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from loquor.errors import ConfigError
from loquor.nn.diffusion_head import DiffusionHead, DiffusionHeadConfig
from loquor.training.longform import IGNORED, Counts, Draws, LongformLossWeights, LongformTraining, collate
from loquor.training.sequences import Example, Segment, encode_segment
from training.tiny_longform import tiny_model

VOCABULARY = 24
EOS, START, END, FRAME, FIRST_WORD = 0, 1, 2, 3, 4
CLOSE = {"atol": 2e-5, "rtol": 1e-4}  # only the order of sums differs
TRAINED = ("head.", "connector.", "semantic_connector.")


def training(weights: LongformLossWeights | None = None, own_head: bool = False) -> LongformTraining:
    model = tiny_model(VOCABULARY, has_own_token_head=own_head)
    for codec in (model.codec, model.semantic_codec):
        codec.requires_grad_(False)
    return LongformTraining(model, weights or LongformLossWeights(draws=2))


def numbers(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def example(seed: int, words: int, voice_frames: int, frames: int) -> Example:
    """Words, perhaps a voice, words, speech; everything random."""
    source = numbers(seed)

    def text(count: int) -> Tensor:
        return torch.randint(FIRST_WORD, VOCABULARY, (count,), generator=source)

    def speech(count: int) -> Tensor:
        return torch.tensor([START, *[FRAME] * count])

    end, parts = torch.tensor([END]), [text(words)]
    if voice_frames:
        parts += [speech(voice_frames), end, text(2)]
    prompt = sum(len(part) for part in parts)
    ids = torch.cat([*parts, speech(frames), end, torch.tensor([EOS])])
    is_frame = ids == FRAME
    is_target = is_frame & (torch.arange(len(ids)) > prompt)
    voice = [Segment(torch.randn(voice_frames, 5, generator=source), None)] if voice_frames else []
    target = Segment(torch.randn(frames, 5, generator=source), torch.randn(frames, 4, generator=source))
    return Example(ids, is_frame, is_target, (*voice, target))


def read_aloud() -> list[Example]:
    """Examples of different lengths, with and without a voice."""
    return [example(1, 5, 0, 3), example(2, 3, 4, 7), example(3, 9, 2, 1)]


def silent() -> Example:
    ids = torch.tensor([FIRST_WORD, FIRST_WORD + 1, EOS])
    nowhere = torch.zeros(3, dtype=torch.bool)
    return Example(ids, nowhere, nowhere, ())


def draws_for(trainer: LongformTraining, examples: list[Example]) -> list[Draws]:
    return [trainer.draw(e, numbers(100 + len(e.ids))) for e in examples]


def losses_of(
    trainer: LongformTraining, examples: list[Example], draws: list[Draws], over: Counts | None = None
) -> dict[str, Tensor]:
    losses: dict[str, Tensor] = trainer(collate(examples, trainer.model.config), Draws.join(draws), over)
    return losses


@torch.no_grad()
def test_a_frame_is_learned_from_the_state_generation_has_before_it() -> None:
    trainer = training()
    model = trainer.model
    plan = example(4, words=6, voice_frames=3, frames=5)
    voice, frames = plan.segments[0], len(plan.segments[1].means)
    said = torch.randn(frames, 5, generator=numbers(7))  # normalised, as the diffusion head gives them

    conditions, audio, state = [], [], model.init_state(1)
    start = len(plan.ids) - frames - 2  # of the first frame
    prompt = model.embedding(plan.ids[:start])
    prompt[plan.is_frame[:start]] = model.connector(model.latent_scale.normalised(voice.means))
    conditions.append(model.language_model(prompt[None], state.positive)[:, -1])
    for latent in said[:, None]:
        audio.append(model.decode(latent, state.decoder))
        heard = model.embed_speech(latent, model.hear(audio[-1], state.semantic))
        conditions.append(model.advance(heard, state)[0])
    ended = model.advance(model.embedding(torch.tensor([END])), state)[0]

    features = encode_segment(model, torch.cat(audio, 1)[0], "real").features
    target = Segment(model.latent_scale.latent(said), features)
    replayed = dataclasses.replace(plan, segments=(voice, target))
    batch = collate([replayed, example(5, 20, 0, 9)], model.config)
    latents = model.latent_scale.normalised(batch.means)
    states = trainer.states(batch, latents)

    is_before = F.pad(batch.is_target[0, 1:], (0, 1))
    torch.testing.assert_close(states[0][is_before], torch.cat(conditions[:-1]), **CLOSE)
    torch.testing.assert_close(states[0, start + frames - 1 : start + frames], conditions[-1], **CLOSE)
    torch.testing.assert_close(states[0, start + frames : start + frames + 1], ended, **CLOSE)
    assert batch.labels[0, start + frames - 1 : start + frames + 1].tolist() == [END, EOS]


def test_everything_but_frames_and_padding_is_a_label() -> None:
    short, long = example(1, 2, 0, 2), example(2, 4, 1, 1)

    labels = collate([short, long], training().model.config).labels

    words, more = short.ids[:2].tolist(), long.ids[:4].tolist()
    between = long.ids[7:9].tolist()
    gap = [IGNORED]
    assert labels[0].tolist() == [words[1], START, *gap * 2, END, EOS, *gap * 6]
    assert labels[1].tolist() == [*more[1:], START, *gap, END, *between, START, *gap, END, EOS]


@pytest.mark.parametrize("own_head", [False, True])
def test_the_losses_of_a_batch_are_those_of_its_examples_whatever_their_padding(own_head: bool) -> None:
    trainer, examples = training(own_head=own_head), read_aloud()
    draws = draws_for(trainer, examples)
    alone = [losses_of(trainer, [e], [d]) for e, d in zip(examples, draws, strict=True)]
    counts = [collate([e], trainer.model.config).counts for e in examples]

    together = losses_of(trainer, examples, draws)

    labels, frames = sum(c.labels for c in counts), sum(c.frames for c in counts)
    assert frames == 3 + 7 + 1
    tokens = sum(c.labels * a["tokens"] for c, a in zip(counts, alone, strict=True)) / labels
    diffusion = sum(c.frames * a["diffusion"] for c, a in zip(counts, alone, strict=True)) / frames
    torch.testing.assert_close(together["tokens"], tokens, **CLOSE)
    torch.testing.assert_close(together["diffusion"], diffusion, **CLOSE)


def test_the_order_of_examples_does_not_matter() -> None:
    trainer, examples = training(), read_aloud()
    draws = draws_for(trainer, examples)

    one, other = losses_of(trainer, examples, draws), losses_of(trainer, examples[::-1], draws[::-1])

    for name in one:
        torch.testing.assert_close(one[name], other[name], **CLOSE)


def test_parts_of_a_step_add_up_to_its_loss_and_gradient() -> None:
    trainer, examples = training(), read_aloud()
    draws = draws_for(trainer, examples)
    parameters = [p for p in trainer.parameters() if p.requires_grad]
    whole = losses_of(trainer, examples, draws)["loss"]

    first, second = (collate(part, trainer.model.config).counts for part in (examples[:1], examples[1:]))
    over = first + second
    parts = [losses_of(trainer, examples[a:b], draws[a:b], over)["loss"] for a, b in ((0, 1), (1, 3))]
    ranks = [losses_of(trainer, examples[a:b], draws[a:b], over / 99)["loss"] for a, b in ((0, 1), (1, 3))]

    torch.testing.assert_close(sum(parts), whole, **CLOSE)
    torch.testing.assert_close(sum(ranks) / 99, whole, **CLOSE)
    for a, b in zip(*(torch.autograd.grad(loss, parameters) for loss in (whole, sum(parts))), strict=True):
        torch.testing.assert_close(a, b, **CLOSE)


@pytest.mark.parametrize("count", [2, 3])
def test_several_noise_draws_per_frame_give_the_mean_of_as_many_losses(count: int) -> None:
    trainer, examples = training(LongformLossWeights(draws=count)), read_aloud()
    draws = Draws.join(draws_for(trainer, examples))
    batch = collate(examples, trainer.model.config)
    single = LongformTraining(trainer.model, LongformLossWeights(draws=1))

    together = trainer(batch, draws)["diffusion"]
    separate = [
        single(batch, dataclasses.replace(draws, noise=draws.noise[i::count], timestep=draws.timestep[i::count]))
        for i in range(count)
    ]

    torch.testing.assert_close(together, torch.stack([s["diffusion"] for s in separate]).mean(), **CLOSE)


def test_without_speech_the_diffusion_loss_is_zero_and_still_reaches_head_and_connectors() -> None:
    trainer = training()

    losses = losses_of(trainer, [silent()], draws_for(trainer, [silent()]))
    losses["loss"].backward()

    assert losses["diffusion"] == 0 and losses["tokens"] > 0
    reached = {name: p.grad for name, p in trainer.model.named_parameters() if name.startswith(TRAINED)}
    assert len(reached) > 10
    assert all(gradient is not None and not gradient.any() for gradient in reached.values())


def test_an_example_without_speech_does_not_disturb_the_frames_of_the_others() -> None:
    trainer, examples = training(), read_aloud()
    draws = draws_for(trainer, [*examples, silent()])

    alone = losses_of(trainer, examples, draws[:3])
    beside = losses_of(trainer, [silent(), *examples], [draws[3], *draws[:3]])

    torch.testing.assert_close(alone["diffusion"], beside["diffusion"], **CLOSE)


def test_draws_follow_from_the_generator_alone() -> None:
    trainer, before = training(), torch.get_rng_state()
    first, other = read_aloud()[:2]

    one, same = trainer.draw(first, numbers(3)), trainer.draw(first, numbers(3))
    losses_of(trainer, [first, other], [one, trainer.draw(other, numbers(4))])

    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(one.leaves(), same.leaves(), strict=True))
    assert torch.equal(before, torch.get_rng_state()), "no global generator is asked"
    assert not torch.equal(one.noise[:1], one.latent[:1])


def test_timesteps_are_drawn_from_all_of_the_schedule() -> None:
    trainer = training(LongformLossWeights(draws=4000))

    timesteps = trainer.draw(example(1, 3, 0, 3), numbers(0)).timestep

    assert (int(timesteps.min()), int(timesteps.max())) == (0, 999)
    assert float(timesteps.float().mean()) == pytest.approx(499.5, abs=10)


@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon"])
def test_the_head_learns_what_it_is_configured_to_predict(prediction: str) -> None:
    trainer, plan = training(), example(1, 3, 0, 6)
    kind = DiffusionHeadConfig(hidden_size=16, latent_size=5, prediction_type=prediction)
    trainer.model.config = dataclasses.replace(trainer.model.config, head=kind)
    trainer.model.head = DiffusionHead(kind)  # freshly made, it predicts 0
    draws = trainer.draw(plan, numbers(0))
    x0 = trainer.sample(collate([plan], trainer.model.config), draws)
    x0 = trainer.model.latent_scale.normalised(x0).repeat_interleave(2, 0)

    loss = losses_of(trainer, [plan], [draws])["diffusion"]

    velocity = trainer.schedule.velocity(x0, draws.noise, draws.timestep)
    expected = velocity if prediction == "v_prediction" else draws.noise
    torch.testing.assert_close(loss, expected.square().mean())


def test_a_head_that_predicts_latents_is_refused() -> None:
    model = tiny_model(VOCABULARY)
    model.config = dataclasses.replace(
        model.config, head=dataclasses.replace(model.config.head, prediction_type="sample")
    )

    with pytest.raises(ConfigError, match="sample"):
        LongformTraining(model, LongformLossWeights())


def test_the_loss_weighs_its_two_parts() -> None:
    trainer, examples = training(LongformLossWeights(tokens=0.04, diffusion=1.4, draws=2)), read_aloud()

    losses = losses_of(trainer, examples, draws_for(trainer, examples))

    torch.testing.assert_close(losses["loss"], 0.04 * losses["tokens"] + 1.4 * losses["diffusion"])


def test_a_voice_is_given_by_its_sound_alone_unless_it_has_features() -> None:
    trainer, plan = training(), example(2, 3, 4, 7)
    draws = draws_for(trainer, [plan])
    voice, target = plan.segments
    zeros = dataclasses.replace(plan, segments=(Segment(voice.means, torch.zeros(4, 4)), target))
    biased = trainer.model.semantic_connector(torch.zeros(4))

    alone, with_zeros = losses_of(trainer, [plan], draws), losses_of(trainer, [zeros], draws)
    with torch.no_grad():
        trainer.model.semantic_connector.outward.bias -= biased  # zeros now add nothing
    silenced, same = losses_of(trainer, [plan], draws), losses_of(trainer, [zeros], draws)

    assert not torch.isclose(alone["diffusion"], with_zeros["diffusion"], **CLOSE)
    torch.testing.assert_close(silenced["diffusion"], same["diffusion"], **CLOSE)


def test_a_few_steps_lower_both_losses() -> None:
    trainer, examples = training(), read_aloud()
    draws = draws_for(trainer, examples)
    optimizer = torch.optim.AdamW([p for p in trainer.parameters() if p.requires_grad], lr=3e-3)

    seen = []
    for _ in range(10):
        losses = losses_of(trainer, examples, draws)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        seen.append(losses)

    assert seen[-1]["tokens"] < 0.8 * seen[0]["tokens"]
    assert seen[-1]["diffusion"] < 0.8 * seen[0]["diffusion"]


@pytest.mark.parametrize("autocast", [True, False], ids=["autocast", "bf16 weights"])
def test_half_precision_changes_the_losses_a_little(autocast: bool) -> None:
    trainer, examples = training(), read_aloud()
    draws = draws_for(trainer, examples)
    exact = losses_of(trainer, examples, draws)

    if not autocast:
        trainer.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        rough = losses_of(trainer, examples, draws)
    rough["loss"].backward()

    for name, value in exact.items():
        assert rough[name].dtype == torch.float32
        torch.testing.assert_close(rough[name], value, atol=0, rtol=0.05)
