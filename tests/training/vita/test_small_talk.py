"""Small talk: a small grammar, spoken once, and nothing held out that is learned."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile

from loquor.errors import InputError
from loquor.models.vita.prompt import LUKE, SPEAK, TRANSCRIBE
from loquor.training.synthesis import synthesiser
from loquor.training.vita.mixture import open_mixture
from loquor.training.vita.small_talk import build, file_name, main, questions, sentences, speak, split

VOICE = "festival:cmu_us_slt_arctic_hts"


@dataclass
class Hummer:
    """A synthesiser that hums every word for a tenth of a second."""

    mute: str = ""  # a text it cannot say
    said: list[str] = field(default_factory=list)
    voice: str = "hum"
    install: str = "hum louder"

    def check(self) -> None:
        pass

    def say(self, folder: Path, pieces: Mapping[str, str]) -> None:
        for key, text in pieces.items():
            self.said.append(text)
            seconds = len(text.split()) / 10
            if text != self.mute:
                hum = 0.1 * np.sin(600 * np.arange(round((seconds + 0.4) * 24_000)) / 24_000)
                soundfile.write(folder / f"{key}.wav", hum, 24_000)
                (folder / f"{key}.lab").write_text(f"#\n0.2 100 pau\n{0.2 + seconds} 100 m\n{0.4 + seconds} 100 pau\n")


def built(out: Path, teacher: Hummer) -> list[str]:
    return list(build(out, 20, 5, teacher, 0))


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talks")
    built(folder, Hummer())
    return folder


def test_the_grammar_says_short_sentences_of_few_words() -> None:
    said = [*sentences(), *(text for q in questions() for text in (q.text, q.answer))]
    words = {word for text in said for word in text.lower().strip(".?").split()}
    assert len(words) < 65
    assert {len(text.split()) for text in sentences()} == {4, 5, 7}
    assert len(said) == len(set(said)) == 2970
    assert len(set(map(file_name, said))) == len(said)


def test_every_answer_is_the_sum() -> None:
    names = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    for question in questions():
        first, second, total = (names.index(word) + 1 for word in question.answer.lower().strip(".").split()[::2])
        assert first + second == total
        assert question.answer.lower().startswith(question.text.lower().removeprefix("what is ").strip("?"))


def test_each_sentence_is_heard_and_read_and_each_question_answered_aloud_and_in_words(talks: Path) -> None:
    mixture = open_mixture(talks / "supervised.yaml", 0)
    found = [mixture[i] for i in range(len(mixture))]
    openings = [str(talk.turns[-2].parts[0]) for talk in found]

    assert sum(text.startswith(TRANSCRIBE) for text in openings) == 20
    assert sum(text.startswith(SPEAK) for text in openings) == 20
    assert sum(talk.turns[0].parts == (LUKE,) for talk in found) == 10 * 41
    assert sum(text.startswith("What is") for text in openings) == 41
    for talk in found:
        assert all(part.is_file() for turn in talk.turns for part in turn.parts if isinstance(part, Path))
    assert len(open_mixture(talks / "alignment.yaml", 0)) == 20 + 20 + 41


def test_nothing_that_is_held_out_is_learned(talks: Path) -> None:
    parts = {name: open_mixture(talks / f"{name}.yaml", 0) for name in ("supervised", "held_out")}
    heard = {
        name: {part for i in range(len(m)) for turn in m[i].turns for part in turn.parts if isinstance(part, Path)}
        for name, m in parts.items()
    }
    assert len(heard["held_out"]) == 5 + 2 * 4
    assert not {path.name for path in heard["held_out"]} & {path.name for path in heard["supervised"]}


def test_recordings_begin_and_end_alike_at_the_level_codecs_expect(talks: Path) -> None:
    recording = next((talks / "recordings").glob("what-is-*.wav"))
    waveform, rate = soundfile.read(recording)
    assert rate == 24_000
    assert len(waveform) == pytest.approx((0.1 + 0.5 + 0.25) * 24_000, abs=2)
    assert 20 * np.log10(np.sqrt(np.mean(waveform**2))) == pytest.approx(-25, abs=0.1)


def test_what_was_said_is_not_said_again(talks: Path) -> None:
    files = {path: path.read_bytes() for path in sorted(talks.rglob("*.*"))}
    lost = next((talks / "recordings").iterdir())
    lost.unlink()
    again = Hummer()
    built(talks, again)
    assert [file_name(text) for text in again.said] == [lost.name]
    assert {path: path.read_bytes() for path in sorted(talks.rglob("*.*"))} == files


def test_the_seed_decides_what_is_held_out() -> None:
    known, unknown = split(sentences(), 0)
    assert sorted(known + unknown) == sorted(sentences())
    assert len(unknown) == len(sentences()) // 10
    assert split(sentences(), 0)[1] == unknown != split(sentences(), 1)[1]


def test_a_text_that_cannot_be_said_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"hum cannot say 'Mary\.'"):
        list(speak(["Susan.", "Mary."], tmp_path, Hummer(mute="Mary.")))


def test_a_teacher_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="there is no synthesiser 'nobody'"):
        main(["--out", str(tmp_path), "--teacher", "nobody"])


@pytest.mark.skipif(shutil.which("festival") is None, reason="festival is not installed")
def test_the_teacher_says_it(tmp_path: Path) -> None:
    teacher = synthesiser(VOICE)
    try:
        teacher.check()
    except InputError as error:
        pytest.skip(str(error))
    [(_, file)] = speak(["Mary is in the school."], tmp_path, teacher)
    assert 1 < soundfile.info(tmp_path / file).duration < 2.5
