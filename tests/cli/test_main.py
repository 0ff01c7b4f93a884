"""What all commands share: versions, help, logging, quiet ends."""

import os
import re
from contextlib import suppress

import pytest

import loquor as package
from loquor.errors import LoquorError

VERBS = [(), ("speak",), ("voices",), ("voices", "list"), ("voices", "show"), ("voices", "import")]
VERBS += [("inspect",), ("convert",), ("doctor",)]
VERBS += [("eval",), ("eval", "compare"), ("listen",), ("listen", "score")]


def test_the_version(loquor):
    done = loquor("--version")
    assert (done.code, done.text) == (0, f"loquor {package.__version__}\n")


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_command_explains_itself_with_examples(loquor, verb):
    done = loquor(*verb, "--help")
    assert (done.code, done.err) == (0, "")
    examples = done.text.partition("Examples:\n")[2]
    assert re.search(rf"^    .*loquor {' '.join(verb)}", examples, re.MULTILINE)
    assert "\x1b" not in done.text


@pytest.mark.parametrize("arguments", [["sing"], ["--volume", "11"], ["voices", "burn"]], ids=" ".join)
def test_an_unknown_verb_or_option_exits_with_2(loquor, arguments):
    done = loquor(*arguments)
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("Usage: loquor ")


def fail(error):
    def stand_in(*_, **__):
        raise error

    return stand_in


def test_an_error_without_a_hint_is_one_line(loquor, monkeypatch):
    monkeypatch.setattr(package, "load", fail(LoquorError("it is late")))
    done = loquor("speak", "Hello.")
    assert (done.code, done.err) == (1, "error: it is late\n")


def test_a_bug_shows_where_it_is(loquor, monkeypatch):
    monkeypatch.setattr(package, "load", fail(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        loquor("speak", "Hello.")


def test_an_interrupt_exits_with_130(loquor, monkeypatch):
    monkeypatch.setattr(package, "load", fail(KeyboardInterrupt()))
    done = loquor("speak", "Hello.")
    assert (done.code, done.err) == (130, "")


def test_warnings_look_like_errors_and_quiet_hides_them(loquor, talkative, monkeypatch):
    def warn(*_, **__):
        import logging

        logging.getLogger("loquor.engine").warning("something to know")
        raise LoquorError("the end")

    monkeypatch.setattr(package, "load", warn)
    assert loquor("speak", "Hello.").err == "warning: something to know\nerror: the end\n"
    assert loquor("-q", "speak", "Hello.").err == "error: the end\n"


def test_a_list_whose_reader_left_ends_quietly(loquor, toy_folder):
    reading, writing = os.pipe()
    os.close(reading)
    with suppress(BrokenPipeError), os.fdopen(writing, "w") as stdout:
        done = loquor("voices", "list", "-m", toy_folder, stdout=stdout)
    assert (done.code, done.err) == (1, "")
