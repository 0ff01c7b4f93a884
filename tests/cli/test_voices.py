"""`loquor voices`: listing, showing, making, importing."""

import importlib.util
import re
import shutil

import numpy as np
import pytest
import soundfile

from voices.toy_preset import toy_preset


@pytest.fixture
def saved(toy_folder):
    return toy_folder / "voices" / "Toy.safetensors"


def test_the_list_has_the_model_s_voices_and_mine(loquor, toy_folder, saved, own_voices):
    own_voices.mkdir(parents=True)
    shutil.copy(saved, own_voices / "mine.safetensors")
    (own_voices / "torn.safetensors").write_bytes(b"torn")
    done = loquor("voices", "list", "-m", toy_folder)
    assert done.code == 0
    header, *lines = done.text.splitlines()
    assert header.split() == ["name", "kind", "language", "fits", "source", "consent"]
    assert [line.split()[0] for line in lines] == ["Toy", "en-Ada_woman", "mine", "torn"]
    assert lines[0].split()[:5] == ["Toy", "realtime", "prompt", "en", "yes"]
    assert "damaged" in lines[3]


def test_the_list_is_json_for_machines(loquor, toy_folder, saved):
    rows = loquor("voices", "list", "-m", toy_folder, "--json").json
    card = {"name": "Toy", "kind": "realtime prompt", "language": "en", "source": "made up", "consent": ""}
    assert rows[0] == card | {"path": str(saved), "fits": True}


@pytest.mark.parametrize("by", ["name", "file"])
def test_a_voice_shows_its_card_and_length(loquor, toy_folder, saved, by):
    done = loquor("voices", "show", "toy" if by == "name" else saved, "-m", toy_folder, "--json")
    facts = done.json
    assert (facts["name"], facts["fits"], facts["prompt_tokens"], facts["prompt_frames"]) == ("Toy", True, 4, 3)
    assert facts["model"]["hidden_size"] == 32
    table = loquor("voices", "show", saved, "-m", toy_folder).text.splitlines()
    assert table[0].split() == ["name", "Toy"]
    assert table[-1].startswith("model          text_layers 2, speech_layers 3")


def test_showing_an_unknown_voice_suggests_names(loquor, toy_folder):
    done = loquor("voices", "show", "Tay", "-m", toy_folder)
    assert (done.code, done.err) == (1, "error: there is no voice 'Tay'\nhint: nearest: Toy, en-Ada_woman\n")


def test_an_imported_voice_can_speak(loquor, toy_folder, saved, own_voices):
    done = loquor("voices", "import", saved, "--name", "ada", "--consent", "she agreed")
    assert (done.code, done.text) == (0, f"ada: {own_voices / 'ada.safetensors'}\n")
    assert loquor("voices", "show", "ada", "-m", toy_folder, "--json").json["consent"] == "she agreed"
    assert loquor("speak", "Hello.", "-m", toy_folder, "--voice", "ada").code == 0


def test_a_published_preset_is_imported_under_its_own_name(loquor, toy_folder, own_voices, tmp_path):
    file = tmp_path / "it-Test_woman.pt"
    file.write_bytes(toy_preset())
    assert loquor("voices", "import", file).code == 0
    rows = loquor("voices", "list", "-m", toy_folder, "--json").json
    (own,) = [row for row in rows if row["path"].startswith(str(own_voices))]
    assert (own["name"], own["language"], own["fits"]) == ("it-Test_woman", "it", False)
    done = loquor("speak", "Hello.", "-m", toy_folder, "--voice", "it-Test_woman")
    assert done.err.startswith("error: voice 'it-Test_woman' was made by another model: ")


def test_importing_never_replaces_unless_told(loquor, saved, own_voices):
    file = own_voices / "Toy.safetensors"
    assert loquor("voices", "import", saved).code == 0
    before = file.stat().st_mtime_ns
    refused = loquor("voices", "import", saved)
    assert (refused.code, file.stat().st_mtime_ns) == (1, before)
    assert refused.err == f"error: {file} exists\nhint: --force replaces it, another name keeps both\n"
    assert loquor("voices", "import", saved, "--force").code == 0


def test_importing_several_is_all_or_nothing(loquor, saved, own_voices, tmp_path):
    (tmp_path / "torn.pt").write_bytes(b"torn")
    done = loquor("voices", "import", saved, tmp_path / "torn.pt")
    assert done.code == 1
    assert "torn.pt" in done.err
    assert not own_voices.exists()
    twice = loquor("voices", "import", saved, saved)
    assert twice.err.startswith("error: two of the files are called Toy")
    assert not own_voices.exists()


@pytest.mark.parametrize("name", ["", "a/b", "../up", "default", ".hidden", "-x", "new\nline"])
def test_a_name_must_do_as_a_file_name(loquor, saved, own_voices, name):
    done = loquor("voices", "import", saved, f"--name={name}")
    assert done.code == 1
    assert done.err.startswith("error: a voice cannot be called ")
    assert not own_voices.exists()


def test_one_name_is_for_one_file(loquor, saved):
    assert loquor("voices", "import", saved, saved, "--name", "x").code == 2


@pytest.fixture
def audio(tmp_path):
    """Six seconds of a tone that comes and goes, with a second of silence before."""
    t = np.arange(6 * 24000) / 24000
    path = tmp_path / "en-Ada.wav"
    sound = 0.1 * np.sin(2 * np.pi * 3 * t) * np.random.default_rng(0).standard_normal(len(t))
    soundfile.write(path, np.concatenate([np.zeros(24000), sound]), 24000)
    return path


@pytest.fixture
def bare(monkeypatch):
    """As after `pip install loquor`: none of the instruments that look at recordings."""
    found = importlib.util.find_spec
    weights = ("silero_vad", "speechmos", "resemblyzer")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name in weights else found(name))


def test_a_recording_becomes_a_voice_and_what_was_done_is_told(loquor, audio, own_voices, bare):
    done = loquor("voices", "create", "ada", "--audio", audio, "--consent", "Ada agreed to tests")
    assert done.code == 0, done.err
    file = own_voices / "ada.safetensors"
    where, what = done.text.splitlines()
    assert where == f"ada: {file}"
    assert re.fullmatch(
        r"kept 6\.\d of 7\.0 s \(0\.9 s trimmed before and 0\.0 s after\), level -2\d\.\d to -25\.0 dBFS", what
    )
    facts = loquor("voices", "show", "ada", "--json").json
    assert (facts["name"], facts["kind"], facts["language"]) == ("ada", "recording", "en")
    assert (facts["consent"], facts["level_dbfs"], facts["fits"]) == ("Ada agreed to tests", -25.0, False)
    assert facts["seconds"] == pytest.approx(6, abs=0.2)
    assert "en-Ada.wav" in facts["source"]


def test_without_the_instruments_a_voice_is_made_and_what_was_not_checked_is_told(loquor, audio, bare):
    done = loquor("voices", "create", "ada", "--audio", audio, "--consent", "Ada agreed to tests")
    subjects = re.findall(r"warning: not checked for ([a-z ]+): the [a-z ]+ is missing", done.err)
    assert subjects == ["pauses and music", "noise", "several speakers"]
    assert done.err.count("hint: pip install") == 1
    assert "measured" not in done.text


def test_the_instruments_warn_of_what_is_no_speech(loquor, audio):
    done = loquor("voices", "create", "hiss", "--audio", audio, "--consent", "nobody's", "--language", "", "--json")
    facts = done.json
    assert facts["measures"]["speech_share"] < 0.4
    assert facts["measures"]["mos_background"] < 3
    assert [warning.split(":")[0] for warning in facts["warnings"][:2]] == [
        "only 0% of it is speech",
        "there is noise or music in it",
    ]
    assert (facts["language"], facts["kind"], facts["before_dbfs"] > -30) == ("", "recording", True)


def test_a_section_of_a_recording_is_enough(loquor, audio, bare):
    options = ("--start", 2, "--end", 6, "--consent", "Ada agreed to tests", "--json")
    facts = loquor("voices", "create", "ada", "--audio", audio, *options).json
    assert (facts["read_s"], facts["seconds"]) == (4.0, pytest.approx(4, abs=0.1))
    assert re.search(r"en-Ada\.wav, 2\.\d to [56]\.\d s", facts["source"])


@pytest.mark.parametrize("consent", [(), ("--consent", ""), ("--consent", "  ")])
def test_there_is_no_voice_without_consent(loquor, audio, own_voices, consent):
    done = loquor("voices", "create", "ada", "--audio", audio, *consent)
    assert (done.code, own_voices.exists()) == (1, False)
    assert done.err.startswith("error: a voice is a person's: it needs their consent")
    assert "--consent" in done.err.splitlines()[1]


@pytest.mark.parametrize("options", [("--start", 5), ("--start", 2, "--end", 1), ("--end", 1), ("--start", 100)])
def test_a_section_without_a_voice_saves_nothing(loquor, audio, own_voices, options):
    done = loquor("voices", "create", "ada", "--audio", audio, "--consent", "yes", *options)
    assert (done.code, own_voices.exists()) == (1, False)
    assert re.fullmatch(r"error: .*\nhint: .*\n", done.err)


def test_creating_never_replaces_unless_told(loquor, audio, own_voices, bare):
    command = ("voices", "create", "ada", "--audio", audio, "--consent", "yes")
    assert loquor(*command).code == 0
    before = (own_voices / "ada.safetensors").stat().st_mtime_ns
    refused = loquor(*command)
    assert (refused.code, (own_voices / "ada.safetensors").stat().st_mtime_ns) == (1, before)
    assert "--force" in refused.err
    assert loquor(*command, "--force").code == 0


def test_both_kinds_are_listed_and_fit_their_own_models(loquor, toy_folder, audio, bare, tmp_path):
    loquor("voices", "create", "ada", "--audio", audio, "--consent", "yes")
    longform = tmp_path / "longform"
    longform.mkdir()
    (longform / "config.json").write_text('{"model_type": "vibevoice"}')
    shutil.copytree(toy_folder / "voices", longform / "voices")
    for model, fitting in ((toy_folder, ["Toy", "en-Ada_woman"]), (longform, ["ada"])):
        rows = loquor("voices", "list", "-m", model, "--json").json
        assert {row["name"]: row["kind"] for row in rows} == {
            "Toy": "realtime prompt",
            "ada": "recording",
            "en-Ada_woman": "realtime prompt",
        }
        assert [row["name"] for row in rows if row["fits"]] == fitting


def test_a_realtime_model_speaks_past_recordings_and_refuses_them_by_name(
    loquor, toy_folder, audio, own_voices, bare, tmp_path
):
    loquor("voices", "create", "Ada", "--audio", audio, "--consent", "yes")
    undecided = shutil.copytree(toy_folder, tmp_path / "undecided")
    (undecided / "loquor.json").unlink()  # no default voice: the first that fits speaks
    assert loquor("speak", "Hello.", "-m", undecided).code == 0
    done = loquor("speak", "Hello.", "-m", toy_folder, "--voice", "Ada")
    assert done.err.startswith(f"error: {own_voices / 'Ada.safetensors'} is a recording, and a Realtime model needs")


def test_a_saved_recording_is_imported_and_a_raw_one_is_not(loquor, audio, own_voices, bare, tmp_path):
    loquor("voices", "create", "ada", "--audio", audio, "--consent", "yes")
    saved = tmp_path / "elsewhere.safetensors"
    (own_voices / "ada.safetensors").rename(saved)
    assert loquor("voices", "import", saved, "--name", "bob").code == 0
    facts = loquor("voices", "show", "bob", "--json").json
    assert (facts["name"], facts["kind"], facts["consent"]) == ("bob", "recording", "yes")
    done = loquor("voices", "import", audio)
    assert done.code == 1
    assert f"loquor voices create NAME --audio {audio}" in done.err
