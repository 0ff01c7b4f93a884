"""What a Realtime session is made of, whatever comes: formats, settings, the order of items, what was heard when."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loquor.audio import resample
from loquor.engine.playback import Playback
from loquor.errors import AudioError, InputError
from loquor.server.realtime.ears import Ears
from loquor.server.realtime.events import EventError, read_event, told
from loquor.server.realtime.formats import FORMATS, Encoder, decode
from loquor.server.realtime.items import Aloud, Content, Dialogue, Item, heard
from loquor.server.realtime.settings import Input, ServerVad, Settings

RATE = 24_000
WORDS = {"input_audio_buffer.append": {"audio": "AA=="}, "response.create": {}, "response.cancel": {}}


def sound(samples: int, seed: int = 0) -> np.ndarray:
    return (0.3 * np.random.default_rng(seed).standard_normal(samples)).clip(-1, 1).astype(np.float32)


def encoded(name: str, waveform: np.ndarray, cuts: list[int], rate_hz: int = RATE) -> bytes:
    encoder = Encoder(FORMATS[name], rate_hz)
    pieces = np.split(waveform, sorted(min(cut, len(waveform)) for cut in cuts))
    return b"".join(base64.b64decode(text) for text in [*map(encoder.push, pieces), encoder.finish()])


@given(st.sampled_from(sorted(FORMATS)), st.lists(st.integers(0, 5000), max_size=6))
def test_sound_is_the_same_however_it_is_cut(name: str, cuts: list[int]) -> None:
    waveform = sound(5000)
    assert encoded(name, waveform, cuts) == encoded(name, waveform, [])


@pytest.mark.parametrize(("name", "error"), [("audio/pcm", 1e-4), ("audio/pcmu", 0.02), ("audio/pcma", 0.02)])
def test_what_is_encoded_can_be_decoded(name: str, error: float) -> None:
    """G.711 has 8 bits, of which the quiet get more: the error is 1/32 of the sample."""
    form, waveform = FORMATS[name], sound(4800)
    back = decode(base64.b64encode(encoded(name, waveform, [])).decode(), form)
    expected = resample(waveform, RATE, form.rate_hz)
    assert len(back) == pytest.approx(len(expected), abs=1)
    assert np.abs(back[: len(expected)] - expected.clip(-1, 1)[: len(back)]).max() < error


@pytest.mark.parametrize("text", ["%%%", "data:audio/wav;base64,AAAA", "AAAA", "\ud800"])
def test_what_is_no_sound_is_one_error(text: str) -> None:
    with pytest.raises(AudioError, match=r"not base64|whole number of samples"):
        decode(text, FORMATS["audio/pcm"])


halves = st.text(st.characters(exclude_categories=()), max_size=8)  # of surrogate pairs too, which JSON may hold


@given(halves, st.dictionaries(halves, st.none() | st.integers() | st.text(max_size=8)))
def test_any_object_is_an_event_or_one_error_that_can_be_sent(kind: str, fields: dict[str, Any]) -> None:
    for values in ({**fields, "type": kind}, *({**fields, "type": known, **needed} for known, needed in WORDS.items())):
        try:
            assert read_event(values).type == values["type"]
        except EventError as error:
            json.dumps(told(error, kind), ensure_ascii=False).encode()


leaves = (
    st.none() | st.booleans() | st.integers(-10, 2000) | st.sampled_from(["", "audio", "text", "inf", "server_vad"])
)
trees = st.recursive(
    leaves,
    lambda inner: st.dictionaries(
        st.sampled_from(
            [
                "type",
                "audio",
                "input",
                "output",
                "format",
                "voice",
                "turn_detection",
                "threshold",
                "tools",
                "instructions",
            ]
        ),
        inner,
        max_size=3,
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["type", "audio", "instructions", "tools", "output_modalities"]), trees))
@settings(max_examples=60)
def test_any_update_is_settings_or_one_error(values: dict[str, Any]) -> None:
    there = Settings(type="realtime", instructions="Be kind.")
    try:
        updated = there.updated(values)
    except EventError:
        return
    assert "instructions" in values or updated.instructions == "Be kind."
    assert Settings.model_validate(updated.model_dump()) == updated


def test_an_update_changes_only_what_it_names() -> None:
    vad = ServerVad(type="server_vad")
    changed = Settings(type="realtime").updated({"audio": {"input": {"turn_detection": vad.model_dump()}}})
    changed = changed.updated({"audio": {"output": {"voice": "ada"}}})
    assert changed.audio.input.turn_detection == vad and changed.audio.output.voice == "ada"
    assert changed.updated({"audio": {"input": {"turn_detection": None}}}).audio.input.turn_detection is None


def test_deep_settings_do_not_bring_us_down() -> None:
    values: dict[str, Any] = {}
    for _ in range(5000):
        values = {"audio": values}
    with pytest.raises(EventError):
        Settings(type="realtime").updated({"audio": {"audio": values}})


def item(name: str) -> Item:
    return Item("user", [Content("input_text", name)], name)


@given(st.lists(st.integers(-1, 30), max_size=30))
def test_items_stand_behind_the_one_that_was_named(places: list[int]) -> None:
    dialogue, expected = Dialogue(), list[str]()
    for number, place in enumerate(places):
        at = min(place, len(expected) - 1)
        before = dialogue.add(item(str(number)), "root" if at < 0 else expected[at])
        expected.insert(at + 1, str(number))
        assert before == (expected[at] if at >= 0 else None)
    assert [one.id for one in dialogue] == expected


def test_only_so_much_sound_waits_to_be_heard() -> None:
    dialogue = Dialogue()
    for _ in range(5):
        dialogue.add(heard((np.zeros(120 * 100, np.float32), 100)))
    with pytest.raises(EventError, match="more than 600 s of sound wait"):
        dialogue.add(heard((np.zeros(100, np.float32), 100)))


def test_a_listener_has_heard_what_had_time_to_sound() -> None:
    aloud = Aloud(Playback(100, room=0))
    aloud.give(100, 0.0, 5, now=10.0)
    aloud.give(100, 1.0, 9, now=10.1)  # made ahead
    assert aloud.heard_s(10.5) == pytest.approx(0.5) and aloud.characters(0.5) == 5
    assert aloud.heard_s(13.0) == pytest.approx(2.0) and aloud.characters(2.0) == 9
    aloud.give(100, 2.0, 12, now=20.0)  # after a gap
    assert aloud.heard_s(20.25) == pytest.approx(2.25) and aloud.characters(0.0) == 0


def test_times_go_on_when_settings_change(by_loudness: None) -> None:
    ear = Ears(Input())
    assert ear.push(sound(2 * RATE)) == []
    ear.attend(Input(turn_detection=ServerVad(type="server_vad")))
    (began,) = ear.push(np.concatenate([np.zeros(RATE, np.float32), sound(RATE // 2)]))
    assert ear.at_ms(began.at_s) == pytest.approx(3000, abs=40)
    waveform, rate_hz = ear.take()  # the client says the turn ends here
    assert rate_hz == 16_000 and len(waveform) / rate_hz == pytest.approx(0.8, abs=0.05)  # 300 ms before it
    assert not len(ear.take()[0])


def test_sound_too_short_to_be_anything_is_no_turn() -> None:
    with pytest.raises(InputError, match="holds 50 ms of sound, need 100"):
        heard((sound(RATE // 20), RATE))
