"""The files of an episode: from takes that were made up, so that what must come out is known."""

import json

import numpy as np
import pytest
import soundfile
import torch

from loquor.audio.chapters import Tags
from loquor.audio.master import Target
from loquor.engine.podcast.episode import Outputs, write_episode
from loquor.engine.podcast.health import Finding
from loquor.engine.podcast.identity import Identity
from loquor.engine.podcast.journal import Facts, FinishedTake, Journal
from loquor.engine.podcast.plan import plan
from loquor.errors import LoquorError
from loquor.models.longform.prompt import Spoken
from loquor.text.script import parse_script

RATE = 24_000
SCRIPT = "[chapter: One]\nAda: Hello there.\nBo: Hello yourself, Ada.\n[pause 1s]\n[chapter: Two]\nAda: Goodbye."
FINDINGS = ((), (Finding("silence", 1.5, "3.0 s without sound at 1.0 s"), Finding("drift", 0.5, "similar")), ())


@pytest.fixture
def episode_of(tmp_path):
    """Makes an episode of three takes of a second each, and gives it with its takes."""
    journal = Journal.open(tmp_path / "takes", Identity({}, {}))
    planned, facts = plan(parse_script(SCRIPT)), []
    for take, findings in zip(planned.takes, FINDINGS, strict=True):
        facts.append(Facts(take.index, RATE, 7, 99, 2 if findings else 1, "end", findings))
        noise = 0.1 * torch.randn(RATE, generator=torch.Generator().manual_seed(take.index))
        journal.keep(FinishedTake(facts[-1], noise, Spoken(torch.zeros(7, 8), torch.zeros(7, 6))))

    def make(name="episode.wav", **wanted):
        outputs = Outputs(tmp_path / name, **wanted)
        outputs.require_possible()
        return write_episode(outputs, planned, facts, journal)

    return make


def names(episode):
    return [path.name for path in episode.files]


def samples(path):
    return soundfile.read(path, dtype="int16")[0].astype(int)


def test_only_what_was_asked_for_is_written(episode_of, tmp_path):
    episode = episode_of()
    assert names(episode) == ["episode.wav"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["episode.wav", "takes"]
    assert soundfile.info(tmp_path / "episode.wav").frames == 3 * RATE + 6000 + RATE


def test_everything_stands_beside_the_episode_under_its_name(episode_of, tmp_path):
    report = tmp_path / "r.json"
    episode = episode_of(stems=True, subtitles=(".srt", ".vtt", ".json"), chapters=True, report=report)
    endings = [".wav", ".Ada.wav", ".Bo.wav", ".srt", ".vtt", ".transcript.json", ".chapters.json"]
    assert names(episode) == [*(f"episode{ending}" for ending in endings), "r.json"]
    assert all(path.is_file() for path in episode.files)


def test_stems_add_up_to_the_mix(episode_of, tmp_path):
    episode_of(stems=True)
    mix, *stems = (samples(tmp_path / name) for name in ("episode.wav", "episode.Ada.wav", "episode.Bo.wav"))
    assert np.array_equal(sum(stems), mix)


def test_names_that_are_no_files_or_the_same_one_are_numbered(tmp_path):
    files = Outputs(tmp_path / "e.flac").stem_files(["Dr. Who", "dr/who", "爱丽丝", "?", "Bo"])
    assert " ".join(path.name for path in files.values()) == (
        "e.Dr_Who-1.flac e.dr_who-2.flac e.爱丽丝.flac e.-4.flac e.Bo.flac"
    )


def test_subtitles_and_chapters_have_the_times_of_the_sound(episode_of, tmp_path):
    episode = episode_of(subtitles=(".json",), chapters=True, watermark=False)  # marked sound fades away, in 16 ms
    cues = json.loads((tmp_path / "episode.transcript.json").read_text(encoding="utf-8"))
    assert [(cue["speaker"], cue["text"]) for cue in cues] == [
        ("Ada", "Hello there."),
        ("Bo", "Hello yourself, Ada."),
        ("Ada", "Goodbye."),
    ]
    mix = samples(tmp_path / "episode.wav")
    for cue in cues:
        start, end = round(cue["start_s"] * RATE), round(cue["end_s"] * RATE)
        assert np.abs(mix[start : start + 400]).any() and np.abs(mix[end - 400 : end]).any()
        assert not mix[max(start - 400, 0) : start].any() and not mix[end : end + 400].any()
    chapters = json.loads((tmp_path / "episode.chapters.json").read_text(encoding="utf-8"))["chapters"]
    assert [chapter["title"] for chapter in chapters] == ["One", "Two"]
    assert chapters[1]["startTime"] == cues[2]["start_s"] == round(episode.when.times_s(2)[0], 3)


def test_the_report_tells_of_every_take(episode_of, tmp_path):
    episode_of(report=tmp_path / "r.json")
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert (report["seconds"], report["faulty_takes"], report["loudness"]) == (4.25, 1, None)
    assert [take["is_sound"] for take in report["takes"]] == [True, False, True]
    assert report["takes"][1] == {
        "index": 1,
        "turn": 1,
        "piece": 0,
        "speaker": "Bo",
        "text": "Hello yourself, Ada.",
        "start_s": 1.25,
        "end_s": 2.25,
        "seed": 99,
        "attempts": 2,
        "finish": "end",
        "is_sound": False,
        "findings": [
            {"kind": "silence", "score": 1.5, "detail": "3.0 s without sound at 1.0 s"},
            {"kind": "drift", "score": 0.5, "detail": "similar"},
        ],
    }


def test_a_master_has_the_loudness_that_was_asked_for(episode_of, tmp_path):
    pytest.importorskip("av")
    from loquor.audio.master import measure_loudness

    episode = episode_of(loudness=Target(-20.0))
    measured = measure_loudness(tmp_path / "episode.wav")
    assert episode.loudness.integrated_lufs == pytest.approx(-20, abs=0.1)
    assert measured.integrated_lufs == pytest.approx(-20, abs=0.1)
    assert measured.true_peak_dbtp <= -0.99


@pytest.mark.parametrize("name", ["e.mp3", "e.flac", "e.ogg", "e.opus"])
def test_the_file_has_its_tags_and_chapters(episode_of, name, tmp_path):
    av = pytest.importorskip("av")
    episode_of(name, chapters=True, tags=Tags(title="Talk", artist="Ada, Bo"))
    with av.open(str(tmp_path / name)) as container:
        tags = {**container.metadata, **container.streams.audio[0].metadata}
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["One", "Two"]
    assert (tags["title"], tags["artist"], tags["comment"]) == ("Talk", "Ada, Bo", "AI-generated speech (Loquor)")


def test_a_wav_has_its_chapters_beside_it_and_says_so(episode_of, tmp_path, caplog):
    pytest.importorskip("av")
    episode_of("e.wav", chapters=True)
    assert caplog.messages == ["a .wav file has no place for chapters: they are only in the JSON"]
    assert (tmp_path / "e.chapters.json").exists()


@pytest.mark.parametrize("name", ["e.wav", "e.mp3", "e.flac", "e.ogg", "e.opus"])
def test_the_same_takes_make_the_same_bytes(episode_of, name, tmp_path):
    pytest.importorskip("av")  # which gives an ogg its number; alone, libsndfile draws one
    made = []
    for _ in range(2):
        episode_of(name, chapters=True)
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"name": "e.txt"}, "does not say which format"),
        ({"name": "gone/e.wav"}, r"cannot write .*gone/e\.wav"),
        ({"report": "gone/r.json"}, "the report cannot be written"),
        ({"report": "."}, "the report cannot be written"),
    ],
)
def test_what_cannot_be_written_is_found_before_the_work(tmp_path, wanted, message):
    report = tmp_path / wanted["report"] if "report" in wanted else None
    with pytest.raises(LoquorError, match=message):
        Outputs(tmp_path / wanted.get("name", "e.wav"), report=report).require_possible()
    assert list(tmp_path.iterdir()) == []
