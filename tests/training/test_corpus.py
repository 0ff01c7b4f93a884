"""The corpus: which texts are spoken, and that the sound keeps its phone times."""

import json
import re
import shutil
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from loquor.errors import ConfigError, InputError
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.training import corpus
from loquor.training.corpus import LEAD_S, TAIL_S, at_level, join, trim
from loquor.training.sentences import FORMS, everyday_sentences, grammar
from loquor.training.synthesis import synthesiser
from loquor.training.texts import Filter, Sources, corpus_texts, runs, split_of, tidy, words

TESTS = ["Can you tell me where the nearest library is?", "I think so.", "It all went very well in the end."]


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """A dictionary of what the grammar says, a WordNet of a few glosses and a test list."""
    known = {w for text in islice(everyday_sentences(7), 3000) for w in words(text)} | {
        "dog",
        "barked",
        "we",
        "all",
        "went",
    }
    (tmp_path / "dictionary.js").write_text("".join(f'  "{w}": "AH0",\n' for w in sorted(known)))
    for part in ("noun", "verb", "adj", "adv"):
        glosses = [f'a thing; "the dog barked {n} times"; "it had 3 legs"; "the xyzzy"' for n in ("two", "three", part)]
        (tmp_path / f"data.{part}").write_text("  1 licence\n" + "".join(f"0 29 v | {g}\n" for g in glosses * 10))
    (tmp_path / "tests.txt").write_text("\n".join(TESTS))
    return Sources(tmp_path, tmp_path / "dictionary.js", held_out=tmp_path / "tests.txt")


def test_the_same_seed_gives_the_same_texts_and_another_seed_others(sources: Sources) -> None:
    assert corpus_texts(sources, 200, 0) == corpus_texts(sources, 200, 0)
    assert corpus_texts(sources, 200, 0) != corpus_texts(sources, 200, 1)


def test_texts_are_different_plain_and_far_from_the_held_out_ones(sources: Sources) -> None:
    texts = corpus_texts(sources, 800, 0)
    assert len(texts) == len(set(texts)) == 800
    assert "The dog barked two times." in texts
    held_out = {run for text in TESTS for run in runs(text)}
    for text in texts:
        assert re.fullmatch(r"[A-Z][A-Za-z .,?!';:]*[.?!]", text)
        assert text not in TESTS
        assert held_out.isdisjoint(runs(text))


def test_texts_need_a_dictionary() -> None:
    with pytest.raises(InputError, match="dictionary"):
        corpus_texts(Sources(None, None), 10, 0)


def test_every_slot_of_the_grammar_is_defined_and_used() -> None:
    language = grammar()
    fillings = [*language.slots.values(), *language.frames.values(), *(objects for _, objects in language.actions)]
    named = {slot for texts in fillings for text in texts for slot in re.findall(r"\{(\w+)\}", text)}
    assert named == (language.slots.keys() - {"action"}) | set(FORMS)


@pytest.mark.parametrize(
    ("found", "written"),
    [
        ('he said, "go home"', "He said, go home."),
        ("a well-made  thing -- or not", "A well made thing, or not."),
        ("`don't ask,' they said;", "Don't ask, they said."),
    ],
)
def test_found_sentences_get_plain_punctuation(found: str, written: str) -> None:
    assert tidy(found) == written


def test_unknown_words_digits_and_abbreviations_are_refused() -> None:
    wanted = Filter({"the", "dog", "mr", "a", "tv"}, [])
    assert wanted("The dog.")
    assert not any(map(wanted, ["The cat.", "The 3.", "Mr dog.", "The TV.", "The dog", "The (dog)."]))


def test_about_one_text_in_a_hundred_is_for_validation() -> None:
    held = sum(split_of(text) == "valid" for text in islice(everyday_sentences(3), 3000))
    assert 10 < held < 60  # binomial: mean 30, five standard deviations


@pytest.mark.parametrize(("begin_s", "end_s"), [(0.3, 1.0), (0.05, 1.2)])  # silence to cut, and to add
def test_trimming_silence_shifts_the_segments_with_the_sound(begin_s: float, end_s: float) -> None:
    waveform = np.zeros(round(1.3 * SAMPLE_RATE_HZ), dtype=np.float32)
    click = round(0.6 * SAMPLE_RATE_HZ)
    waveform[click] = 1.0
    trimmed, segments = trim(waveform, [("pau", begin_s), ("k", 0.6), ("ae", end_s), ("pau", 1.3)])
    assert segments[0] == ("pau", LEAD_S)
    assert round(segments[1][1] * SAMPLE_RATE_HZ) == pytest.approx(np.argmax(trimmed), abs=1)
    assert (
        segments[-1][1]
        == pytest.approx(len(trimmed) / SAMPLE_RATE_HZ)
        == pytest.approx(LEAD_S + end_s - begin_s + TAIL_S)
    )


def test_joined_sentences_meet_in_one_silence() -> None:
    take = trim(np.ones(SAMPLE_RATE_HZ, dtype=np.float32), [("pau", 0.2), ("ow", 0.6), ("pau", 1.0)])
    waveform, segments = join([take, take])
    assert [phone for phone, _ in segments] == ["pau", "ow", "pau", "ow", "pau"]
    assert segments[2][1] == pytest.approx(segments[1][1] + TAIL_S + LEAD_S)
    assert segments[-1][1] == pytest.approx(len(waveform) / SAMPLE_RATE_HZ)


def test_the_level_is_as_asked_unless_it_would_clip() -> None:
    noise = np.random.default_rng(0).normal(size=SAMPLE_RATE_HZ).astype(np.float32)
    assert 20 * np.log10(np.sqrt(np.mean(at_level(noise) ** 2))) == pytest.approx(corpus.LEVEL_DBFS, abs=0.01)
    peaky = np.zeros(SAMPLE_RATE_HZ, dtype=np.float32)
    peaky[0] = 0.2
    assert at_level(peaky).max() == pytest.approx(1.0)


class Beeps:
    """A synthesiser that says every piece alike, and counts them."""

    voice, install = "beeps", "apt install beeps"

    def __init__(self) -> None:
        self.said: list[int] = []

    def check(self) -> None:
        pass

    def say(self, folder: Path, pieces: Mapping[str, str]) -> None:
        self.said.append(len(pieces))
        for key in pieces:
            corpus.soundfile.write(folder / f"{key}.wav", np.full(3200, 0.1, dtype=np.float32), 32_000)
            (folder / f"{key}.lab").write_text("#\n0.02 100 pau\n0.08 100 ow\n0.1 100 pau\n")


def test_a_second_run_speaks_only_what_is_missing(
    tmp_path: Path, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "SHARD_UTTERANCES", 10)
    beeps, texts = Beeps(), corpus_texts(sources, 25, 0)
    manifest = corpus.build_corpus(tmp_path / "out", texts, beeps)
    lines = manifest.read_text().splitlines()
    assert len(beeps.said) == 3
    manifest.write_text("\n".join(line for line in lines if json.loads(line)["shard"] != "shard_001.npy"))
    corpus.build_corpus(tmp_path / "out", texts, beeps)
    assert len(beeps.said) == 4
    assert sorted(manifest.read_text().splitlines()) == sorted(lines)
    with pytest.raises(ConfigError, match="other texts"):
        corpus.build_corpus(tmp_path / "out", corpus_texts(sources, 25, 1), beeps)


@pytest.mark.parametrize("name", ["festival:nobody", "flite:nobody", "flite", "siri:her"])
def test_a_teacher_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nobody|not installed|no synthesiser"):
        corpus.build_corpus(tmp_path, ["Yes."], synthesiser(name))


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
def test_flite_tells_when_each_phone_ends(tmp_path: Path) -> None:
    manifest = corpus.build_corpus(tmp_path, ["We see. Yes!"], synthesiser("flite:rms"))
    [spoken] = corpus.read_manifest(manifest)
    ends = [end for _, end in spoken.segments]
    assert [phone for phone, _ in spoken.segments] == ["pau", "w", "iy", "s", "iy", "pau", "y", "eh", "s", "pau"]
    assert ends == sorted(ends) and ends[-1] == pytest.approx(spoken.samples / SAMPLE_RATE_HZ, abs=1e-3)
