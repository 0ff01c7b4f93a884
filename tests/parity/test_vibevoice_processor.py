"""Golden h, what the processor makes of scripts and voices: prompts, masks, padded batches, and the voices' level."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from loquor.audio.level import normalize_level
from loquor.models.longform.prompt import Line, Prompt, SpecialIds, write_prompt
from loquor.text.qwen_tokenizer import QwenTokenizer
from parity.goldens import Golden, case_json, recorded

CASE = ("vibevoice", "h_processor")
ABOUT = case_json(*CASE)
TENSORS = recorded(*CASE)
PROMPTS = [name.removesuffix("/input_ids") for name in TENSORS if "/v" in name and name.endswith("/input_ids")]
BATCHES = [name for name, case in ABOUT.get("cases", {}).items() if "scripts" in case]
LEVELS = sorted({name.split("/")[1] for name in TENSORS if name.startswith("norm/")})


def lines_of(case: str) -> list[Line]:
    """The recorded lines of a case; their text begins with the space that a prompt puts there."""
    parsed = ABOUT["cases"][case]["parsed"]
    assert all(text.startswith(" ") for _, text in parsed)
    return [Line(voice, text[1:]) for voice, text in parsed]


def frames_of(waveforms: Sequence[Tensor]) -> list[int]:
    return [-(-len(waveform) // ABOUT["compress_ratio"]) for waveform in waveforms]


def prompt_of(case: str, waveforms: Sequence[Tensor]) -> Prompt:
    return write_prompt(QwenTokenizer(), lines_of(case), frames_of(waveforms), special_in_text=True)


def stacked(waveforms: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Waveforms at their level [V, T] and the frames they really have [V, N], as a batch of the reference has them."""
    levelled = [torch.from_numpy(normalize_level(waveform.numpy())) for waveform in waveforms]
    frames = [torch.ones(count, dtype=torch.bool) for count in frames_of(waveforms)]
    return (
        torch.nn.utils.rnn.pad_sequence(levelled, batch_first=True),
        torch.nn.utils.rnn.pad_sequence(frames, batch_first=True),
    )


@pytest.mark.parametrize("case", PROMPTS)
def test_a_prompt_has_the_ids_and_masks_the_reference_gives_it(case: str) -> None:
    with Golden.open(*CASE, f"{case}/") as golden:
        used = range(ABOUT["cases"][case].get("n_voices_used", 0))
        waveforms = [golden[f"voice/{i}"] for i in used]
        prompt = prompt_of(case, waveforms)
        assert len(prompt) == ABOUT["cases"][case]["n_tokens"]
        golden.check(f"{case}/input_ids", prompt.ids[None], {})
        golden.check(f"{case}/attention_mask", torch.ones_like(prompt.ids)[None], {})
        golden.check(f"{case}/speech_input_mask", prompt.is_voice[None], {})
        if waveforms:
            sound, frames = stacked(waveforms)
            golden.check(f"{case}/speech_masks", frames, {})
            if f"{case}/speech_tensors" in golden.tensors:
                golden.check(f"{case}/speech_tensors", sound, ABOUT["tolerance"]["norm"] | {"atol": 1e-7})


@pytest.mark.parametrize("batch", BATCHES)
def test_a_padded_batch_is_its_prompts_one_by_one(batch: str) -> None:
    """The engine pads nothing; here each prompt is put where the reference has it, at the right."""
    with Golden.open(*CASE, f"{batch}/", "voice/") as golden:
        about = ABOUT["cases"][batch]
        all_voices = [[golden[f"voice/{i}"] for i in voices] for voices in about["voices"]]
        prompts = [
            prompt_of(f"{script}/v{len(voices)}", voices)
            for script, voices in zip(about["scripts"], all_voices, strict=True)
        ]
        width = max(map(len, prompts))

        def padded(rows: list[Tensor], value: int) -> Tensor:
            return torch.stack([torch.nn.functional.pad(row, (width - len(row), 0), value=value) for row in rows])

        golden.check(f"{batch}/input_ids", padded([p.ids for p in prompts], ABOUT["special_ids"]["pad"]), {})
        golden.check(f"{batch}/attention_mask", padded([torch.ones_like(p.ids) for p in prompts], 0), {})
        golden.check(f"{batch}/speech_input_mask", padded([p.is_voice for p in prompts], 0), {})
        sound, frames = stacked([voice for voices in all_voices for voice in voices])
        golden.check(f"{batch}/speech_masks", frames, {})
        # 9600 values of up to 1, summed in another order
        golden.check(f"{batch}/speech_sum_per_row", sound.double().sum(1), {"atol": 1e-3, "rtol": 0})


@pytest.mark.parametrize("kind", LEVELS)
def test_a_voice_is_brought_to_the_level_the_reference_brings_it_to(kind: str) -> None:
    with Golden.open(*CASE, f"norm/{kind}/") as golden:
        tolerance = {"atol": 1e-7, **ABOUT["tolerance"]["norm"]}
        waveform = golden[f"norm/{kind}/in"]
        golden.check(f"norm/{kind}/out", torch.from_numpy(normalize_level(waveform.numpy())), tolerance)
        for name in (n for n in TENSORS if n.startswith(f"norm/{kind}/out_db_")):
            target = float(name.rsplit("_", 1)[1])
            golden.check(name, torch.from_numpy(normalize_level(waveform.numpy(), target)), tolerance)


def test_every_recorded_prompt_batch_and_level_belongs_to_a_test() -> None:
    known = (*(f"{case}/" for case in PROMPTS), *(f"{batch}/" for batch in BATCHES), "norm/", "voice/", "realtime/")
    assert [name for name in TENSORS if not name.startswith(known)] == []


def test_special_names_in_a_line_are_plain_text_unless_parity_is_asked_for() -> None:
    tokenizer = QwenTokenizer()
    special = SpecialIds.of(tokenizer)
    line = [Line(0, "a <|vision_pad|> and <|endoftext|>")]
    plain, read = (write_prompt(tokenizer, line, (2,), special_in_text=flag) for flag in (False, True))

    assert (plain.ids == special.frame).sum() == plain.is_voice.sum() == 2
    assert special.eos not in plain.ids
    assert (read.ids == special.frame).sum() == 3
    assert read.is_voice.sum() == 2, "a name in the text is no voice"
    assert special.eos in read.ids
