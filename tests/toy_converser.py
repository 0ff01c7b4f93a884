"""A VITA-Audio model in miniature that listens and answers aloud: its folder, with an audio tokenizer inside."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
import torch

from loquor.engine.audio_tokenizer import INSIDE
from loquor.models.vita.checkpoint import export_vita
from loquor.models.vita.model import Predictor, VitaModel
from loquor.models.vita.vocabulary import AudioTokens, Vocabulary, write_vocabulary
from loquor.text.own_merges import learn_merges
from loquor.text.qwen_tokenizer import QwenTokenizer
from models.toy_speech_tokens import CODEBOOK, save_glm_decoder, save_glm_tokenizer, toy_glm_decoder, toy_glm_tokenizer
from toy_vita import toy_vita, toy_vita_config

SCHEDULE = (1, 10, 4, 10)
TEXTS = ("Convert the text to speech.", "Convert the speech to text.", "the rain in spain stays in the plain") * 3


@cache
def toy_vocabulary() -> Vocabulary:
    return Vocabulary(AudioTokens("glm4voice", CODEBOOK), QwenTokenizer(learn_merges(TEXTS, 300)))


@torch.no_grad()
def toy_talker(seed: int = 0, context: int = 1024, modules: int = 4, eos: float = -6.0) -> VitaModel:
    """A model with a row for every id of the toy vocabulary; how likely it ends, and says marks of turns, is `eos`."""
    vocabulary = toy_vocabulary()
    config = toy_vita_config(modules, context)
    config = replace(config, decoder=replace(config.decoder, vocab_size=vocabulary.rows))
    model = toy_vita(seed, config)
    assert model.token_head is not None
    model.embedding.weight[:, 0] = model.embedding.weight.abs().max()  # a channel that is the same for all tokens,
    for predictor in cast(Iterable[Predictor], model.predictors):  # which modules hand on,
        predictor.projection.weight[0] = 0
        predictor.projection.weight[0, 0] = 1
    unsaid = [*vocabulary.tokenizer.special_ids.values(), *range(len(vocabulary), vocabulary.rows)]
    model.token_head.weight[:, 0] = 0
    model.token_head.weight[unsaid] = 0
    model.token_head.weight[unsaid, 0] = eos  # and the head looks at
    return model


def write_toy_converser(folder: Path, model: VitaModel | None = None, tokenizer_in: Path | None = None) -> Path:
    """The published layout; the audio tokenizer in the model's own folder, or elsewhere."""
    export_vita(model or toy_talker(), folder)
    write_vocabulary(folder, toy_vocabulary())
    settings = {"mtp_inference_mode": list(SCHEDULE), "eos_token_id": list(toy_vocabulary().eos)}
    settings |= {"do_sample": True, "temperature": 0.9, "top_k": 0, "top_p": 1.0}
    (folder / "generation_config.json").write_text(json.dumps(settings), encoding="utf-8")
    write_audio_tokenizer(tokenizer_in or folder / INSIDE)
    return folder


def write_audio_tokenizer(folder: Path) -> Path:
    save_glm_tokenizer(folder / "glm-4-voice-tokenizer", toy_glm_tokenizer())
    save_glm_decoder(folder / "glm-4-voice-decoder", toy_glm_decoder())
    return folder


def toy_sound(seconds: float = 1.0, rate_hz: int = 16_000, seed: int = 0) -> tuple[np.ndarray, int]:
    """Noise, as `Converser.hear` takes it."""
    waveform = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate_hz))
    return waveform.astype(np.float32), rate_hz


def sound_of(chunks: list) -> torch.Tensor:
    return torch.cat([chunk.waveform for chunk in chunks]) if chunks else torch.zeros(0)
