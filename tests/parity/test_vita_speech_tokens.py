"""Goldens glm4v_tokenizer, glm4v_decoder and snac: speech to ids and back, stage by stage."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from loquor.models.speech_tokens.flow import published_noise, time_span
from loquor.models.speech_tokens.glm_decoder import GlmDecoder
from loquor.models.speech_tokens.glm_decoder_checkpoint import load_glm_decoder
from loquor.models.speech_tokens.glm_published import PublishedChunks
from loquor.models.speech_tokens.glm_tokenizer_checkpoint import load_glm_tokenizer
from loquor.models.speech_tokens.snac_codec import Slots
from loquor.models.speech_tokens.source import init_source, source
from models.toy_speech_tokens import PUBLISHED, write_glm_decoder
from parity.goldens import Golden
from parity.vita import open_vita, vita_case, vita_folder

HIDDEN = {"atol": 1e-4, "rtol": 0.0}  # what the fixtures suggest
MEL = {"atol": 2e-4, "rtol": 0.0}
WAV = {"atol": 1e-5, "rtol": 0.0}
WAVS = list(vita_case("glm4v_tokenizer").get("wavs", {}))
SNAC = vita_case("snac")


def wav_of(golden: Golden, name: str) -> Tensor:
    """Recorded samples, or those of another recording repeated and cut, as the case says."""
    if name in golden.tensors:
        return golden[name].float() / 32768
    made = re.search(r"(\w+) repeated and cut to (\d+) samples", golden.about["wavs"][name]["source"])
    assert made, f"the case does not say where {name} is from"
    once, length = wav_of(golden, made[1]), int(made[2])
    return once.repeat(length // len(once) + 1)[:length]


@pytest.mark.parametrize("name", WAVS)
def test_speech_becomes_the_recorded_ids(name: str) -> None:
    with open_vita("glm4v_tokenizer", "mini_glm4v_tokenizer", f"{name}.") as golden:
        model, facts = load_glm_tokenizer(golden.folder), golden.about["wavs"][name]
        wav = wav_of(golden, name)
        assert len(wav) == round(facts["seconds"] * golden.about["sample_rate"])

        ids = torch.tensor(model.encode(wav))

        assert len(ids) == facts["n_tokens"]
        assert torch.equal(ids, golden[f"{name}.tokens"].flatten())
        if facts["n_segments"] == 1:
            check_stages(golden, name, wav, ids)


def check_stages(golden: Golden, name: str, wav: Tensor, ids: Tensor) -> None:
    """What is recorded of a piece: features, their mask, the last layer, and what the codebook makes of it."""
    model = load_glm_tokenizer(golden.folder)
    features, sounding = model.features(wav, is_one_of_many=False)
    hidden = model.hidden(features, sounding)
    mask = torch.arange(features.shape[-1])[None] < sounding
    positions = load_file(golden.folder / "model.safetensors")["embed_positions2.weight"]
    golden.check(f"{name}.input_features", features, HIDDEN)
    golden.check(f"{name}.attention_mask", mask.to(golden[f"{name}.attention_mask"]), HIDDEN)
    golden.check(f"{name}.last_layer_out", hidden, HIDDEN)
    golden.check(f"{name}.all_token_ids", ids[None], HIDDEN)
    golden.check(f"{name}.last_hidden_state", (model.codebook[ids] + positions[: len(ids)])[None], HIDDEN)


def test_speech_alone_becomes_the_ids_it_becomes_in_a_batch_of_the_reference() -> None:
    with open_vita("glm4v_tokenizer", "mini_glm4v_tokenizer", "batch_") as golden:
        model = load_glm_tokenizer(golden.folder)
        for key in [key for key in golden.tensors if key.startswith("batch_")]:
            wav = wav_of(golden, f"wav{key.rpartition('tokens')[2]}")
            golden.check(key, torch.tensor(model.encode(wav)), HIDDEN)
        belongs = re.compile(rf"batch_.*|({'|'.join(WAVS)})(\..*)?")
        assert all(belongs.fullmatch(key) for key in golden.tensors), "a recorded tensor belongs to no test"


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> GlmDecoder:
    """The mini model, through the published layout: a config with tags and files that torch wrote."""
    mini = vita_folder() / "mini_glm4v_decoder"
    if not mini.is_dir():
        pytest.skip(f"no golden checkpoint {mini}")
    folder = tmp_path_factory.mktemp("decoder")
    weights = load_file(mini / "flow.safetensors"), load_file(mini / "hift.safetensors")
    write_glm_decoder(folder, settings(mini, weights[0]), *weights)
    return load_glm_decoder(folder)


def settings(mini: Path, flow: dict[str, Tensor]) -> dict[str, Any]:
    """arch.json in the words of the published config."""
    arch = json.loads((mini / "arch.json").read_text(encoding="utf-8"))
    bins, speaker = flow["spk_embed_affine_layer.weight"].shape
    return {
        "bins": bins,
        "width": arch["inp"],
        "speaker": speaker,
        "vocab": arch["vocab"],
        "heads": arch["heads"],
        "ffn": arch["lin"],
        "layers": arch["nb"],
        "block": arch["block"],
        "ratios": arch["ratios"],
        "estimator_in": 4 * bins,
        "channels": arch["ch"],
        "head_dim": arch["hd"],
        "stage_blocks": arch["nbl"],
        "mid": arch["mid"],
        "estimator_heads": arch["nh"],
        "base": arch["base"],
        "pitch": arch["f0"],
        "rate": 22050,
    } | {name: json.loads(json.dumps(value)) for name, value in PUBLISHED.items()}


DECODER = "glm4v_decoder", "mini_glm4v_decoder"


@torch.no_grad()
def test_ids_become_the_recorded_mean_and_velocity(decoder: GlmDecoder) -> None:
    with open_vita(*DECODER, "tokens", "enc.", "mel_len", "mu", "noise", "est.") as golden:
        flow, ids = decoder.flow, golden["tokens"]
        frames = flow.config.frames(ids.shape[1])
        mean, noise = flow.mean(ids, frames), published_noise(flow.config.mel_bins, frames)
        speaker = flow.speaker.bias[None, :, None].expand_as(mean)
        seen = torch.cat([golden["noise"], mean, speaker, torch.zeros_like(mean)], 1)

        golden.check("mel_len", torch.tensor([frames], dtype=torch.int32), HIDDEN)
        golden.check("enc.out", flow.encoder(flow.embedding(ids)), HIDDEN)
        golden.check("mu", mean.transpose(1, 2), HIDDEN)
        golden.check("noise", noise, HIDDEN)
        golden.check("est.out", flow.estimator(seen, golden["est.t"]), HIDDEN)


@torch.no_grad()
def test_the_flow_ends_in_the_recorded_spectra(decoder: GlmDecoder) -> None:
    with open_vita(*DECODER, "t_span.", "mel.") as golden:
        ids, flow = golden["tokens"], decoder.flow
        mean = flow.mean(ids, flow.config.frames(ids.shape[1]))
        runs = [key.removeprefix("mel.steps") for key in golden.tensors if key.startswith("mel.steps")]
        assert runs
        for steps in runs:
            golden.check(f"t_span.steps{steps}", time_span(int(steps)), HIDDEN)
            mel = flow.sample(mean, mean[..., :0], golden["noise"], int(steps))
            golden.check(f"mel.steps{steps}", mel, MEL)


@torch.no_grad()
def test_the_vocoder_makes_the_recorded_pitch_source_and_waveform(decoder: GlmDecoder) -> None:
    with open_vita(*DECODER, "hift.", "source.") as golden:
        vocoder, mel = decoder.vocoder, golden["mel.steps10"]
        pitch = golden["source.f0_in"]
        silent = source(vocoder.config, vocoder.merge, pitch, None, init_source(vocoder.config, torch.float32))

        golden.check("hift.f0", vocoder.pitch(mel), HIDDEN)
        golden.check("hift.wav", vocoder(mel, golden["hift.source"][:, 0]), WAV)
        golden.check("source.out", silent[:, None], WAV)


def test_a_whole_utterance_sounds_as_recorded(decoder: GlmDecoder) -> None:
    with open_vita(*DECODER, "offline.") as golden:
        steps = golden.about["stream"]["steps"]
        golden.check("offline.wav", decoder.decode_whole(golden["tokens"][0].tolist(), None, steps)[None], WAV)


def test_the_published_chunks_sound_as_recorded(decoder: GlmDecoder) -> None:
    with open_vita(*DECODER, "mel_window", "stream") as golden:
        about = golden.about["stream"]
        name = f"stream{about['steps']}"
        chunks = PublishedChunks(decoder, about["steps"])
        ids, state = golden["tokens"][0].tolist(), chunks.init_state()
        golden.check("mel_window", chunks.fade, HIDDEN)
        assert chunks.overlap_frames == golden.about["mel_overlap_len"]
        for i, size in enumerate(about["chunks"]):
            before, chunk, ids = state.mel.shape[-1], ids[:size], ids[size:]
            waveform = chunks.decode(chunk, None, state, is_final=not ids)
            golden.check(f"{name}.mel{i}", state.mel[..., before:], MEL)
            golden.check(f"{name}.wav{i}", waveform[None], WAV)
        assert not ids, "the chunks of the case leave ids over"


def test_every_recorded_tensor_of_the_decoder_belongs_to_a_test() -> None:
    with open_vita(*DECODER, "none: they are compared above") as golden:
        name = f"stream{golden.about['stream']['steps']}."
        known = (
            "tokens",
            "enc.",
            "mel_len",
            "mel_window",
            "mu",
            "noise",
            "est.",
            "t_span.",
            "mel.",
            "hift.",
            "source.",
        )
        left = [key for key in golden.tensors if not key.startswith((*known, "offline.", name))]
        assert not left


@pytest.mark.parametrize("case", SNAC.get("cases", []), ids=lambda case: f"{len(case['flat'])}-ids")
def test_codes_of_snac_stand_in_a_row_as_recorded(case: dict[str, Any]) -> None:
    slots = Slots(tuple(SNAC["vq_strides"]), SNAC["codebook_size"])

    assert slots.ids([torch.tensor(codes) for codes in case["codes"]]) == case["flat"]
    assert [codes.tolist() for codes in slots.codes(torch.tensor(case["flat"]))] == case["codes"]


def test_a_row_of_snac_that_ends_inside_a_frame_is_filled_as_recorded() -> None:
    if not SNAC:
        pytest.skip("no golden case snac_case.json")
    slots, ragged = Slots(tuple(SNAC["vq_strides"]), SNAC["codebook_size"]), SNAC["ragged_decode"]

    assert slots.filled(ragged["tokens"]) == ragged["padded"]
    codes = slots.codes(torch.tensor(ragged["padded"]))
    assert [book.tolist() for book in codes] == ragged["codes_after_clamp"]
