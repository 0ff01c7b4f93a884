"""An encoder learned from the model's own takes: it tells the latents from the sound, and nothing else changes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import toy_longform
from loquor.checkpoints import Files
from loquor.engine.voice_making import encode_recording
from loquor.errors import CheckpointError, ConfigError, InputError, VoiceError
from loquor.models import EMBEDDED
from loquor.models.codec import CodecConfig
from loquor.models.realtime.checkpoint import export_realtime, load_realtime
from loquor.models.realtime.model import RealtimeConfig, RealtimeModel
from loquor.training.distillation import DistilProgress, DistilSettings, distil
from loquor.training.distilled_encoder import ROWS, Distillation, Material, rows_at_once
from loquor.training.excerpts import FRAMES, Recordings, Takes, parted, read_recordings
from loquor.training.takes import missing_takes, read_takes, say_takes
from loquor.training.trainer import Optimisation, step_generator
from toy import named_voice, toy_config, toy_model, toy_speaker, write_toy
from training.recordings import speech, write

CPU = torch.device("cpu")
OPTIONS = Optimisation(6, learning_rate=0.01, warmup_steps=2, autocast=False, save_every=2, validate_every=1000)
TEXTS = ("Hello there, and good morning to you.", "It is late.", "He went home.")
QUICK = DistilSettings(TEXTS, steps=2)


def deaf_model() -> RealtimeModel:
    """Its frames are 640 samples, so that some of them hold whole spectra; it has no encoder."""
    model = toy_model(patched(40))
    model.codec.encoder = None
    model.latent_scale.scale.fill_(2.0)  # far from 1, so that it is missed where it is forgotten
    model.latent_scale.bias.fill_(1.0)
    return model


def patched(samples: int) -> RealtimeConfig:
    """The toy with longer frames."""
    config = toy_config()
    return replace(config, codec=replace(config.codec, patch_samples=samples))


@pytest.fixture(scope="module")
def takes() -> list[Tensor]:
    """Latents that go up and down slowly, as those of speech do."""
    draws = torch.randn(10, 8, 33, generator=torch.Generator().manual_seed(0))
    return list(torch.nn.functional.avg_pool1d(draws, 4, 1).transpose(1, 2) * 2)


@pytest.fixture
def deaf_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A toy as the released Realtime checkpoints are; it says some seconds."""
    monkeypatch.setenv("LOQUOR_VOICES", str(tmp_path / "none"))
    folder = write_toy(tmp_path / "deaf", -6.0, patched(200))
    model = load_realtime(folder)
    model.codec.encoder = None
    (folder / "model.safetensors").unlink()
    export_realtime(model, folder)
    return folder


def silent(at: DistilProgress) -> None:
    """Nobody watches."""


def test_the_encoder_learns_to_tell_the_latents_from_the_sound(takes: list[Tensor], tmp_path: Path) -> None:
    training = Distillation(deaf_model(), Material(takes), tmp_path, replace(OPTIONS, steps=40), CPU)
    before, losses = training.figures(), list[float]()

    training.train(lambda step, loss: losses.append(loss))

    with training.averaged():
        after = training.figures()
    assert len(losses) == 40
    assert after.latent_error < 1  # of a constant
    assert before.latent_error > 1.5
    assert after.correlation > 0.25 > abs(before.correlation)
    assert after.mel_distance < before.mel_distance


def test_what_measures_is_not_learned_from(takes: list[Tensor], tmp_path: Path) -> None:
    training = Distillation(deaf_model(), Material(takes), tmp_path, OPTIONS, CPU)
    assert [torch.equal(a, b) for a, b in zip(training.held_out, takes[9:], strict=True)] == [True]
    assert torch.equal(training.takes.latents, torch.cat(takes[:9]))


def test_an_encoder_that_is_right_has_no_error(takes: list[Tensor], tmp_path: Path) -> None:
    training = Distillation(deaf_model(), Material(takes), tmp_path, OPTIONS, CPU)
    sounds = {len(sound): take for take in training.held_out for sound in training.sound(take[None])}
    training.hear = lambda sound: sounds[len(sound)]  # type: ignore[method-assign]
    figures = training.figures()
    assert figures.latent_error == 0
    assert figures.correlation == pytest.approx(1)
    assert figures.mel_distance == 0


@pytest.mark.parametrize("stop", [1, 5])
def test_a_run_that_was_killed_ends_as_one_that_was_not(takes: list[Tensor], tmp_path: Path, stop: int) -> None:
    class Killed(BaseException):
        pass

    def kill(step: int, loss: float) -> None:
        if step == stop:
            raise Killed

    whole = Distillation(deaf_model(), Material(takes), tmp_path / "whole", OPTIONS, CPU)
    whole.train(lambda step, loss: None)
    with pytest.raises(Killed):
        Distillation(deaf_model(), Material(takes), tmp_path / "cut", OPTIONS, CPU).train(kill)
    resumed, steps = Distillation(deaf_model(), Material(takes), tmp_path / "cut", OPTIONS, CPU), list[int]()
    resumed.train(lambda step, loss: steps.append(step))

    assert steps == list(range(stop // 2 * 2 + 1, 7))
    expected, found = (training.trained(torch.float32).state_dict() for training in (whole, resumed))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_the_gradient_is_the_same_however_many_rows_are_computed_at_once(takes: list[Tensor], tmp_path: Path) -> None:
    found = []
    for rows in (ROWS, 3):
        training = Distillation(deaf_model(), Material(takes), tmp_path, OPTIONS, CPU)
        training.rows_at_once = rows
        found.append((training._all_gradients()["loss"], [p.grad for p in training.parameters.values()]))
    (loss, all_at_once), (other_loss, in_pieces) = found
    assert loss == pytest.approx(other_loss, rel=1e-5)
    torch.testing.assert_close(in_pieces, all_at_once, rtol=1e-3, atol=1e-5)


def test_every_step_draws_excerpts_of_its_own(takes: list[Tensor], tmp_path: Path) -> None:
    training = Distillation(deaf_model(), Material(takes), tmp_path, OPTIONS, CPU)
    first, again = training._all_gradients(), training._all_gradients()
    training.step = 1
    assert first == again != training._all_gradients()


def test_recordings_are_copied_better_where_they_were_learned_from(takes: list[Tensor], tmp_path: Path) -> None:
    recordings = [torch.from_numpy(speech(3, seed)) for seed in range(3)]
    distances = []
    for name, material in (("without", Material(takes, recordings[-1:])), ("with", Material(takes, recordings))):
        training = Distillation(deaf_model(), material, tmp_path / name, replace(OPTIONS, steps=20), CPU)
        assert torch.equal(training.held_out_recordings[0], recordings[-1])
        training.train(lambda step, loss: None)
        with training.averaged():
            distances.append(training.figures().mel_distance_of_recordings)
    without, learned = distances
    assert without is not None
    assert learned is not None
    assert learned < 0.9 * without


def test_the_gradient_of_recordings_is_the_same_however_many_are_computed_at_once(
    takes: list[Tensor], tmp_path: Path
) -> None:
    found = []
    for rows in (ROWS, 1):
        material = Material(takes, [torch.from_numpy(speech(3, seed)) for seed in range(3)])
        training = Distillation(deaf_model(), material, tmp_path, OPTIONS, CPU)
        training.rows_at_once = rows
        losses = training._all_gradients()
        assert losses["loss"] == losses["latents"] + losses["copies"]
        found.append((losses["copies"], [p.grad for p in training.parameters.values()]))
    (loss, all_at_once), (other_loss, in_pieces) = found
    assert loss == pytest.approx(other_loss, rel=1e-5)
    torch.testing.assert_close(in_pieces, all_at_once, rtol=1e-3, atol=1e-5)


def test_the_last_tenth_measures_and_at_least_one() -> None:
    for count, learned in ((1, 0), (2, 1), (10, 9), (40, 36)):
        items = [torch.tensor(i) for i in range(count)]
        first, last = parted(items)
        assert [*first, *last] == items
        assert len(first) == learned
    assert parted([]) == ([], [])


def test_recordings_are_read_by_name_at_one_level(tmp_path: Path) -> None:
    for name, seconds, level_dbfs in (("b.wav", 1, -10.0), ("a/c.flac", 0.5, -40.0)):
        write(tmp_path / name, speech(seconds, level_dbfs=level_dbfs))
    (tmp_path / "b.txt").write_text("no sound")
    found = read_recordings(tmp_path)
    assert [len(waveform) for waveform in found] == [12_000, 24_000]
    assert [10 * float(w.square().mean().log10()) for w in found] == pytest.approx([-25, -25], abs=0.1)
    assert len(read_recordings(tmp_path / "b.wav")) == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no recording"):
        read_recordings(tmp_path / "empty")


def test_no_more_than_an_hour_of_recordings_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loquor.training.excerpts.MOST_S", 2.5)
    for name in "abcd":
        write(tmp_path / f"{name}.wav", speech(1))
    assert len(read_recordings(tmp_path)) == 2


def test_too_little_sound_is_refused() -> None:
    with pytest.raises(InputError, match=r"the recordings have 1.0 s, training needs at least 2.1"):
        Recordings([torch.zeros(24_000)], hop_samples=3200)


def test_a_codec_of_published_size_is_trained_a_row_at_a_time() -> None:
    published = CodecConfig(vae_dim=64, encoder_ratios=(8, 5, 5, 4, 2, 2), encoder_depths="3-3-3-3-3-3-8")
    assert published.hop_samples == 3200
    assert rows_at_once(published) == 1
    assert rows_at_once(load_realtime(EMBEDDED).config.codec) == ROWS


@settings(max_examples=30)
@given(step=st.integers(0, 10**6))
def test_half_of_the_rows_are_excerpts_and_the_others_are_near_none(step: int) -> None:
    said = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    drawn = Takes([said[:20], said[20:]]).draw(ROWS, step_generator(0, step))
    assert drawn.shape == (ROWS, FRAMES, 4)
    excerpts = said.unfold(0, FRAMES, 1).transpose(1, 2)  # [35, FRAMES, 4]
    nearest = (drawn[:, None] - excerpts[None]).square().mean((2, 3)).amin(1)
    assert torch.isfinite(drawn).all()
    assert ((nearest == 0) | (nearest > 1e-4)).all()
    assert torch.equal(drawn, Takes([said]).draw(ROWS, step_generator(0, step)))


def test_rows_of_both_kinds_are_drawn() -> None:
    said = torch.arange(400.0)[:, None]
    drawn = torch.cat([Takes([said]).draw(ROWS, step_generator(0, step)) for step in range(50)])
    share = ((drawn[:, 1:] - drawn[:, :-1]) == 1).all(1).float().mean()
    assert 0.4 < share < 0.6


def test_too_little_speech_is_refused() -> None:
    with pytest.raises(InputError, match="the takes have 22 frames, training needs at least 23"):
        Takes([torch.zeros(22, 4)])


def test_takes_are_said_once_and_in_all_voices_of_the_model(tmp_path: Path, deaf_folder: Path) -> None:
    speaker = toy_speaker(end_bias=-1.0)
    speaker.folder = deaf_folder
    named_voice(speaker.model, "Other", seed=1).save(deaf_folder / "voices" / "Other.safetensors")
    texts, counted = ["Hello there.", "Good morning.", "It is late."], list[int]()

    say_takes(speaker, texts, tmp_path / "takes", counted.append)

    assert counted == [1, 2, 3]
    found = read_takes(tmp_path / "takes", 3)
    said = [
        speaker.speak(text, voice, seed=i)
        for i, (text, voice) in enumerate(zip(texts, ("Other", "Toy", "Other"), strict=True))
    ]
    assert all(torch.equal(take, speech.latents) for take, speech in zip(found, said, strict=True))
    (tmp_path / "takes" / "00001.safetensors").unlink()
    assert missing_takes(tmp_path / "takes", 4) == [1, 3]
    say_takes(speaker, texts, tmp_path / "takes", counted.append)
    assert counted == [1, 2, 3, 3]


def test_without_a_voice_there_are_no_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOQUOR_VOICES", str(tmp_path))
    with pytest.raises(VoiceError, match="no voice is installed"):
        say_takes(toy_speaker(), ["Hello."], tmp_path / "takes", lambda done: None)


def test_the_new_folder_is_the_old_one_with_an_encoder(deaf_folder: Path, tmp_path: Path) -> None:
    seen: list[DistilProgress] = []

    training = distil(deaf_folder, tmp_path / "run", QUICK, "cpu", seen.append)

    old, new = Files(deaf_folder), Files(tmp_path / "run" / "model")
    assert all(torch.equal(new[name], old[name]) and new[name].dtype == old[name].dtype for name in old.where)
    added = set(new.where) - set(old.where)
    assert added and all(name.startswith("model.acoustic_tokenizer.encoder.") for name in added)
    for file in ("tokenizer.json", "loquor.json", "voices/Toy.safetensors"):
        assert (tmp_path / "run" / "model" / file).read_bytes() == (deaf_folder / file).read_bytes()
    configs = [json.loads((folder / "config.json").read_text()) for folder in (tmp_path / "run" / "model", deaf_folder)]
    assert configs[0] == configs[1]
    model, sound = load_realtime(tmp_path / "run" / "model"), torch.randn(500)
    heard = encode_recording(model, sound)
    with training.averaged():
        torch.testing.assert_close(heard, training.hear(torch.nn.functional.pad(sound, (0, 2700))))
    assert [(at.work, at.done, at.total) for at in seen] == [
        *(("takes", i, 3) for i in (1, 2, 3)),
        *(("steps", i, 2) for i in (1, 2)),
    ]


def test_a_finished_run_says_and_learns_nothing_again(deaf_folder: Path, tmp_path: Path) -> None:
    first = distil(deaf_folder, tmp_path / "run", QUICK, "cpu", silent).figures()
    seen: list[DistilProgress] = []
    assert distil(deaf_folder, tmp_path / "run", QUICK, "cpu", seen.append).figures() == first
    assert seen == []


@pytest.mark.parametrize(
    ("change", "named"), [({"steps": 3}, "steps"), ({"seed": 1}, "seed"), ({"texts": ("Hi.", "Ho.", "He.")}, "texts")]
)
def test_a_folder_of_another_run_is_refused(
    deaf_folder: Path, tmp_path: Path, change: dict[str, object], named: str
) -> None:
    distil(deaf_folder, tmp_path / "run", QUICK, "cpu", silent)
    with pytest.raises(CheckpointError, match=f"holds another run: it differs in {named}$"):
        distil(deaf_folder, tmp_path / "run", replace(QUICK, **change), "cpu", silent)  # type: ignore[arg-type]


def test_other_recordings_are_another_run(deaf_folder: Path, tmp_path: Path) -> None:
    ada, bob = (write(tmp_path / f"{name}.wav", speech(1, seed)) for seed, name in enumerate(("ada", "bob")))
    figures = distil(deaf_folder, tmp_path / "run", replace(QUICK, recordings=ada), "cpu", silent).figures()
    assert figures.mel_distance_of_recordings is not None
    with pytest.raises(CheckpointError, match=r"it differs in recordings$"):
        distil(deaf_folder, tmp_path / "run", replace(QUICK, recordings=bob), "cpu", silent)


def test_models_that_can_listen_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has an encoder already"):
        distil(write_toy(tmp_path / "toy"), tmp_path / "run", QUICK, "cpu", silent)
    with pytest.raises(ConfigError, match="is a VibeVoice long-form model"):
        distil(toy_longform.write_toy(tmp_path / "longform"), tmp_path / "run", QUICK, "cpu", silent)
    assert not (tmp_path / "run").exists()


def test_the_new_encoder_has_the_type_of_the_decoder(deaf_folder: Path, tmp_path: Path) -> None:
    half = load_realtime(deaf_folder, torch.bfloat16)
    export_realtime(half, tmp_path / "half")
    for file in ("tokenizer.json", "loquor.json", "voices/Toy.safetensors"):
        (tmp_path / "half" / file).parent.mkdir(exist_ok=True)
        (tmp_path / "half" / file).write_bytes((deaf_folder / file).read_bytes())
    distil(tmp_path / "half", tmp_path / "run", QUICK, "cpu", silent)
    assert {p.dtype for p in load_realtime(tmp_path / "run" / "model").codec.parameters()} == {torch.bfloat16}
