"""One item made ready: what is done to its sound and text, and what it can be dropped for."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.audio.level import level_dbfs
from loquor.errors import AudioError, InputError
from loquor.training.dataset.preparation import MARGIN_S, prepare, split_of
from loquor.training.dataset.records import LONGEST_READ_S, REASONS, RawItem
from loquor.training.dataset.settings import Settings
from loquor.training.dataset.sounds import SoundFile
from loquor.training.dataset.wording import wording
from training.recordings import RATE_HZ, silence, speech, text, write

ENGLISH = Settings(language="en")


@dataclass(frozen=True)
class Played:
    """A recording in memory."""

    samples: np.ndarray = field(hash=False)
    name: str = "played"

    def stamp(self):
        return ""

    def waveform(self):
        return self.samples


def item(sound, words=None, **facts):
    sound = Played(sound) if isinstance(sound, np.ndarray) else sound
    return RawItem("one", words or text(2.0), sound, **facts)


def reason(raw, settings=ENGLISH, check=None):
    outcome = prepare(raw, settings, check)
    assert not outcome.pieces
    (dropped,) = outcome.dropped
    assert dropped.reason in REASONS and dropped.detail
    return dropped.reason


def only(raw, settings=ENGLISH, check=None):
    outcome = prepare(raw, settings, check)
    assert not outcome.dropped
    (piece,) = outcome.pieces
    return piece


def test_a_stereo_file_of_another_rate_becomes_mono_speech_at_the_level_of_voices(tmp_path):
    left = np.concatenate([silence(1, 44_100), speech(2.0, rate_hz=44_100), silence(0.5, 44_100)])
    path = write(tmp_path / "a.flac", np.stack([left + 0.05, 0.5 * left + 0.05], axis=1), 44_100)

    piece = only(item(SoundFile(path), speaker="ada"))

    assert piece.waveform.shape == pytest.approx([(2.0 + 2 * MARGIN_S) * RATE_HZ], abs=0.02 * RATE_HZ)
    assert level_dbfs(piece.waveform) == pytest.approx(-25, abs=0.1)
    assert abs(piece.waveform.mean()) < 1e-3
    record = piece.record
    assert record.level_dbfs == pytest.approx(-22.9, abs=0.3)  # -20 and -26 dBFS averaged, and silence
    assert (record.start_s, record.end_s) == (pytest.approx(1 - MARGIN_S, abs=0.02), pytest.approx(3.1, abs=0.02))
    assert (record.id, record.speaker, record.language, record.source) == ("one", "ada", "en", str(path))
    assert record.pace == pytest.approx(1, abs=0.15)
    assert record.samples == len(piece.waveform)


def test_the_level_can_be_kept():
    waveform = speech(2.0, level_dbfs=-31)
    kept = only(item(waveform), replace(ENGLISH, level_dbfs=None)).waveform
    np.testing.assert_allclose(kept, waveform - waveform.mean(), atol=1e-6)


def test_preparing_twice_gives_the_same():
    first, second = only(item(speech(2.0))), only(item(speech(2.0)))
    assert first.record == second.record
    np.testing.assert_array_equal(first.waveform, second.waveform)


def clipped(seconds):
    return np.clip(speech(seconds) * 30, -1, 1)


class Unreadable(Played):
    def waveform(self):
        raise AudioError("torn")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (item(speech(2.0), " \n"), "no-text"),
        (item(speech(2.0), "?! ..."), "no-text"),
        (item(speech(2.0), "half \ud800 a pair"), "no-text"),
        (item(Unreadable(silence(1))), "unreadable"),
        (item(silence(2.0) + 0.3), "silent"),
        (item(1e-4 * speech(2.0)), "silent"),
        (item(speech(0.1), "No."), "too-short"),
        (item(np.concatenate([silence(1), speech(0.1), silence(1)]), "No."), "too-short"),
        (item(speech(16.0), text(16.0)), "too-long"),
        (item(speech(16.0), "Speaker 0: " + text(8.0) + "\nSpeaker 1: " + text(8.0)), "too-long"),
        (item(np.tile(speech(10.0), 61), text(5)), "too-long"),
        (item(clipped(2.0)), "clipped"),
        (item(speech(2.0), "Это другая письменность."), "script"),
        (item(speech(2.0), text(0.4)), "pace"),
        (item(speech(2.0), text(9.0)), "pace"),
    ],
)
def test_what_cannot_be_used_is_dropped_for_a_reason(raw, expected):
    assert reason(raw) == expected


def test_longer_than_can_be_read_is_not_read(tmp_path):
    path = write(tmp_path / "long.wav", np.tile(speech(1.0, rate_hz=1000), 1000), 1000)
    assert len(SoundFile(path).waveform()) <= (LONGEST_READ_S + 2) * RATE_HZ


def test_some_reasons_can_be_allowed():
    assert only(item(clipped(2.0)), replace(ENGLISH, allow=("clipped",)))
    russian = item(speech(2.0), "Это другая письменность.")
    assert only(russian, Settings(language="de", allow=("script",)))


def test_the_languages_script_is_known_only_if_the_language_is():
    cyrillic = item(speech(2.0), "Это другая письменность.")
    assert only(cyrillic, Settings()).record.language == ""
    assert only(replace(cyrillic, language="ru"), ENGLISH).record.language == "ru"
    assert only(item(speech(2.0), "Le jeu « Дом » est très bien."), Settings(language="fr"))


def test_texts_are_normalised_by_their_language_and_kept_as_written():
    record = only(item(speech(1.6), "It costs  $20.")).record
    assert (record.lines, record.written) == (((0, "It costs twenty dollars."),), "It costs $20.")
    assert only(item(speech(1.6), "It costs  $20."), replace(ENGLISH, as_written=True)).record.text == "It costs $20."
    persian = only(item(speech(2.0), "سلام، ۲۵ كتاب خريدم.", language="fa")).record
    assert persian.text == "سلام، بیست و پنج کتاب خریدم."


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        ("Speaker 3: Hello there.", ((0, "Hello there."),)),
        ("speaker 1 : Hello.\nSPEAKER 2: Hi.\nand again.", ((0, "Hello."), (1, "Hi. and again."))),
        ("Speaker 2: Hi.\nSpeaker 0: Hello.", ((1, "Hi."), (0, "Hello."))),
        ("He said: hello.", ((0, "He said: hello."),)),
    ],
)
def test_numbered_speakers_become_places_among_the_voices(written, lines):
    assert wording(written, "en", normalized=True).said == lines


def test_what_a_recogniser_hears_decides_if_it_is_asked():
    def hears(wer):
        return lambda waveform, words: (wer, f"{len(waveform)} {words}")

    wanted = replace(ENGLISH, check_transcript=True, most_wer=0.3)
    raw = item(speech(2.0), "It costs twenty dollars in all.")
    record = only(raw, wanted, hears(0.25)).record
    assert (record.wer, record.heard) == (0.25, f"{2 * RATE_HZ} It costs twenty dollars in all.")
    assert reason(raw, wanted, hears(0.31)) == "transcript"
    assert only(replace(raw, language="de"), wanted, hears(0.9)).record.wer is None


def test_a_long_recording_is_split_at_the_ends_of_its_sentences():
    lengths = [4.0, 3.0, 6.0, 5.0]
    waveform = np.concatenate([np.concatenate([speech(s, seed=i), silence(0.6)]) for i, s in enumerate(lengths)])
    sentences = [text(s, seed=i) for i, s in enumerate(lengths)]

    outcome = prepare(item(waveform, " ".join(sentences)), replace(ENGLISH, longest_s=12.0))

    assert not outcome.dropped
    assert [piece.record.id for piece in outcome.pieces] == ["one#1", "one#2"]
    assert [piece.record.written for piece in outcome.pieces] == [" ".join(sentences[:2]), " ".join(sentences[2:])]
    starts = [(piece.record.start_s, piece.record.end_s) for piece in outcome.pieces]
    np.testing.assert_allclose(starts, [(0, 7.7), (8.1, 19.8)], atol=0.05)
    for piece in outcome.pieces:
        start = round(piece.record.start_s * RATE_HZ)
        part = waveform[start : start + len(piece.waveform)]
        assert np.corrcoef(part, piece.waveform)[0, 1] > 0.9999


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_a_sentence_is_never_on_both_sides_however_it_is_written(seed, share):
    settings, words = Settings(validation=share), text(2.0, seed)
    others = [words.upper(), f"“{words[:-1]}!”", words.replace(" ", ", ")]
    assert {split_of(other, "another", settings) for other in others} == {split_of(words, "one", settings)}


@given(st.text(min_size=1), st.floats(0, 1))
def test_a_speaker_may_be_kept_on_one_side(speaker, share):
    settings = Settings(validation=share, split_by="speaker")
    assert split_of("Some words.", speaker, settings) == split_of("Others.", speaker, settings)
    assert split_of("Some words.", "", settings) == split_of("Some words.", "", replace(settings, split_by="text"))


def test_about_the_wanted_share_is_for_validation():
    settings = Settings(validation=0.1)
    held = sum(split_of(text(3.0, seed=i), "", settings) == "validation" for i in range(2000))
    assert 130 < held < 270  # binomial: mean 200, five standard deviations


@pytest.mark.parametrize(
    "wrong",
    [
        {"shortest_s": 20},
        {"longest_s": 1000},
        {"fastest": 0.1},
        {"level_dbfs": 3},
        {"validation": 1.5},
        {"split_by": "day"},
        {"allow": ("pace",)},
        {"shard_items": 0},
        {"most_wer": float("nan")},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError) as error:
        Settings(**wrong)
    assert error.value.hint
