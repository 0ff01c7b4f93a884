"""SNAC through its package: a stream is the whole, and the package's own decoder is what is heard."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loquor.errors import AudioError, CheckpointError, ConfigError, InputError, MissingExtra
from loquor.models.speech_tokens import SpeechTokens, speech_tokens_kind
from loquor.models.speech_tokens.snac_codec import Slots, SnacSpeechTokens, _package

pytest.importorskip("einops", reason="SNAC's package needs it")
CLOSE = {"rtol": 0.0, "atol": 1e-5}
CONFIG: dict[str, Any] = {
    "sampling_rate": 24000,
    "encoder_dim": 2,
    "encoder_rates": [2, 4, 8, 8],
    "decoder_dim": 16,
    "decoder_rates": [8, 8, 4, 2],
    "attn_window_size": None,
    "codebook_size": 4096,
    "codebook_dim": 4,
    "vq_strides": [4, 2, 1],
    "noise": True,
    "depthwise": True,
}  # that of the published 24 kHz model, narrower


def toy_snac(seed: int = 0, **other: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return _package().SNAC(**(CONFIG | other)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def tokens() -> SnacSpeechTokens:
    return SnacSpeechTokens(toy_snac())


def ids_of(count: int, slots: Slots) -> list[int]:
    draws = np.random.default_rng(count).integers(0, slots.book_size, count)
    return [int(code) + i % slots.count * slots.book_size for i, code in enumerate(draws)]


@settings(max_examples=15)
@given(count=st.integers(1, 200), sizes=st.lists(st.integers(0, 60), max_size=6), ends_with_the_last=st.booleans())
def test_streamed_audio_is_the_audio_of_the_whole_however_ids_are_cut(
    tokens: SnacSpeechTokens, count: int, sizes: list[int], ends_with_the_last: bool
) -> None:
    ids = ids_of(count, tokens.slots)
    whole = tokens.decode(ids)
    state, heard = tokens.init_state(), []
    for size in sizes:
        heard.append(tokens.decode(ids[:size], state))
        ids = ids[size:]
    heard.append(tokens.decode(ids, state, is_final=ends_with_the_last))
    if not ends_with_the_last:
        heard.append(tokens.decode([], state, is_final=True))

    torch.testing.assert_close(torch.cat(heard), whole, **CLOSE)
    assert len(whole) == -(-count // 7) * 2048


def test_without_noise_what_is_heard_is_what_the_package_decodes() -> None:
    model = toy_snac()
    for name, parameter in model.named_parameters():
        if "linear" in name and name.endswith("original0"):  # the length of a noise's weight
            parameter.zero_()
    tokens = SnacSpeechTokens(model)
    waveform = 0.1 * np.random.default_rng(0).standard_normal(20_000).astype(np.float32)

    ids = tokens.encode(waveform, 24_000)
    codes = model.encode(torch.from_numpy(waveform)[None, None])

    assert ids == tokens.slots.ids([book[0] for book in codes])
    torch.testing.assert_close(tokens.decode(ids), model.decode(codes)[0, 0], **CLOSE)


def test_noise_follows_from_the_seed_and_from_nothing_else(tokens: SnacSpeechTokens) -> None:
    ids = ids_of(28, tokens.slots)
    torch.manual_seed(1)
    one = tokens.decode(ids, tokens.init_state(3), is_final=True)
    torch.manual_seed(2)
    assert torch.equal(one, tokens.decode(ids, tokens.init_state(3), is_final=True))
    assert not torch.equal(one, tokens.decode(ids, tokens.init_state(4), is_final=True))


def test_the_codec_counts_seven_slots_and_not_the_four_of_the_published_vocabulary(tokens: SnacSpeechTokens) -> None:
    kind = speech_tokens_kind("snac24khz")
    assert tokens.codebook_size == kind.codebook_size == 28672
    assert tokens.frame_rate_hz == kind.frame_rate_hz and tokens.sample_rate_hz == kind.sample_rate_hz
    with pytest.raises(ConfigError, match="too few"):
        kind.require_tokens(4 * 4096)


def test_a_published_folder_speaks_as_the_model_that_was_saved(tmp_path: Path, tokens: SnacSpeechTokens) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    torch.save(toy_snac().state_dict(), tmp_path / "pytorch_model.bin")
    opened: SpeechTokens = speech_tokens_kind("snac24khz").open({"codec": tmp_path})
    ids = ids_of(21, tokens.slots)
    torch.testing.assert_close(opened.decode(ids), tokens.decode(ids), **CLOSE)


def test_weights_that_do_not_fit_or_are_cut_off_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"decoder_dim": 32}), encoding="utf-8")
    weights = tmp_path / "pytorch_model.bin"
    torch.save(toy_snac().state_dict(), weights)
    with pytest.raises(CheckpointError, match=r"does not fit config.json: .*decoder.model.1"):
        SnacSpeechTokens.open(tmp_path)
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="no complete torch archive"):
        SnacSpeechTokens.open(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"tempo": 3}), encoding="utf-8")
    with pytest.raises(ConfigError, match="tempo"):
        SnacSpeechTokens.open(tmp_path)


def test_a_model_with_attention_is_refused() -> None:
    with pytest.raises(ConfigError, match="attention") as caught:
        SnacSpeechTokens(toy_snac(attn_window_size=4, decoder_dim=64, encoder_dim=4))
    assert "snac_24khz" in caught.value.hint


def test_bad_ids_and_silence_without_samples_are_refused(tokens: SnacSpeechTokens) -> None:
    with pytest.raises(InputError, match="id 28672 at place 1 lies outside the codebook of 28672"):
        tokens.decode([0, 28672])
    with pytest.raises(InputError, match="no ids"):
        tokens.decode([])
    with pytest.raises(AudioError, match="empty"):
        tokens.encode(np.zeros(0, dtype=np.float32), 24_000)


def test_without_the_package_the_line_that_installs_it_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    monkeypatch.setitem(sys.modules, "snac", None)
    with pytest.raises(MissingExtra, match="snac") as caught:
        SnacSpeechTokens.open(tmp_path)
    assert "loquor[vita]" in caught.value.hint
