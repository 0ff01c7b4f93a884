"""Goldens c: the acoustic and the semantic tokenizer, one-shot and streaming in every recorded cut."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from loquor.checkpoints import Files, load, published, save, without_memory
from loquor.configs import from_dict
from loquor.models.codec import Codec, CodecConfig
from loquor.models.codec_keys import codec_keys
from loquor.nn.conv import CausalConv1d, CausalConvTranspose1d, DepthwiseCausalConv1d
from parity.exports import assert_same_tensors
from parity.goldens import Golden

ACOUSTIC, SEMANTIC = "c_acoustic_tokenizer", "c_semantic_tokenizer"
HALVES = {ACOUSTIC: {"has_encoder": True, "has_decoder": True}, SEMANTIC: {"has_encoder": True, "has_decoder": False}}

NO_TENSORS = "none: they are compared elsewhere"


def codec_of(golden: Golden, case: str) -> Codec:
    """The codec of the case, loaded as strictly as any checkpoint."""
    config = from_dict(CodecConfig, golden.config, str(golden.folder / "config.json"))
    with without_memory(golden.folder):
        codec = Codec(config, **HALVES[case])
    load(codec, Files(golden.folder), codec_keys(config, "", "", *HALVES[case].values()))
    return codec.requires_grad_(False)


def chunks(golden: Golden, run: str, length: int, hop: int) -> list[int]:
    """The lengths, in samples, of the chunks that a streaming run was cut into; case.json says it in words."""
    words = golden.about.get("stream_sizes", {}).get(run, "one hop per call")
    if counts := re.search(r"\d+(,\d+)+", words):
        sizes = [hop * int(count) for count in counts[0].split(",")]
    else:
        size = hop * int(multiple[1]) if (multiple := re.search(r"(\d+)\*hop", words)) else hop
        sizes = [size] * (length // size) + ([length % size] if length % size else [])
    assert sum(sizes) == length, f"{run}: {words!r} does not make {length} samples"
    return sizes


def encoded_in_chunks(codec: Codec, audio: Tensor, sizes: list[int]) -> Tensor:
    assert codec.encoder is not None
    state = codec.encoder.init_state(len(audio))
    pieces = audio.split(sizes, -1)
    return torch.cat([codec.encoder(piece, state, is_final=i == len(pieces) - 1) for i, piece in enumerate(pieces)], 1)


@pytest.mark.parametrize("case", [ACOUSTIC, SEMANTIC])
def test_the_encoder_gives_the_latents_the_reference_gives(case: str) -> None:
    with Golden.open("vibevoice", case, "enc_") as golden:
        codec, tolerance = codec_of(golden, case), golden.about["tolerance"]
        hop = golden.about["hop"]
        assert codec.encoder is not None
        assert codec.config.hop_samples == hop
        whole = [name.split("/")[0] for name in golden.tensors if name.startswith("enc_") and name.endswith("/audio")]
        assert whole
        for run in whole:
            golden.check(f"{run}/mean", codec.encoder(golden[f"{run}/audio"]), tolerance)
        for run, source in (("enc_stream", "enc_mult"), ("enc_stream_final", "enc_nonmult")):
            if f"{run}/mean" in golden.tensors:
                audio = golden[f"{source}/audio"]
                sizes = chunks(golden, run, audio.shape[-1], hop)
                golden.check(f"{run}/mean", encoded_in_chunks(codec, audio, sizes), tolerance)


@pytest.mark.parametrize("case", [ACOUSTIC])
def test_latents_are_sampled_as_the_reference_samples_them(case: str) -> None:
    with Golden.open("vibevoice", case, "sample_") as golden:
        codec, tolerance = codec_of(golden, case), golden.about["tolerance"]
        assert codec.encoder is not None
        mean = codec.encoder(golden["enc_mult/audio"])
        for run in sorted({name.split("/")[0] for name in golden.tensors if name.startswith("sample_")}):
            sampling = Codec(replace(codec.config, std_dist_type=run.removeprefix("sample_")), False, False)
            recorded = {name.split("/")[1] for name in golden.tensors if name.startswith(f"{run}/")}
            draws = [golden[f"{run}/{name}"] for name in ("noise_draw", "std_draw") if name in recorded]
            golden.check(f"{run}/sample", sampling.sample(mean, *draws), tolerance)
            if "mean" in recorded:
                golden.check(f"{run}/mean", mean, tolerance)
            if "std" in recorded:  # what is added to a mean of 0 where every other draw is 1
                ones = torch.ones(len(mean), 1, 1)
                scale = sampling.sample(torch.zeros_like(ones), ones, *draws[1:])
                golden.check(f"{run}/std", scale.view_as(golden[f"{run}/std"]), tolerance)


@pytest.mark.parametrize("case", [ACOUSTIC])
def test_the_decoder_gives_the_audio_the_reference_gives(case: str) -> None:
    with Golden.open("vibevoice", case, "dec_") as golden:
        codec, tolerance = codec_of(golden, case), golden.about["tolerance"]
        assert codec.decoder is not None
        latents = golden["dec_full/latents"]
        golden.check("dec_full/audio", codec.decoder(latents), tolerance)
        state = codec.decoder.init_state(len(latents))
        frames = [codec.decoder(frame, state) for frame in latents.split(1, 1)]
        golden.check("dec_stream_1frame/audio", torch.cat(frames, -1), tolerance)


@pytest.mark.parametrize("case", [ACOUSTIC, SEMANTIC])
def test_a_codec_is_exported_byte_for_byte(case: str, tmp_path: Path) -> None:
    with Golden.open("vibevoice", case, NO_TENSORS) as golden:
        codec = codec_of(golden, case)
        entries = codec_keys(codec.config, "", "", *HALVES[case].values())
        save(tmp_path, golden.config, published(codec, entries))
        assert_same_tensors(golden.folder, tmp_path)


def our_conv(codec: Codec, name: str) -> torch.nn.Module:
    """The convolution that the reference calls encoder.downsample_layers.1.0, decoder.stages.0.1.mixer.conv, ..."""
    half, kind, *rest = name.split(".")
    stack = codec.get_submodule(half)
    if kind == "head":
        return stack.get_submodule("head")
    if kind == "stages":
        return stack.get_submodule(f"stages.{rest[0]}.{rest[1]}.mixer")
    return stack.get_submodule("stem" if rest[0] == "0" else f"resamplers.{int(rest[0]) - 1}")


@pytest.mark.parametrize("case", [ACOUSTIC])
def test_every_convolution_has_the_reference_s_kernel_stride_and_memory(case: str) -> None:
    with Golden.open("vibevoice", case, NO_TENSORS) as golden:
        codec, facts = codec_of(golden, case), golden.about["conv_layers"]
        for name, fact in facts.items():
            conv = our_conv(codec, name)
            if isinstance(conv, CausalConvTranspose1d):
                assert fact["kind"] == "SConvTranspose1d", name
                # The reference remembers kernel - 1 inputs, of which the output depends on one.
                ours = (conv.weight.shape[1] // conv.in_channels * conv.stride, conv.stride, conv.stride)
                assert ours == (fact["kernel"], fact["stride"], fact["padding_total"]), name
                continue
            assert fact["kind"] == "SConv1d", name
            assert isinstance(conv, CausalConv1d | DepthwiseCausalConv1d), name
            kernel, stride = fact["kernel"], fact["stride"]
            if isinstance(conv, CausalConv1d):
                assert (conv.taps * conv.stride, conv.stride) == (kernel, stride), name
            else:
                assert (conv.weight.shape[-1], 1) == (kernel, stride), name
            assert conv.past_samples == fact["context"] == fact["padding_total"], name
        ours = [
            m for m in codec.modules() if isinstance(m, CausalConv1d | DepthwiseCausalConv1d | CausalConvTranspose1d)
        ]
        assert len(facts) == len(ours)
