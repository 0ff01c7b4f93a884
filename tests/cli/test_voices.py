"""`loquor voices`: listing, showing, importing."""

import shutil

import pytest

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
    assert header.split() == ["name", "language", "fits", "source", "consent"]
    assert [line.split()[0] for line in lines] == ["Toy", "en-Ada_woman", "mine", "torn"]
    assert lines[0].split()[:3] == ["Toy", "en", "yes"]
    assert "damaged" in lines[3]


def test_the_list_is_json_for_machines(loquor, toy_folder, saved):
    rows = loquor("voices", "list", "-m", toy_folder, "--json").json
    card = {"name": "Toy", "language": "en", "source": "made up", "consent": ""}
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
    assert refused.err == f"error: {file} exists\nhint: --force replaces it, --name gives the new one another name\n"
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
