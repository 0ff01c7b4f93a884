"""Discrete codecs of speech by name: which there are, what each is made of, and what all of them refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loquor.audio.resample import Waveform
from loquor.errors import AudioError, CheckpointError, ConfigError, InputError
from loquor.models.speech_tokens import KINDS, speech_tokens_kind
from loquor.models.speech_tokens.interface import LONGEST_S, checked, checked_seed, to_rate
from loquor.models.speech_tokens.local import Local

SILENCE = np.zeros(1600, dtype=np.float32)


@pytest.mark.parametrize("name", ["cosyvoice2", "sensevoice_sparktts"])
def test_a_codec_that_is_not_built_says_what_is_missing(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be used yet: its .* are not built") as caught:
        speech_tokens_kind(name).open({"codec": tmp_path})
    assert "glm4voice" in caught.value.hint


def test_an_unknown_codec_is_named_beside_those_there_are() -> None:
    with pytest.raises(ConfigError, match="'encodec'") as caught:
        speech_tokens_kind("encodec")
    assert all(name in caught.value.hint for name in KINDS)


@pytest.mark.parametrize("parts", [(), ("codec",), ("decoder", "vocoder")])
def test_parts_that_a_codec_does_not_have_are_refused_with_those_it_has(parts: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="other parts") as caught:
        speech_tokens_kind("glm4voice").open(dict.fromkeys(parts, tmp_path))
    assert "THUDM/glm-4-voice-decoder" in caught.value.hint


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no folder .*absent"):
        speech_tokens_kind("glm4voice").open({"decoder": tmp_path / "absent"})


def test_a_vocabulary_that_leaves_ids_without_tokens_is_refused() -> None:
    speech_tokens_kind("glm4voice").require_tokens(16384)
    speech_tokens_kind("snac24khz").require_tokens(28672)
    with pytest.raises(ConfigError, match="16384 audio tokens are too few for 'snac24khz', which has 28672"):
        speech_tokens_kind("snac24khz").require_tokens(16384)


@pytest.mark.parametrize(
    ("waveform", "rate", "what"),
    [
        (SILENCE[:0], 16_000, "empty"),
        (SILENCE.reshape(2, -1), 16_000, "one channel"),
        (np.full(100, np.nan, dtype=np.float32), 16_000, "not finite"),
        (SILENCE, 0, "no rate of audio"),
        (np.broadcast_to(SILENCE[:1], LONGEST_S * 1000 + 1), 1000, "lasts 2700 s, more than"),
        (SILENCE[:1], 192_000, "too short"),
    ],
)
def test_audio_that_cannot_be_heard_is_refused(waveform: Waveform, rate: int, what: str) -> None:
    with pytest.raises(AudioError, match=what):
        to_rate(waveform, rate, 16_000)


def test_audio_of_another_rate_keeps_its_length_in_seconds() -> None:
    assert len(to_rate(SILENCE, 16_000, 24_000)) == 2400


@pytest.mark.parametrize("ids", [[0, 7, 10], [3, -1]])
def test_an_id_outside_the_codebook_is_named(ids: list[int]) -> None:
    with pytest.raises(InputError, match=f"id {ids[-1]} at place {len(ids) - 1} lies outside the codebook of 10"):
        checked(ids, 10)


@pytest.mark.parametrize("seed", [-1, 2**63, 0.5, True])
def test_a_seed_that_is_none_is_refused(seed: int) -> None:
    with pytest.raises(InputError, match="seed"):
        checked_seed(seed)


@given(
    radius=st.integers(0, 5),
    hop=st.integers(1, 3),
    sizes=st.lists(st.integers(0, 8), min_size=1, max_size=8),
    ends_with_the_last=st.booleans(),
)
def test_a_function_of_finite_reach_gives_on_a_stream_what_it_gives_on_the_whole(
    radius: int, hop: int, sizes: list[int], ends_with_the_last: bool
) -> None:
    generator = torch.Generator().manual_seed(radius)
    weight = torch.randn(hop, 2, 2 * radius + 1, generator=generator)

    def blurred(x: torch.Tensor) -> torch.Tensor:
        y = torch.nn.functional.conv1d(x, weight, padding=radius)
        return y.transpose(1, 2).reshape(1, 1, -1)

    stream = Local(blurred, radius, hop)
    state, x = stream.init_state(2), torch.randn(1, 2, sum(sizes), generator=generator)
    heard = [torch.zeros(1, 1, 0)]
    for i, part in enumerate(torch.split(x, sizes, dim=-1)):
        is_final = ends_with_the_last and i == len(sizes) - 1
        outputs = stream(part, state, is_final)
        heard += [] if outputs is None else [outputs]
        assert state.frames.shape[-1] <= 2 * radius
    if not ends_with_the_last and (outputs := stream(x[..., :0], state, True)) is not None:
        heard.append(outputs)

    whole = blurred(x) if sum(sizes) else torch.zeros(1, 1, 0)
    torch.testing.assert_close(torch.cat(heard, -1), whole, rtol=0, atol=1e-5)
