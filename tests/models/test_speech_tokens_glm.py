"""GLM-4-Voice's tokenizer and decoder: a stream is the whole, however ids arrive; and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from loquor.audio.resample import resample
from loquor.diffusion.noise import SeededNoise
from loquor.errors import CheckpointError, ConfigError, InputError
from loquor.models.speech_tokens import speech_tokens_kind
from loquor.models.speech_tokens.glm import GlmSpeechTokens
from loquor.models.speech_tokens.glm_decoder import MOST_AT_ONCE, GlmDecoder
from loquor.models.speech_tokens.glm_decoder_checkpoint import load_glm_decoder
from loquor.models.speech_tokens.glm_decoder_config import read_config
from loquor.models.speech_tokens.glm_published import PublishedChunks
from loquor.models.speech_tokens.glm_stream import EARLY, StreamState, WindowedDecoder, Windows, fade_in
from loquor.models.speech_tokens.glm_tokenizer_checkpoint import load_glm_tokenizer
from loquor.models.speech_tokens.hift_stream import StreamingVocoder
from loquor.models.speech_tokens.source import init_source, source
from models.toy_speech_tokens import (
    CODEBOOK,
    PUBLISHED,
    save_glm_decoder,
    save_glm_tokenizer,
    toy_glm_decoder,
    toy_glm_tokenizer,
    toy_vocoder,
    vocoder_config,
)

CLOSE = {"rtol": 0.0, "atol": 1e-5}  # samples are below 1: only the order of sums differs
QUICK = Windows(steps=(1,))


@pytest.fixture(scope="module")
def decoder() -> GlmDecoder:
    return toy_glm_decoder()


def ids_of(count: int, seed: int = 0) -> list[int]:
    return [int(i) for i in np.random.default_rng(seed).integers(0, CODEBOOK, count)]


def streamed(stream: WindowedDecoder, ids: list[int], sizes: list[int], ends_with_the_last: bool) -> Tensor:
    """What a listener gets of ids that come in portions; what the sizes leave over comes last."""
    state, heard = stream.init_state(7), []
    for size in sizes:
        heard.append(stream.decode(ids[:size], state, is_final=False))
        ids = ids[size:]
    heard.append(stream.decode(ids, state, is_final=ends_with_the_last))
    if not ends_with_the_last:
        heard.append(stream.decode([], state, is_final=True))
    return torch.cat(heard)


@settings(max_examples=10)
@given(
    count=st.integers(1, 60),
    sizes=st.lists(st.integers(0, 40), max_size=6),
    windows=st.lists(st.integers(6, 30), min_size=1, max_size=3).map(tuple),
    context=st.integers(6, 40),
    ends_with_the_last=st.booleans(),
)
def test_streamed_audio_is_the_audio_of_the_whole_however_ids_are_cut(
    decoder: GlmDecoder, count: int, sizes: list[int], windows: tuple[int, ...], context: int, ends_with_the_last: bool
) -> None:
    stream, ids = WindowedDecoder(decoder, Windows(windows, context, (1,))), ids_of(count)

    whole = stream.decode(ids, stream.init_state(7), is_final=True)

    torch.testing.assert_close(streamed(stream, ids, sizes, ends_with_the_last), whole, **CLOSE)
    frames = stream.decoder.flow.config.frames(count)
    assert len(whole) == frames * stream.decoder.vocoder.config.frame_samples
    assert torch.isfinite(whole).all() and whole.std() > 0


@settings(max_examples=10)
@given(
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=6),
    with_noise=st.booleans(),
    other=st.sampled_from(
        [
            {},
            PUBLISHED | {"base_channels": 4},
            {"upsample_rates": (8,), "upsample_kernels": (12,), "source_kernels": (3,), "source_dilations": ((1, 2),)},
        ]
    ),
)
def test_the_vocoder_leaves_no_seam_between_pieces_of_a_spectrum(
    sizes: list[int], with_noise: bool, other: dict[str, Any]
) -> None:
    vocoder, noise = toy_vocoder(vocoder_config(**other)), SeededNoise(3) if with_noise else None
    mel = torch.randn(1, vocoder.config.mel_bins, sum(sizes) + 1, generator=torch.Generator().manual_seed(0))
    stream, state, heard = StreamingVocoder(vocoder), StreamingVocoder(vocoder).init_state(), []
    for part in torch.split(mel, [*sizes, 1], dim=-1):
        heard.append(stream(part, noise, state, is_final=False))
    heard.append(stream(mel[..., :0], noise, state, is_final=True))

    excitation = source(vocoder.config, vocoder.merge, vocoder.pitch(mel), noise, init_source(vocoder.config))
    torch.testing.assert_close(torch.cat(heard), vocoder(mel, excitation)[0], **CLOSE)


def test_windows_agree_on_every_frame_they_share_and_put_it_in_its_place() -> None:
    decoder = toy_glm_decoder()
    for parameter in decoder.flow.estimator.out.parameters():
        parameter.zero_()  # nothing moves: the spectrum is the noise that the frames began with
    stream = WindowedDecoder(decoder, QUICK)

    heard = stream.decode(ids_of(70), stream.init_state(3), is_final=True)

    noise, bins = SeededNoise(2 * 3), decoder.flow.config.mel_bins
    mel = torch.stack([noise.frame(i, (bins,)) for i in range(decoder.flow.config.frames(70))], -1)[None]
    whole = stream.vocoder(mel, SeededNoise(2 * 3 + 1), stream.vocoder.init_state(), is_final=True)
    torch.testing.assert_close(heard, whole, **CLOSE)


def test_the_first_window_is_heard_as_soon_as_its_ids_are_there(decoder: GlmDecoder) -> None:
    stream = WindowedDecoder(decoder, QUICK)
    state = stream.init_state(0)

    assert len(stream.decode(ids_of(7), state, is_final=False)) == 0
    first = stream.decode(ids_of(1), state, is_final=False)

    frames = decoder.flow.config.frames(8)
    samples = decoder.vocoder.config.frame_samples
    assert len(first) == (frames - frames // 4 - stream.vocoder.delay_frames) * samples > 0


def test_a_long_stream_takes_no_more_memory_than_a_short_one(decoder: GlmDecoder) -> None:
    stream = WindowedDecoder(decoder, QUICK)
    state, sizes = stream.init_state(0), []
    for start in range(0, 480, 32):  # windows end where the portions do, from the third portion on
        stream.decode(ids_of(32, start), state, is_final=False)
        sizes.append(sum(tensor.numel() for _, tensor in state.leaves()))
    assert max(sizes[5:]) < 1.05 * max(sizes[:5])


def test_streams_share_a_decoder_and_a_stream_goes_on_from_a_copy(decoder: GlmDecoder) -> None:
    stream, first, second = WindowedDecoder(decoder, QUICK), ids_of(60, 1), ids_of(60, 2)
    alone = [stream.decode(ids, stream.init_state(seed), is_final=True) for seed, ids in ((1, first), (2, second))]
    states = [stream.init_state(seed) for seed in (1, 2)]
    begun = [stream.decode(ids[:30], state, is_final=False) for ids, state in zip((first, second), states, strict=True)]
    copies = [state.clone() for state in states]
    for state, ids in zip(states, (first, second), strict=True):
        stream.decode(ids[:20], state, is_final=True)  # another end, which the copies know nothing of

    for ids, copy, start, whole in zip((first, second), copies, begun, alone, strict=True):
        torch.testing.assert_close(torch.cat([start, stream.decode(ids[30:], copy, is_final=True)]), whole, **CLOSE)


def test_a_seed_gives_the_same_speech_and_another_seed_another(decoder: GlmDecoder) -> None:
    stream = WindowedDecoder(decoder, QUICK)
    one, again, other = (stream.decode(ids_of(20), stream.init_state(seed), is_final=True) for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.allclose(one, other, atol=1e-3)


def test_coarse_steps_at_first_change_what_is_heard_but_not_how_much(decoder: GlmDecoder) -> None:
    usual = GlmSpeechTokens(None, decoder)
    early = usual.with_windows(EARLY)
    heard = [tokens.decode(ids_of(8), tokens.init_state()) for tokens in (usual, early)]
    assert len(heard[0]) == len(heard[1]) > 0 and not torch.allclose(*heard, atol=1e-3)


def test_where_windows_meet_no_gain_changes() -> None:
    for frames in (1, 13, 34):
        rising = fade_in(frames)
        torch.testing.assert_close(rising + rising.flip(0), torch.ones(frames))
        assert (rising.diff() > 0).all() and rising[0] > 0 and rising[-1] < 1


def test_windows_without_ids_or_with_a_context_inside_the_overlap_are_refused() -> None:
    for windows in ({"tokens": ()}, {"tokens": (0,)}, {"steps": ()}, {"context_tokens": 5}):
        with pytest.raises(ConfigError):
            Windows(**windows)  # type: ignore[arg-type]


def test_ids_are_refused_before_the_stream_changes(decoder: GlmDecoder) -> None:
    stream = WindowedDecoder(decoder, QUICK)
    state, whole = stream.init_state(7), stream.decode(ids_of(12), stream.init_state(7), is_final=True)
    begun = stream.decode(ids_of(12)[:9], state, is_final=False)
    with pytest.raises(InputError, match="id 40 at place 1"):
        stream.decode([3, CODEBOOK], state, is_final=False)
    torch.testing.assert_close(torch.cat([begun, stream.decode(ids_of(12)[9:], state, is_final=True)]), whole, **CLOSE)


def test_no_ids_and_too_many_at_once_are_refused(decoder: GlmDecoder) -> None:
    tokens = GlmSpeechTokens(None, decoder)
    for decode in (tokens.decode, tokens.decode_whole):
        with pytest.raises(InputError, match="no ids"):
            decode([])
    with pytest.raises(InputError, match="too many") as caught:
        tokens.decode_whole([0] * (MOST_AT_ONCE + 1))
    assert "stream" in caught.value.hint
    chunks = PublishedChunks(decoder)
    with pytest.raises(InputError, match="chunk of 5 ids is too short"):
        chunks.decode([0] * 5, None, chunks.init_state(), is_final=True)


@settings(max_examples=20)
@given(samples=st.integers(1, 20_000))
def test_every_80_ms_that_begin_have_an_id(samples: int) -> None:
    waveform = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    assert len(toy_glm_tokenizer().encode(waveform)) == -(-samples // 1280)


def test_speech_of_another_rate_has_the_ids_of_its_resampled_form() -> None:
    tokens = GlmSpeechTokens(toy_glm_tokenizer(), None)
    waveform = 0.1 * np.random.default_rng(0).standard_normal(24_000).astype(np.float32)
    assert tokens.encode(waveform, 24_000) == tokens.encode(resample(waveform, 24_000, 16_000), 16_000)
    assert (tokens.codebook_size, tokens.frame_rate_hz, tokens.sample_rate_hz) == (CODEBOOK, 12.5, 22050)


def test_published_folders_speak_and_listen_as_the_models_that_were_saved(tmp_path: Path, decoder: GlmDecoder) -> None:
    save_glm_tokenizer(tmp_path / "ears", toy_glm_tokenizer())
    save_glm_decoder(tmp_path / "mouth", decoder)
    opened = speech_tokens_kind("glm4voice").open({"tokenizer": tmp_path / "ears", "decoder": tmp_path / "mouth"})
    saved = GlmSpeechTokens(toy_glm_tokenizer(), decoder)
    waveform = 0.1 * np.random.default_rng(0).standard_normal(32_000).astype(np.float32)

    ids = opened.encode(waveform, 16_000)
    assert ids == saved.encode(waveform, 16_000) and len(set(ids)) > 1
    torch.testing.assert_close(opened.decode(ids), saved.decode(ids), **CLOSE)

    state = opened.init_state()
    parts = [opened.decode(ids[:9], state), opened.decode(ids[9:], state, is_final=True)]
    torch.testing.assert_close(torch.cat(parts), opened.decode(ids), **CLOSE)


def test_half_a_codec_says_which_half_is_missing(decoder: GlmDecoder) -> None:
    with pytest.raises(CheckpointError, match="tokenizer is not loaded") as caught:
        GlmSpeechTokens(None, decoder).encode(np.zeros(1600, dtype=np.float32), 16_000)
    assert "glm-4-voice-tokenizer" in caught.value.hint
    ears = GlmSpeechTokens(toy_glm_tokenizer(), None)
    for speak in (ears.decode, ears.decode_whole):
        with pytest.raises(CheckpointError, match="decoder is not loaded"):
            speak([0])


def test_the_config_may_refer_to_its_own_names_and_runs_nothing(tmp_path: Path, decoder: GlmDecoder) -> None:
    save_glm_decoder(tmp_path, decoder)
    path, proof = tmp_path / "config.yaml", tmp_path / "executed"
    text = path.read_text(encoding="utf-8")
    path.write_text(f"evil: !apply:os.mkdir ['{proof}']\n{text}", encoding="utf-8")
    flow, vocoder = read_config(tmp_path)
    assert (flow, vocoder) == (decoder.flow.config, decoder.vocoder.config) and not proof.exists()

    path.write_text(f"evil: !!python/object/apply:os.mkdir ['{proof}']\n{text}", encoding="utf-8")
    with pytest.raises(CheckpointError, match="cannot be read as YAML"):
        read_config(tmp_path)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("old", "new", "error", "what"),
    [
        ("'cosine'", "'linear'", ConfigError, r"cfm_params.content.t_scheduler 'linear' is not supported"),
        ("macaron_style: False", "macaron_style: True", ConfigError, "macaron_style True is not supported"),
        ("attention_heads: 2", "attention_heads: 5", ConfigError, "5 heads"),
        ("attention_heads: 2", "attention_heads: two", ConfigError, "attention_heads must be a whole number"),
        ("channels: [8, 8]", "channels: [12, 12]", ConfigError, "no multiples of 8"),
        ("vocab_size: 40", "vocab_size: 41", CheckpointError, r"input_embedding.weight has shape \[40, 12\]"),
        ("num_mid_blocks: 1", "num_mid_blocks: 2", CheckpointError, "missing tensors: decoder.estimator.mid_blocks.1"),
        ("flow:", "flow: 3\nflow2:", ConfigError, "flow must be a mapping"),
        ("flow:", "flow: [", CheckpointError, "cannot be read as YAML"),
    ],
)
def test_a_config_that_does_not_fit_names_the_value(
    old: str, new: str, error: type[Exception], what: str, tmp_path: Path, decoder: GlmDecoder
) -> None:
    save_glm_decoder(tmp_path, decoder)
    path = tmp_path / "config.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(error, match=what):
        load_glm_decoder(tmp_path)


@pytest.mark.parametrize("name", ["flow.pt", "hift.pt", "config.yaml"])
def test_a_decoder_that_is_cut_off_or_lacks_a_file_is_refused(name: str, tmp_path: Path, decoder: GlmDecoder) -> None:
    save_glm_decoder(tmp_path, decoder)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises((CheckpointError, ConfigError), match=str(tmp_path)):
        load_glm_decoder(tmp_path)
    path.unlink()
    with pytest.raises(CheckpointError, match=name):
        load_glm_decoder(tmp_path)


def test_a_tensor_too_many_or_too_few_is_named(tmp_path: Path, decoder: GlmDecoder) -> None:
    save_glm_decoder(tmp_path, decoder)
    path = tmp_path / "hift.pt"
    tensors = torch.load(path, weights_only=True)
    torch.save(tensors | {"conv_mid.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"hift.pt: 1 unexpected tensor: conv_mid.weight"):
        load_glm_decoder(tmp_path)
    del tensors["ups.0.weight_g"]
    torch.save(tensors, path)
    with pytest.raises(CheckpointError, match=r"hift.pt: 1 missing tensor: ups.0.weight_g"):
        load_glm_decoder(tmp_path)


@pytest.mark.parametrize(
    ("change", "error", "what"),
    [
        ({"pooling_type": "max"}, ConfigError, "pooling_type 'max' is not supported"),
        ({"quantize_stages": 2}, ConfigError, "unknown quantize_stages"),
        ({"pooling_position": 2}, ConfigError, "must meet"),
        ({"encoder_attention_heads": 3}, ConfigError, "3 heads"),
        ({"max_source_positions": 100}, ConfigError, "less than a piece of 30 s"),
        ({"quantize_vocab_size": 41}, CheckpointError, r"codebook.weight has shape \[40, 8\]"),
        ({"quantize_position": 2, "pooling_position": 2}, CheckpointError, "missing tensors: layers.1"),
    ],
)
def test_a_tokenizer_that_does_not_fit_names_the_value(
    change: dict[str, Any], error: type[Exception], what: str, tmp_path: Path
) -> None:
    save_glm_tokenizer(tmp_path, toy_glm_tokenizer())
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(error, match=what):
        load_glm_tokenizer(tmp_path)


def test_a_tokenizer_that_lacks_a_tensor_or_is_cut_off_is_refused(tmp_path: Path) -> None:
    save_glm_tokenizer(tmp_path, toy_glm_tokenizer())
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    del tensors["layers.0.fc1.bias"]
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=r"1 missing tensor: layers.0.fc1.bias"):
        load_glm_tokenizer(tmp_path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="no sound safetensors"):
        load_glm_tokenizer(tmp_path)


def test_halves_of_different_codebooks_are_refused(decoder: GlmDecoder) -> None:
    other = toy_glm_tokenizer()
    object.__setattr__(other.config, "quantize_vocab_size", 41)
    with pytest.raises(CheckpointError, match=r"40 ids at 12\.5 a second and 41 ids"):
        GlmSpeechTokens(other, decoder)


def test_a_stream_s_memory_is_a_state_like_any_other(decoder: GlmDecoder) -> None:
    state = WindowedDecoder(decoder, QUICK).init_state(5)
    assert isinstance(state, StreamState) and state.batch == 1 and int(state.seed) == 5
    assert all(tensor.shape[0] == 1 for _, tensor in state.leaves())
