"""Golden h, its text: token ids of the Realtime form, and of whole long-form prompts without voices."""

from __future__ import annotations

import pytest
import torch

from loquor.text.qwen_tokenizer import SPECIAL_NAMES, QwenTokenizer
from parity.goldens import Golden, case_json, recorded

CASE = ("vibevoice", "h_processor")
REALTIME = [name for name in recorded(*CASE) if name.startswith("realtime/")]
PROMPTS = [name for name in recorded(*CASE) if name.endswith("/v0/input_ids")]


@pytest.mark.parametrize("name", REALTIME)
def test_realtime_text_has_the_ids_the_reference_gives_it(name: str) -> None:
    tokenizer = QwenTokenizer()
    text = case_json(*CASE)["cases"][f"{name.split('/')[1]}/v0"]["script"]
    with Golden.open(*CASE, name) as golden:
        expected = golden[name].flatten().tolist()
    assert tokenizer.ids(text.strip() + "\n", special_in_text=True) == expected
    assert (tokenizer.encode(text) == expected) != any(special in text for special in SPECIAL_NAMES)


@pytest.mark.parametrize("name", PROMPTS)
def test_a_long_form_prompt_is_its_pieces_one_after_the_other(name: str) -> None:
    tokenizer, about = QwenTokenizer(), case_json(*CASE)
    lines = about["cases"][name.removesuffix("/input_ids")]["parsed"]
    pieces = [about["system_prompt"], " Text input:\n"]
    pieces += [f" Speaker {speaker}:{text}\n" for speaker, text in lines]
    pieces.append(" Speech output:\n")
    ids = [i for piece in pieces for i in tokenizer.ids(piece, special_in_text=True)]
    with Golden.open(*CASE, name) as golden:
        golden.check(name, torch.tensor([[*ids, tokenizer.speech_start]]), {})


def test_special_ids_are_those_of_the_reference() -> None:
    special = case_json(*CASE).get("special_ids")
    if not special:
        pytest.skip(f"no golden case {CASE[1]}")
    tokenizer = QwenTokenizer()
    ours = (
        tokenizer.speech_start,
        tokenizer.speech_end,
        tokenizer.speech_diffusion,
        tokenizer.image_pad,
        tokenizer.eos,
    )
    assert ours == tuple(special[name] for name in ("speech_start", "speech_end", "speech_diffusion", "pad", "eos"))
