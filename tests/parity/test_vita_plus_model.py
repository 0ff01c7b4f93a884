"""Golden plus: the whole Plus model, which reads features of audio in its prompt, and what it says after them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from loquor.engine.interleaved import InterleavedBatch
from loquor.engine.interleaved_stream import InterleavedStream
from loquor.engine.sampling import TokenSampling
from loquor.models.vita.checkpoint import export_vita, load_vita
from loquor.models.vita.model import VitaModel
from loquor.models.vita.schedule import Schedule
from parity.exports import assert_same_tensors
from parity.goldens import Golden
from parity.vita import open_vita, vita_case

TOLERANCE = {"atol": 1e-4, "rtol": 0.0}  # what the fixtures suggest for logits and hidden states
RUNS = [name.removeprefix("gen.") for name in vita_case("plus") if name.startswith("gen.")]


def heard_in(golden: Golden, model: VitaModel) -> tuple[Tensor, Tensor]:
    """Which positions of the prompt are features [T], and the embeddings that stand there [N, H]."""
    names = sorted(name for name in golden.tensors if name.startswith("audio_indices"))
    places = torch.cat([golden[name][1, 0] for name in names])
    is_heard = torch.zeros(golden["input_ids"].shape[1], dtype=torch.bool)
    is_heard[places] = True
    assert model.listener is not None
    audios = [golden[name.replace("audio_indices", "audio")] for name in names]
    return is_heard, model.listener(audios)


@torch.no_grad()
def test_the_prompt_with_features_in_it_is_read_as_the_reference_reads_it() -> None:
    with open_vita("plus", "mini_plus", "input", "audio", "logits") as golden:
        model = load_vita(golden.folder)
        is_heard, heard = heard_in(golden, model)
        embedded = model.embedding(golden["input_ids"])
        embedded[0, is_heard] = heard
        golden.check("inputs_embeds", embedded, TOLERANCE)
        golden.check("logits", model.logits(model(embedded)), TOLERANCE)


@pytest.mark.parametrize("run", RUNS)
def test_a_plus_model_says_what_the_reference_says(run: str) -> None:
    with open_vita("plus", "mini_plus", f"gen.{run}") as golden:
        model = load_vita(golden.folder)
        is_heard, heard = heard_in(golden, model)
        tokens = golden[f"gen.{run}"][0].tolist()
        schedule = Schedule.of(vita_case("plus")[f"gen.{run}"]["mtp_inference_mode"])
        stream = InterleavedStream(
            golden["input_ids"][0],
            schedule,
            TokenSampling(max_new_tokens=len(tokens)),
            is_heard=is_heard,
            heard=heard,
        )
        batch = InterleavedBatch(model)
        batch.join(stream)
        while batch.streams:
            batch.step()
        assert stream.tokens == tokens


def test_a_plus_model_is_exported_byte_for_byte(tmp_path: Path) -> None:
    with open_vita("plus", "mini_plus", "none") as golden:
        model = load_vita(golden.folder)
        export_vita(model, tmp_path / "as_it_was", golden.folder)
        assert_same_tensors(golden.folder, tmp_path / "as_it_was")
        export_vita(model, tmp_path / "anew")
        assert_same_tensors(golden.folder, tmp_path / "anew")
        assert load_vita(tmp_path / "anew").config == model.config
