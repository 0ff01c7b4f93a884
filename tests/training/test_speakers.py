"""Speakers: corpora at several speeds, and examples that are shown the voice they shall speak in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from loquor.training.data import Corpus, Voices
from loquor.training.speakers import SPEEDS, Examples, Speaker, latents_file, reference_of, speakers

FACTS = {"mean": 0.0, "std": 1.0, "phones": ["ow", "pau"]}
COUNT, SECONDS = 60, 1.2


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Utterances that are each a tone of 500 Hz."""
    samples = round(SECONDS * 24_000)
    tone = np.round(8000 * np.sin(2 * np.pi * 500 * np.arange(samples) / 24_000)).astype(np.int16)
    folder = tmp_path / "tones"
    folder.mkdir()
    np.save(folder / "shard_000.npy", np.tile(tone, COUNT))
    rows = [
        {"id": str(i), "text": "Oh.", "split": "train", "shard": "shard_000.npy", "start_samples": i * samples}
        | {"samples": samples, "segments": [["ow", 1.0], ["pau", SECONDS]]}
        for i in range(COUNT)
    ]
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture
def examples(corpus: Path, tmp_path: Path) -> Examples:
    """The latents of an utterance say whose it is and which."""
    for number, speaker in enumerate(speakers([corpus])):
        utterances = speaker.utterances("train").utterances
        frames = [9] * len(utterances)
        latents = torch.tensor([[float(number), float(i)] for i in range(len(frames)) for _ in range(9)])
        ids = json.dumps([u.id for u in utterances])
        tensors = {"latents": latents, "frames": torch.tensor(frames)}
        save_file(tensors, latents_file(tmp_path, speaker, "train"), metadata={"ids": ids})
    return Examples(speakers([corpus]), tmp_path, "train", FACTS)


def pitch(waveform: torch.Tensor) -> float:
    spectrum = torch.fft.rfft(waveform * torch.hann_window(len(waveform))).abs()
    return float(spectrum.argmax()) * 24_000 / len(waveform)


@pytest.mark.parametrize("speed", SPEEDS)
def test_at_another_speed_pitch_length_and_phones_change_together(corpus: Path, speed: float) -> None:
    bent = Speaker(corpus, speed).utterances("train")
    sound, facts = bent.waveform(1), bent.utterances[1]
    assert pitch(sound) == pytest.approx(500 * speed, abs=2)
    assert len(sound) == pytest.approx(facts.samples, abs=2)
    assert [end for _, end in facts.segments] == pytest.approx([1 / speed, SECONDS / speed])


def test_every_utterance_is_heard_as_it_is_and_at_one_other_speed(corpus: Path) -> None:
    heard = [u.id for speaker in speakers([corpus])[1:] for u in speaker.utterances("train").utterances]
    assert sorted(heard, key=int) == [u.id for u in Corpus(corpus).utterances]


def test_in_a_small_corpus_every_speed_is_heard_too(corpus: Path) -> None:
    manifest = corpus / "manifest.jsonl"
    manifest.write_text("\n".join(manifest.read_text().splitlines()[:4]))
    heard = [[u.id for u in speaker.utterances("train").utterances] for speaker in speakers([corpus])[1:]]
    assert heard == [["0"], ["1"], ["2"], ["3"], ["0"], ["1"]]


def test_a_reference_is_other_speech_of_the_same_speaker(examples: Examples) -> None:
    generator = torch.Generator().manual_seed(0)
    shown = [examples.example(i, generator) for i in range(len(examples)) for _ in range(3)]
    with_reference = [e for e in shown if len(e.reference)]
    assert 0.85 < len(with_reference) / len(shown) < 1
    for example in with_reference:
        assert example.reference[:, 0].unique().tolist() == [float(example.latents[0, 0])]
        assert float(example.reference[0, 1]) != float(example.latents[0, 1])
        assert 6 <= len(example.reference) <= 9


def test_excerpts_of_many_voices_have_other_pitches_than_their_corpora(corpus: Path) -> None:
    crops = Voices([Corpus(corpus)]).crop(torch.Generator().manual_seed(0), 12_000, 40)
    pitches = [pitch(crop[0]) for crop in crops]
    assert crops.shape == (40, 1, 12_000)
    assert 8 < sum(abs(p - 500) < 5 for p in pitches) < 32
    assert min(pitches) > 500 * Voices.SLOWEST - 5 and max(pitches) < 500 * Voices.FASTEST + 5


def test_a_preset_shows_the_first_utterance_that_is_long_enough(tmp_path: Path, corpus: Path) -> None:
    frames = [9, 24, 30]
    rows = [json.loads(line) | {"split": "valid"} for line in (corpus / "manifest.jsonl").read_text().splitlines()]
    (corpus / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows[: len(frames)])))
    latents = torch.cat([torch.full((n, 2), float(i)) for i, n in enumerate(frames)])
    tensors = {"latents": latents, "frames": torch.tensor(frames)}
    save_file(tensors, latents_file(tmp_path, Speaker(corpus), "valid"), metadata={"ids": json.dumps(["0", "1", "2"])})

    reference = reference_of(Speaker(corpus), tmp_path, {"mean": 3.0, "std": 2.0})

    assert (reference.text, reference.latents.shape) == ("Oh.", (24, 2))
    assert reference.latents.unique().tolist() == [-1.0]
