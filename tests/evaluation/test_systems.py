import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import toy_longform
from loquor.errors import InputError
from loquor.evaluation.choices import Choices
from loquor.evaluation.sets import Item
from loquor.evaluation.systems import open_system
from toy import write_toy
from toy_converser import toy_sound, write_toy_converser


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return open_system(Choices(str(write_toy(tmp_path_factory.mktemp("models") / "toy"))))


def test_a_realtime_model_speaks_in_its_own_voice_and_is_timed(toy, tmp_path):
    facts, waveform = toy.perform(Item("1", "speak", "Hello there.", prompt=tmp_path / "somebody.wav"))
    assert facts.seconds == len(waveform) / facts.sample_rate_hz > 0
    assert not facts.imitates
    assert facts.finish in {"end", "limit", "runaway"}
    assert 0 < facts.first_audio_ms <= 1000 * facts.compute_s
    assert facts.first_audio_ms + sum(facts.gaps_ms) == pytest.approx(1000 * facts.compute_s, rel=1e-3, abs=0.1)
    assert facts.peak_memory_mb > 50


def test_an_item_sounds_the_same_again(toy):
    item = Item("1", "speak", "Hello there.")
    assert np.array_equal(toy.perform(item)[1], toy.perform(item)[1])


def test_a_long_form_model_imitates_the_prompt_of_an_item(tmp_path):
    system = open_system(Choices(str(toy_longform.write_toy(tmp_path / "toy", frames_per_token=0.2))))
    prompt = tmp_path / "ada.wav"
    soundfile.write(prompt, toy_longform.toy_waveform(3.5), 24_000)
    (own, theirs) = (system.perform(Item("1", "speak", "Hello there.", prompt=path)) for path in (None, prompt))
    assert (own[0].imitates, theirs[0].imitates) == (False, True)
    assert not np.array_equal(own[1][:3200], theirs[1][:3200])


@pytest.fixture(scope="module")
def vita(tmp_path_factory):
    folder = write_toy_converser(tmp_path_factory.mktemp("models") / "vita")
    soundfile.write(folder / "question.wav", *toy_sound())
    return folder, open_system(Choices(str(folder)))


def test_a_vita_model_speaks_in_the_voice_of_a_prompt(vita):
    folder, system = vita
    assert Choices(str(folder)).tasks == ("speak", "transcribe", "answer")
    facts, waveform = system.perform(Item("1", "speak", "the rain", prompt=folder / "question.wav"))
    assert facts.imitates
    assert len(waveform) == pytest.approx(facts.seconds * facts.sample_rate_hz)


def test_a_vita_model_transcribes_without_a_sound(vita):
    folder, system = vita
    facts, waveform = system.perform(Item("1", "transcribe", "the rain", heard=folder / "question.wav"))
    assert (len(waveform), facts.first_audio_ms) == (0, None)
    assert isinstance(facts.text, str)
    assert facts.compute_s > 0


def test_a_vita_model_answers_in_text_and_aloud(vita):
    folder, system = vita
    facts, waveform = system.perform(Item("1", "answer", "", heard=folder / "question.wav", answers=("rain",)))
    assert facts.text or len(waveform)


def test_a_transcriber_writes_down_what_it_hears():
    pytest.importorskip("onnxruntime")
    spec = importlib.util.find_spec("moonshine_voice")
    if spec is None:
        pytest.skip("the speech recogniser is not installed")
    path = Path(spec.submodule_search_locations[0], "assets", "beckett.wav")
    facts, waveform = open_system(Choices("moonshine")).perform(Item("1", "transcribe", "", heard=path))
    assert facts.text.startswith("Ever tried")
    assert (len(waveform), facts.seconds) == (0, 0)


def test_another_system_is_known_by_what_it_left(tmp_path):
    soundfile.write(tmp_path / "a.flac", np.full(4800, 0.1), 48_000)
    (tmp_path / "a.txt").write_text("what it wrote\n")
    system = open_system(Choices(str(tmp_path)))
    facts, waveform = system.perform(Item("a", "speak", "Hello."))
    assert (facts.seconds, facts.text, facts.first_audio_ms, len(waveform)) == (0.1, "what it wrote", None, 2400)
    with pytest.raises(InputError, match="nothing for b"):
        system.perform(Item("b", "speak", "Hello."))


def test_predictions_are_read_by_index_or_id(tmp_path):
    rows = [{"index": 3, "prediction": "three"}, {"id": "four", "prediction": "4"}]
    path = tmp_path / "predictions.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    system = open_system(Choices(str(path)))
    texts = [system.perform(Item(name, "answer", "", heard=path))[0].text for name in ("3", "four")]
    assert texts == ["three", "4"]
    path.write_text('{"index": 1, "answer": "no prediction"}')
    with pytest.raises(InputError, match="no predictions"):
        open_system(Choices(str(path)))
