"""A voice is found by name, and never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from loquor.errors import VoiceError
from loquor.voices.catalogue import catalogue, find_voice, new_voice_file, user_voices, voice_file

VOICES = {name: name for name in ("en-Davis_man", "en-Emma_woman", "it-Spk0_woman", "it-Spk1_man", "Emma", "emma2")}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("en-Davis_man", "en-Davis_man"),
        ("EN-DAVIS_MAN", "en-Davis_man"),
        ("davis", "en-Davis_man"),
        ("Spk0", "it-Spk0_woman"),
        ("emma", "Emma"),  # the whole name counts before a part of others
        ("a2", "emma2"),
    ],
)
def test_a_voice_is_found_exactly_or_by_a_part_only_it_has(name: str, found: str) -> None:
    assert find_voice(name, VOICES) == found


def test_a_part_that_several_have_lists_them() -> None:
    with pytest.raises(VoiceError, match=r"'_man' may be any of en-Davis_man, it-Spk1_man"):
        find_voice("_man", VOICES)


@pytest.mark.parametrize(
    ("name", "nearest"), [("en-Devis_man", "en-Davis_man"), ("Devis", "en-Davis_man"), ("", "Emma")]
)
def test_an_unknown_voice_lists_the_nearest_and_is_not_replaced(name: str, nearest: str) -> None:
    with pytest.raises(VoiceError, match="there is no voice") as caught:
        find_voice(name, VOICES)

    assert nearest in caught.value.hint


def test_without_voices_the_hint_says_where_they_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOQUOR_VOICES", str(tmp_path))

    with pytest.raises(VoiceError, match="none is installed") as caught:
        find_voice("Davis", {})

    assert str(tmp_path) in caught.value.hint


def test_the_catalogue_joins_the_users_voices_with_the_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine, shipped = tmp_path / "mine", tmp_path / "model" / "voices"
    for file in (mine / "a.safetensors", shipped / "a.safetensors", shipped / "b.safetensors", mine / "notes.txt"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.setenv("LOQUOR_VOICES", str(mine))

    assert catalogue() == {"a": mine / "a.safetensors"}
    assert catalogue(tmp_path / "model") == {"a": mine / "a.safetensors", "b": shipped / "b.safetensors"}
    assert catalogue(tmp_path / "nowhere") == {"a": mine / "a.safetensors"}


def test_the_users_folder_is_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOQUOR_VOICES", raising=False)

    assert user_voices().name == "voices"
    assert "loquor" in str(user_voices())


def test_a_voice_is_given_by_name_or_as_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "ada.safetensors").touch()
    monkeypatch.setenv("LOQUOR_VOICES", str(mine))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ada").touch()
    (tmp_path / "take").touch()

    assert voice_file("ada") == mine / "ada.safetensors"  # a name counts before a file
    assert voice_file("AD") == mine / "ada.safetensors"
    for file in ("take", "absent.wav", "absent.safetensors", "no/where"):
        assert voice_file(file) == Path(file)
    with pytest.raises(VoiceError, match="there is no voice 'bob'"):
        voice_file("bob")


def test_a_new_voice_goes_to_the_users_folder_and_replaces_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOQUOR_VOICES", str(tmp_path))

    assert new_voice_file("ada") == tmp_path / "ada.safetensors"
    (tmp_path / "ada.safetensors").touch()
    with pytest.raises(VoiceError, match="exists"):
        new_voice_file("ada")
    assert new_voice_file("ada", replace=True) == tmp_path / "ada.safetensors"
