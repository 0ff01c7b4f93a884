"""The parts of the embedded voice's recipe, on models small enough to run in a second."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from loquor.errors import CheckpointError, InputError
from loquor.models.codec import Codec, CodecConfig
from loquor.training.codec import CodecLoss, CodecLossWeights, STFTLoss, balance, mel_filters, start_as_filterbank
from loquor.training.data import Corpus
from loquor.training.latents import Latents, centre, encode_corpus, mean_latent
from loquor.training.realtime import phone_slots

TINY = CodecConfig(
    vae_dim=8,
    encoder_ratios=(5, 4),
    encoder_depths=(1, 1, 1),
    patch_samples=16,
    encoder_widths=(16, 24, 32),
    decoder_widths=(32, 24, 16),
    ffn_expansion=2,
    layer_scale_init_value=0.1,
)


@pytest.fixture
def codec() -> Codec:
    torch.manual_seed(0)
    model = Codec(TINY)
    start_as_filterbank(model)
    return model


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    samples = (np.random.default_rng(0).standard_normal(9000) * 3000).astype(np.int16)
    np.save(tmp_path / "shard_000.npy", samples)
    rows = [
        {"id": str(i), "text": "One.", "split": "train", "shard": "shard_000.npy", "start_samples": start}
        | {"samples": length, "segments": [["pau", 0.1], ["w", length / 24_000]]}
        for i, (start, length) in enumerate([(0, 4000), (4000, 5000)])
    ]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return Corpus(tmp_path)


def test_balancing_gives_every_latent_room_above_the_noise(codec: Codec) -> None:
    waveform = 0.1 * torch.randn(2, 1, 320 * 20)

    balance(codec, waveform)

    assert codec.encoder is not None and codec.decoder is not None
    with torch.no_grad():
        latents = codec.encoder(waveform)
        heard = codec.decoder(latents)
    assert float(latents.std()) == pytest.approx(1.0, abs=0.01)
    assert float(heard.std()) == pytest.approx(0.5 * float(waveform.std()), rel=0.02)


def test_the_spectral_loss_is_zero_for_the_same_waveform_and_grows_with_the_difference() -> None:
    loss, waveform = STFTLoss(512, 64), 0.1 * torch.randn(1, 4800)

    same = loss(waveform, waveform)
    near, far = (sum(loss(waveform + e * torch.randn(1, 4800), waveform)) for e in (0.01, 0.1))

    assert all(float(part) == 0 for part in same)
    assert 0 < float(near) < float(far)


def test_mel_filters_pass_a_flat_spectrum_as_it_is() -> None:
    for size, mels in ((256, 32), (2048, 128)):
        filters = mel_filters(size, mels, 24_000)
        assert filters.shape == (size // 2 + 1, mels)
        torch.testing.assert_close(torch.ones(size // 2 + 1) @ filters, torch.ones(mels))


def test_a_few_steps_lower_the_codec_loss(codec: Codec) -> None:
    waveform = 0.1 * torch.sin(torch.arange(320 * 12) * 0.05).view(1, 1, -1)
    balance(codec, waveform)
    loss, optimizer = CodecLoss(CodecLossWeights()), torch.optim.AdamW(codec.parameters(), lr=1e-3)

    values = []
    for step in range(8):
        value = loss(codec, waveform, step, torch.Generator().manual_seed(step))["loss"]
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))

    assert values[-1] < values[0]


def test_centring_moves_the_latents_and_not_the_sound(codec: Codec) -> None:
    assert codec.encoder is not None and codec.decoder is not None
    waveform = 0.1 * torch.randn(1, 1, 320 * 40)
    with torch.no_grad():
        before = codec.encoder(waveform)
        heard = codec.decoder(before)

        centre(codec, before.mean((0, 1)))
        after = codec.encoder(waveform)

        assert float(after.mean((0, 1)).abs().max()) < 1e-5
        late = 320 * 24  # past the decoder's reach: before it the padding differs on purpose, silence being the mean
        torch.testing.assert_close(codec.decoder(after)[..., late:], heard[..., late:], atol=1e-4, rtol=1e-4)


def test_a_corpus_is_encoded_once_and_read_back_utterance_by_utterance(
    codec: Codec, corpus: Corpus, tmp_path: Path
) -> None:
    path = tmp_path / "latents.safetensors"

    encode_corpus(codec, corpus, path)
    latents = Latents(path, corpus)

    assert latents.frames == [13, 16]  # of 320 samples, the last one filled with silence
    assert codec.encoder is not None
    with torch.no_grad():
        expected = codec.encoder(torch.nn.functional.pad(corpus.waveform(1), (0, 120))[None, None])[0]
    torch.testing.assert_close(latents[1], expected, atol=2e-3, rtol=2e-3)  # kept in fp16
    assert mean_latent(codec, corpus).shape == (8,)


def test_latents_of_another_corpus_are_refused(codec: Codec, corpus: Corpus, tmp_path: Path) -> None:
    path = tmp_path / "latents.safetensors"
    encode_corpus(codec, corpus, path)
    corpus.utterances = corpus.utterances[:1]

    with pytest.raises(CheckpointError, match="another corpus"):
        Latents(path, corpus)


def test_crops_have_the_asked_length_and_short_utterances_end_in_silence(corpus: Corpus) -> None:
    crops = corpus.crop(torch.Generator().manual_seed(0), samples=4800, batch=6)

    assert crops.shape == (6, 1, 4800)
    assert crops.abs().amax() <= 1
    assert any(not row[0, 4000:].any() for row in crops)


def test_an_empty_folder_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="manifest"):
        Corpus(tmp_path / "nothing")


def test_phone_slots_name_the_phone_in_the_middle_of_each_slot() -> None:
    segments = [("pau", 0.10), ("n", 0.20), ("ow", 0.40)]

    slots = phone_slots(segments, frames=4, frame_s=0.4 / 3, index={"pau": 0, "n": 1, "ow": 2})

    assert slots.tolist() == [[0, 0, 0, 1], [1, 1, 2, 2], [2, 2, 2, 2], [2, 2, 2, 2]]
