"""Quantised codecs: a stream is the whole, an id says whose it is, and a folder holds all of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loquor.errors import AudioError, CheckpointError, ConfigError, InputError
from loquor.models.codec import CodecConfig
from loquor.models.speech_tokens import SpeechTokens, speech_tokens_kind
from loquor.models.speech_tokens.quantised import (
    QuantisedCodec,
    QuantisedConfig,
    QuantisedSpeechTokens,
    load_quantised,
    save_quantised,
)
from toy import randomise

BOOKS, ENTRIES, HOP = 3, 5, 16
CODEC = CodecConfig(
    vae_dim=8, encoder_ratios=(4, 2, 2), encoder_depths="1-1-1-1", encoder_n_filters=4, decoder_n_filters=4
)
CLOSE = {"rtol": 0.0, "atol": 1e-5}  # samples are around 1: only the order of sums differs
NOISE = np.random.default_rng(0).standard_normal(1000).astype(np.float32)


def toy_quantised(seed: int = 0) -> QuantisedCodec:
    model = QuantisedCodec(QuantisedConfig(CODEC, BOOKS, ENTRIES))
    randomise(model, seed)
    books = torch.randn(model.quantiser.books.shape, generator=torch.Generator().manual_seed(seed))
    model.quantiser.books.copy_(books / torch.tensor([1.0, 2.0, 4.0])[:, None, None])
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def tokens() -> QuantisedSpeechTokens:
    return QuantisedSpeechTokens(toy_quantised())


ANY_IDS = st.lists(st.integers(0, BOOKS * ENTRIES - 1), min_size=1, max_size=60)


@settings(max_examples=40)
@given(ids=ANY_IDS, sizes=st.lists(st.integers(0, 20), max_size=6), ends_with_the_last=st.booleans())
def test_streamed_audio_is_the_audio_of_the_whole_however_ids_are_cut(
    tokens: QuantisedSpeechTokens, ids: list[int], sizes: list[int], ends_with_the_last: bool
) -> None:
    whole, state, heard = tokens.decode(ids), tokens.init_state(), list[torch.Tensor]()
    for size in sizes:
        heard.append(tokens.decode(ids[:size], state))
        ids = ids[size:]
    heard.append(tokens.decode(ids, state, is_final=ends_with_the_last))
    if not ends_with_the_last:
        heard.append(tokens.decode([], state, is_final=True))

    torch.testing.assert_close(torch.cat(heard), whole, **CLOSE)


def test_audio_is_heard_as_soon_as_its_frame_is_complete(tokens: QuantisedSpeechTokens) -> None:
    state = tokens.init_state()
    assert [len(tokens.decode([i], state)) for i in (0, 5, 10, 1, 6, 11)] == [0, 0, HOP, 0, 0, HOP]


def test_each_frame_begun_has_an_id_of_every_book(tokens: QuantisedSpeechTokens) -> None:
    ids = tokens.encode(NOISE, 24_000)
    frames = -(-len(NOISE) // HOP)
    assert [i // ENTRIES for i in ids] == list(range(BOOKS)) * frames
    assert len(tokens.decode(ids)) == frames * HOP
    assert tokens.frame_rate_hz == 24_000 / HOP * BOOKS
    assert tokens.codebook_size == BOOKS * ENTRIES


def test_what_is_decoded_is_the_nearest_sum_of_entries_book_by_book(tokens: QuantisedSpeechTokens) -> None:
    quantiser, latents = tokens.model.quantiser, torch.randn(7, 8, generator=torch.Generator().manual_seed(1))
    rest = latents - quantiser.mean
    for book, chosen in zip(quantiser.books, quantiser(latents).T, strict=True):
        assert chosen.tolist() == torch.cdist(rest, book).argmin(1).tolist()
        rest = rest - book[chosen]
    torch.testing.assert_close(quantiser.latents(quantiser(latents)), latents - rest, **CLOSE)


@given(frames=st.integers(2, 6), missing=st.integers(0, 17))
def test_an_id_that_is_missing_changes_nothing_but_its_own_frame(
    tokens: QuantisedSpeechTokens, frames: int, missing: int
) -> None:
    entries = np.random.default_rng(frames).integers(0, ENTRIES, (frames, BOOKS))
    ids = [int(i) for i in (entries + np.arange(BOOKS) * ENTRIES).flatten()]
    missing %= len(ids)

    read, _ = tokens._frames(ids[:missing] + ids[missing + 1 :], is_final=True)

    frame, book = divmod(missing, BOOKS)
    entries[frame, book] = -1
    assert read == entries.tolist()


def test_loudness_is_no_part_of_what_is_said(tokens: QuantisedSpeechTokens) -> None:
    assert tokens.encode(0.001 * NOISE, 24_000) == tokens.encode(0.3 * NOISE, 24_000)


@pytest.mark.parametrize("wrong", [[], [0, BOOKS * ENTRIES], [-1]], ids=str)
def test_ids_that_are_none_are_refused(tokens: QuantisedSpeechTokens, wrong: list[int]) -> None:
    with pytest.raises(InputError, match="codebook of 15" if wrong else "no ids"):
        tokens.decode(wrong)


def test_audio_that_cannot_be_heard_is_refused(tokens: QuantisedSpeechTokens) -> None:
    with pytest.raises(AudioError, match="empty"):
        tokens.encode(NOISE[:0], 24_000)


def test_what_is_saved_is_what_is_loaded(tmp_path: Path, tokens: QuantisedSpeechTokens) -> None:
    save_quantised(tokens.model, tmp_path)
    name = load_quantised(tmp_path).name
    opened: SpeechTokens = speech_tokens_kind(name).open({"codec": tmp_path})

    assert name == tokens.model.name
    assert opened.encode(NOISE, 24_000) == tokens.encode(NOISE, 24_000)
    torch.testing.assert_close(opened.decode([0, 5, 10]), tokens.decode([0, 5, 10]), rtol=0, atol=0)


def test_other_codebooks_have_another_name_and_are_not_opened_by_this_one(tmp_path: Path) -> None:
    save_quantised(toy_quantised(seed=1), tmp_path)
    with pytest.raises(ConfigError, match=r"has the codebooks of 'quantised-.*', wanted are those of 'quantised-"):
        speech_tokens_kind(toy_quantised().name).open({"codec": tmp_path})


def changed(folder: Path, **values: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return folder


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json does not exist"):
        load_quantised(tmp_path)
    save_quantised(toy_quantised(), tmp_path)
    with pytest.raises(CheckpointError, match=r"quantiser\.books has shape"):
        load_quantised(changed(tmp_path, entries=6))
    with pytest.raises(ConfigError, match=r"quantised\.books must be an integer from 1 to 64, got 0"):
        load_quantised(changed(tmp_path, books=0))
    with pytest.raises(ConfigError, match="unknown key pages"):
        load_quantised(changed(tmp_path, books=3, pages=1))
    with pytest.raises(ConfigError, match="'vits' is no quantised codec") as caught:
        load_quantised(changed(tmp_path, model_type="vits"))
    assert "loquor quantise" in caught.value.hint
