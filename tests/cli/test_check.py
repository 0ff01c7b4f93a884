"""`loquor speak --check` from outside."""

import pytest
import soundfile

from loquor.engine.checked import PIECE_S

SENTENCE = "Good morning to all of you."  # of which the toy says one frame


def test_a_sentence_that_is_cut_short_is_said_again_and_told(loquor, toy_folder):
    done = loquor("speak", SENTENCE, "-m", toy_folder, "--check", "--check-tries", "1")
    assert done.code == 0, done.err
    assert f"check: said {SENTENCE!r} 2 times" in done.err
    assert "truncated" in done.err
    assert "checked 1 piece: 1 said again, 1 still with a fault" in done.text
    assert soundfile.info("speech.wav").frames == 3200


def test_json_tells_seeds_attempts_and_findings(loquor, toy_folder):
    done = loquor("speak", SENTENCE, "-m", toy_folder, "--check", "--check-tries", "1", "--seed", "5", "--json")
    check = done.json["check"]
    [piece] = check["pieces"]
    assert (check["again"], check["faulty"], piece["attempts"], piece["is_sound"]) == (1, 1, 2, False)
    assert {finding["kind"] for finding in piece["findings"]} >= {
        "runaway",
        "silence",
        "clipping",
        "repetition",
        "words",
    }


def test_without_check_nothing_is_said_of_it(loquor, toy_folder):
    assert "check" not in loquor("speak", "Hello.", "-m", toy_folder, "--json").json


def test_a_missing_recogniser_is_told_before_the_model_is_loaded(loquor, bare, tmp_path):
    done = loquor("speak", "Hi.", "-m", tmp_path / "nowhere", "--check")
    assert done.code == 1
    assert "the speech recogniser is missing" in done.err
    assert "hint: pip install" in done.err


@pytest.mark.parametrize("tries", ["-1", "many"])
def test_tries_are_a_number(loquor, toy_folder, tries):
    assert loquor("speak", "Hi.", "-m", toy_folder, "--check", "--check-tries", tries).code == 2


def test_a_long_text_is_checked_in_pieces(loquor, toy_folder):
    sentence = "The captain kept the only map of the harbour, and nobody else had ever seen it in his life. "
    assert 2 * len(sentence) / 14 > PIECE_S
    done = loquor("speak", 3 * sentence, "-m", toy_folder, "--check", "--check-tries", "0", "--json")
    assert len(done.json["check"]["pieces"]) >= 3
