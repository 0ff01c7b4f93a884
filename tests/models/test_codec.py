"""The codec: streaming equals offline in both directions, whatever its shape; and shapes that are refused."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from loquor.checkpoints import Files, load, published, save, without_memory
from loquor.configs import from_dict
from loquor.errors import ConfigError
from loquor.models.codec import Codec, CodecConfig
from loquor.models.codec_keys import codec_keys
from toy import randomise

CLOSE = 1e-5  # samples are around 1, through some ten layers: only the order of sums differs


@st.composite
def configs(draw: st.DrawFn) -> CodecConfig:
    """Shapes a published file may have, and our own additions to them."""
    ratios = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=2)))
    stages = len(ratios) + 1
    depths = st.lists(st.integers(1, 2), min_size=stages, max_size=stages)
    widths = st.none() | st.lists(st.integers(1, 4), min_size=stages, max_size=stages).map(tuple)
    return CodecConfig(
        vae_dim=3,
        encoder_ratios=ratios,
        encoder_depths=draw(depths.map(lambda d: "-".join(map(str, d))) | depths.map(tuple)),
        decoder_depths=draw(st.none() | depths.map(lambda d: "-".join(map(str, d)))),
        decoder_ratios=draw(st.none() | st.permutations(ratios).map(tuple)),
        mixer_layer=draw(st.sampled_from(["depthwise_conv", "conv"])),
        layernorm=draw(st.sampled_from(["RMSNorm", "LN"])),
        layernorm_elementwise_affine=draw(st.booleans()),
        disable_last_norm=draw(st.booleans()),
        conv_bias=draw(st.booleans()),
        layer_scale_init_value=draw(st.sampled_from([0.0, 0.5])),
        encoder_n_filters=2,
        decoder_n_filters=3,
        ffn_expansion=2,
        patch_samples=draw(st.sampled_from([1, 1, 2, 3])),
        encoder_widths=draw(widths),
        decoder_widths=draw(widths),
    )


def codec_of(config: CodecConfig) -> Codec:
    codec = Codec(config)
    randomise(codec, 0)
    return codec.eval().requires_grad_(False)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def spans(draw: st.DataObject, steps: int) -> list[tuple[int, int]]:
    return list(pairwise(sorted({0, steps, *draw.draw(st.lists(st.integers(0, steps), max_size=4))})))


@given(config=configs(), frames=st.integers(1, 7), data=st.data())
@settings(max_examples=20)
def test_latents_decoded_in_any_pieces_sound_as_decoded_at_once(
    config: CodecConfig, frames: int, data: st.DataObject
) -> None:
    decoder, latents = codec_of(config).decoder, noise(2, frames, 3)
    assert decoder is not None
    whole, state = decoder(latents), decoder.init_state(2)
    pieces = [decoder(latents[:, a:b], state) for a, b in spans(data, frames)]
    assert whole.shape == (2, 1, frames * config.hop_samples)
    torch.testing.assert_close(torch.cat(pieces, -1), whole, rtol=0, atol=CLOSE)


@given(config=configs(), frames=st.integers(1, 6), data=st.data())
@settings(max_examples=20)
def test_audio_encoded_in_any_pieces_gives_the_latents_of_the_whole(
    config: CodecConfig, frames: int, data: st.DataObject
) -> None:
    """The last piece may end anywhere."""
    encoder, hop = codec_of(config).encoder, config.hop_samples
    assert encoder is not None
    waveform = noise(2, 1, frames * hop - data.draw(st.integers(0, hop - 1)))
    whole, state = encoder(waveform), encoder.init_state(2)
    places = spans(data, frames)
    pieces = [encoder(waveform[..., a * hop : b * hop], state, is_final=b == frames) for a, b in places]
    assert whole.shape == (2, frames, 3)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=0, atol=CLOSE)


@given(config=configs(), frames=st.integers(2, 6), data=st.data())
@settings(max_examples=20)
def test_neither_half_sees_the_future(config: CodecConfig, frames: int, data: st.DataObject) -> None:
    codec, hop = codec_of(config), config.hop_samples
    assert codec.encoder is not None
    assert codec.decoder is not None
    now = data.draw(st.integers(1, frames - 1))
    latents, waveform = noise(1, frames, 3), noise(1, 1, frames * hop)
    other, otherwise = latents.clone(), waveform.clone()
    other[:, now:], otherwise[..., now * hop :] = 50.0, 50.0
    assert torch.equal(codec.decoder(latents)[..., : now * hop], codec.decoder(other)[..., : now * hop])
    assert torch.equal(codec.encoder(waveform)[:, :now], codec.encoder(otherwise)[:, :now])


@given(config=configs(), halves=st.sampled_from([(True, True), (True, False), (False, True)]))
@settings(max_examples=20)
def test_a_codec_of_any_shape_goes_out_and_comes_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, config: CodecConfig, halves: tuple[bool, bool]
) -> None:
    folder, codec = tmp_path_factory.mktemp("codec"), Codec(config, *halves)
    randomise(codec, 1)
    entries = codec_keys(config, "model.acoustic_tokenizer.", "", *halves)
    save(folder, {}, published(codec, entries))

    with without_memory(folder):
        restored = Codec(config, *halves)
    load(restored, Files(folder), entries)

    assert restored.state_dict().keys() == codec.state_dict().keys()
    for name, tensor in codec.state_dict().items():
        assert torch.equal(restored.state_dict()[name], tensor), name


def test_the_published_shapes_are_those_of_the_paper_s_layers() -> None:
    config = CodecConfig(vae_dim=3, encoder_ratios=(4, 2), encoder_depths="1-1-2", encoder_n_filters=2)
    tensors = published(Codec(config), codec_keys(config, "", "", encoder=True, decoder=True))
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert shapes["encoder.downsample_layers.0.0.conv.conv.weight"] == (2, 1, 7)
    assert shapes["encoder.downsample_layers.2.0.conv.conv.weight"] == (8, 4, 8)  # the last ratio comes first
    assert shapes["encoder.stages.2.1.mixer.conv.conv.conv.weight"] == (8, 1, 7)
    assert shapes["encoder.head.conv.conv.weight"] == (3, 8, 7)
    assert shapes["decoder.upsample_layers.1.0.convtr.convtr.weight"] == (128, 64, 8)
    assert shapes["decoder.stages.0.1.ffn.linear1.weight"] == (512, 128)  # depths run backwards
    assert shapes["decoder.head.conv.conv.weight"] == (1, 32, 7)


def test_sixty_four_frames_of_sixty_four_channels_keep_their_layout() -> None:
    """The reference guesses the layout from the shape, and guesses wrong here."""
    config = CodecConfig(vae_dim=64, encoder_ratios=(2,), encoder_depths="1-1", encoder_n_filters=2)
    decoder = codec_of(config).decoder
    assert decoder is not None
    latents = noise(1, 64, 64)
    torch.testing.assert_close(decoder(latents)[..., :126], decoder(latents[:, :63]), rtol=0, atol=CLOSE)


SOUND = {"vae_dim": 4, "encoder_ratios": [4, 2], "encoder_depths": "1-1-2", "encoder_n_filters": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder_depths": "1-2"}, "down_depths needs 3 entries, one more than ratios, got (1, 2)"),
        ({"decoder_depths": "1-1-1-1"}, "up_depths needs 3 entries"),
        ({"encoder_widths": [1, 2]}, "down_widths needs 3 entries"),
        ({"encoder_depths": "1-x-1"}, "depths must be numbers joined by dashes, got '1-x-1'"),
        ({"encoder_depths": "1--1"}, "depths must be numbers joined by dashes"),
        ({"encoder_depths": [1, 1, -1]}, "codec.depth must be an integer from 0"),
        ({"encoder_depths": "1-1-999999999"}, "codec.depth must be an integer from 0 to 1000"),
        ({"encoder_ratios": [4, 0]}, "codec.encoder_ratios must be an integer from 1"),
        ({"encoder_ratios": "42"}, "encoder_ratios has a value of the wrong type: '42'"),
        ({"encoder_ratios": [4, 2.0]}, "encoder_ratios has a value of the wrong type"),
        ({"decoder_ratios": [2, 2]}, "make frames of different length"),
        ({"vae_dim": None}, "vae_dim has a value of the wrong type: None"),
        ({"conv_bias": "yes"}, "conv_bias has a value of the wrong type: 'yes'"),
        ({"layernorm_eps": 0}, "layernorm_eps must be positive"),
        ({"layernorm_eps": float("nan")}, "layernorm_eps has a value of the wrong type"),
        ({"causal": False}, "codec.causal must be one of (True,), got False"),
        ({"pad_mode": "reflect"}, "codec.pad_mode must be one of ('constant',), got 'reflect'"),
        ({"std_dist_type": "cauchy"}, "codec.std_dist_type must be one of"),
        ({"dropout": 0.1}, "unknown key dropout"),
    ],
    ids=str,
)
def test_a_config_no_codec_has_is_one_error_that_names_file_and_value(change: dict[str, Any], message: str) -> None:
    values = json.loads(json.dumps(SOUND | change))
    with pytest.raises(ConfigError) as error:
        from_dict(CodecConfig, values, "folder/config.json: acoustic_tokenizer_config")
    assert str(error.value).startswith("folder/config.json: acoustic_tokenizer_config: ")
    assert message in str(error.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match=r"config.json: missing keys encoder_depths, vae_dim"):
        from_dict(CodecConfig, {"encoder_ratios": [2]}, "config.json")


def test_sizes_that_make_no_tensor_are_one_error(tmp_path: Path) -> None:
    huge = from_dict(CodecConfig, SOUND | {"encoder_ratios": [2**23, 2**23], "encoder_n_filters": 2**22}, "config.json")
    with pytest.raises(ConfigError, match="no model has such sizes"), without_memory(tmp_path):
        Codec(huge)
