"""Codebooks fitted to latents: the closest there are, always the same, and never more than there is to learn from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from loquor.errors import ConfigError, InputError
from loquor.models.codec import Codec
from loquor.models.realtime.checkpoint import export_realtime
from loquor.models.speech_tokens.quantised import QuantisedConfig, QuantisedSpeechTokens, Quantiser
from loquor.training.codebooks import codec_of, fit, fit_books, recordings_of
from loquor.training.vita.mixture import open_mixture
from toy import toy_config, toy_model, write_toy
from toy_vita import write_toy_vita


def quantiser(books: int, entries: int) -> Quantiser:
    return Quantiser(QuantisedConfig(toy_config().codec, books, entries))


def clusters(count: int, spread: float) -> Tensor:
    """Latents [400, 8] around so many centres."""
    generator = torch.Generator().manual_seed(0)
    centres = 3 * torch.randn(count, 8, generator=generator)
    return centres.repeat(400 // count, 1) + spread * torch.randn(400, 8, generator=generator)


def fitted(latents: Tensor, books: int, entries: int, seed: int = 0) -> tuple[Quantiser, float]:
    made = quantiser(books, entries)
    return made, fit_books(made, latents, seed, lambda done: None)


def test_what_is_left_over_is_what_the_books_do_not_say() -> None:
    latents = clusters(4, spread=0.5)
    made, left = fitted(latents, books=2, entries=8)
    error = (made.latents(made(latents)) - latents).square().sum()
    assert left == pytest.approx(float(error / (latents - latents.mean(0)).square().sum()), rel=1e-4)


def test_every_further_book_and_entry_comes_closer() -> None:
    latents = clusters(4, spread=0.5)
    lefts = [fitted(latents, books, entries)[1] for books, entries in ((1, 4), (2, 4), (3, 4), (3, 32))]
    assert lefts == sorted(lefts, reverse=True)
    assert lefts[0] < 0.25 < 4 * lefts[-1] + 0.25


def test_the_same_seed_gives_the_same_books() -> None:
    latents = clusters(4, spread=0.5)
    books = [fitted(latents, 2, 8, seed)[0].books for seed in (1, 1, 2)]
    assert torch.equal(books[0], books[1])
    assert not torch.equal(books[0], books[2])


def test_entries_that_nothing_is_near_to_stay_latents() -> None:
    made, _ = fitted(torch.ones(50, 8), books=1, entries=4)
    torch.testing.assert_close(made.mean + made.books[0], torch.ones(4, 8))


def write_talks(folder: Path, seconds: float = 0.2) -> Path:
    """Two conversations with three recordings, one of them twice, and one that cannot be read."""
    draws = np.random.default_rng(0)
    for name in "abc":
        soundfile.write(folder / f"{name}.wav", 0.1 * draws.standard_normal(int(24_000 * seconds)), 24_000)

    def talk(first: str, second: str) -> str:
        turns = [("user", "<|audio|>"), ("assistant", "<|audio|>")]
        messages = [{"role": role, "content": content} for role, content in turns]
        return json.dumps({"messages": messages, "audios": [f"{first}.wav", f"{second}.wav"]})

    path = folder / "talks.jsonl"
    path.write_text("\n".join([talk("a", "b"), "{broken", talk("b", "c")]))
    return path


def test_each_recording_of_conversations_is_learned_from_once(tmp_path: Path) -> None:
    found = recordings_of(open_mixture(write_talks(tmp_path), 0))
    assert sorted(path.name for path in found) == ["a.wav", "b.wav", "c.wav"]


def test_conversations_without_recordings_are_refused(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello."}]
    (tmp_path / "talks.jsonl").write_text(json.dumps({"messages": turns}))
    with pytest.raises(InputError, match="no recordings"):
        recordings_of(open_mixture(tmp_path / "talks.jsonl", 0))


def test_a_fitted_codec_says_what_it_was_fitted_to(tmp_path: Path) -> None:
    codec, told = codec_of(write_toy(tmp_path / "model")), list[tuple[str, int, int]]()
    recordings = recordings_of(open_mixture(write_talks(tmp_path), 0))
    done = fit(codec, recordings, 2, 20, 0, lambda at: told.append((at.work, at.done, at.total)))
    tokens = QuantisedSpeechTokens(done.model)

    assert done.frames == 3 * 300
    assert told[2:4] == [("recordings", 3, 3), ("rounds", 1, 50)] and told[-1] == ("rounds", 50, 50)
    assert 0 < done.left < 0.9
    assert len(set(tokens.encode(0.1 * np.random.default_rng(1).standard_normal(24_000), 24_000))) > 20


def test_more_entries_than_frames_are_refused(tmp_path: Path) -> None:
    recordings = recordings_of(open_mixture(write_talks(tmp_path, seconds=0.01), 0))
    with pytest.raises(InputError, match="3 recordings have 45 frames, too few for books of 46 entries"):
        fit(toy_model().codec, recordings, 1, 46, 0, lambda at: None)


def test_a_model_without_such_a_codec_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a VITA-Audio model"):
        codec_of(write_toy_vita(tmp_path / "vita"))
    deaf = toy_model()
    deaf.codec = Codec(deaf.codec.config, has_encoder=False)
    export_realtime(deaf, tmp_path / "deaf")
    with pytest.raises(ConfigError, match="has no encoder") as caught:
        codec_of(tmp_path / "deaf")
    assert "loquor distil" in caught.value.hint
