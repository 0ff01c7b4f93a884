"""What streams promise: the ids of the whole text however it is cut, early, each with its place in the text."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loquor.errors import CheckpointError, InputError
from loquor.text import TextTokenizer, Token, load_tokenizer
from loquor.text.phoneme_tokenizer import SYMBOLS, PhonemeTokenizer
from loquor.text.qwen_tokenizer import SPECIAL_NAMES, QwenTokenizer

QWEN, PHONEMES = QwenTokenizer(), PhonemeTokenizer()
HARD = (
    st.sampled_from(  # contractions, runs of space, marks before newlines, combining marks, syllables, NFC singletons
        [
            *(
                "'s",
                "'LL",
                "'ſ",
                "don't",
                "a",
                "B",
                "word",
                " ",
                "  ",
                "\n",
                "\r\n",
                "\t",
                "\u00a0",
                "\u2028",
                "\x85",
                "\x1c",
            ),
            *(
                "0",
                "12",
                "!",
                "?!",
                "...",
                "é",
                "e\u0301",
                "q\u0323\u0301",
                "\u0308",
                "\u0344",
                "\u1100",
                "\u1161",
                "가",
            ),
            *(
                "か",
                "\u3099",
                "\u09c7",
                "\u09be",
                "=\u0338",
                "你好",
                "，",
                "😀",
                "\u200d",
                "<|vision_start|>",
                "<tool_call>",
            ),
            *("$5.50", "Mr.", "J.", "March", "3", "km", "7:30", "pm", "“", "—", "-", "(", ")", "bob@mail.com", "\x00"),
            *("$5", " million", "No.", "Dr."),
        ]
    )
)
TEXTS = st.one_of(st.lists(HARD, max_size=12).map("".join), st.text(st.characters(exclude_categories=["Cs"])))


def streamed(tokenizer: TextTokenizer, pieces: list[str]) -> list[Token]:
    stream = tokenizer.stream()
    tokens = [token for piece in pieces for token in stream.push(piece)]
    return tokens + stream.end()


def cut(text: str, lengths: list[int]) -> list[str]:
    pieces = []
    for length in lengths:
        pieces.append(text[:length])
        text = text[length:]
    return [*pieces, text]


@pytest.mark.parametrize("tokenizer", [QWEN, PHONEMES], ids=["qwen", "phonemes"])
@settings(max_examples=300)
@given(text=TEXTS, lengths=st.lists(st.integers(0, 4)))
def test_a_stream_gives_the_ids_of_the_whole_text_however_it_is_cut(tokenizer, text, lengths):
    try:
        expected = tokenizer.encode(text)
    except InputError:
        with pytest.raises(InputError):
            streamed(tokenizer, cut(text, lengths))
        return
    tokens = streamed(tokenizer, cut(text, lengths))
    assert [token.id for token in tokens] == expected
    assert all(0 <= token.start <= token.end <= len(text) for token in tokens)
    assert all(0 <= token.id < tokenizer.vocab_size for token in tokens)


def test_a_finished_word_is_released_as_soon_as_the_space_after_it():
    stream = QWEN.stream()
    counts = [len(stream.push(character)) for character in "Hello world, go"]
    assert counts == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0]
    stream = PHONEMES.stream()
    assert [bool(stream.push(character)) for character in "Hello world, "] == [c == " " for c in "Hello world, "]


def test_an_amount_waits_for_the_chunk_that_says_what_it_counts():
    stream = PHONEMES.stream()
    said = [stream.push(part) for part in ("It cost ", "$5 ", "mil", "lion, ", "not $5 ", "as ")]
    assert [bool(tokens) for tokens in said] == [True, False, False, True, True, True]
    million, five = said[3], said[5]
    assert {(token.start, token.end) for token in million} == {(8, 19)}  # "$5 million,"
    assert [(token.start, token.end) for token in five][-1] == (27, 29)  # "as", behind "$5"
    assert [token.id for token in million][1:] == PHONEMES.encode("five million dollars")[:-2]  # behind a boundary


def test_text_without_spaces_is_released_at_its_marks():
    stream = QWEN.stream()
    assert not stream.push("今天我们来谈谈语音合成")
    assert stream.push("。")


def test_a_mark_before_space_waits_because_the_closing_newline_may_join_it():
    stream = QWEN.stream()
    assert [len(stream.push(part)) for part in ("Yes", "!", " ")] == [0, 1, 0]
    assert [token.id for token in stream.end()] == QWEN.ids("!\n")


def test_tokens_know_the_characters_they_came_from():
    text = "  Hello, wörld 42  "
    for token in streamed(QWEN, cut(text, [3, 1, 7]))[:-1]:
        assert QWEN.ids(text[token.start : token.end]) == [token.id]
    words = {
        text[token.start : token.end] for token in streamed(PHONEMES, cut(text, [3, 1, 7]))[:-2]
    }  # without the stop and the end
    assert words == {"Hello,", "wörld", "42"}


def test_special_names_in_a_text_are_plain_text_unless_asked():
    for name in SPECIAL_NAMES:
        assert max(QWEN.encode(f"a {name} b")) < QWEN.eos
        assert QWEN.ids(f"a{name}b", special_in_text=True) == [*QWEN.ids("a"), QWEN.special_ids[name], *QWEN.ids("b")]


@pytest.mark.parametrize("tokenizer", [QWEN, PHONEMES], ids=["qwen", "phonemes"])
def test_half_a_surrogate_pair_is_refused_with_its_place_in_the_whole_text(tokenizer):
    with pytest.raises(InputError, match="character 3 of the text"):
        tokenizer.encode("one\ud83d")
    stream = tokenizer.stream()
    stream.push("one two ")
    with pytest.raises(InputError, match="character 9 of"):
        stream.push("3\ude00")


def test_control_characters_read_as_spaces():
    assert QWEN.encode("a\x00b\x7f\tc") == QWEN.encode("a b \tc")
    assert PHONEMES.encode("one\x00two") == PHONEMES.encode("one two")


@pytest.mark.parametrize("character", ["a", " ", "!", "\u0301", "7", "."])
def test_a_long_run_of_anything_passes_in_small_pieces(character):
    for tokenizer in (QWEN, PHONEMES):
        pieces = ["so"] + [character] * 1000
        assert [token.id for token in streamed(tokenizer, pieces)] == tokenizer.encode("".join(pieces))


@pytest.mark.parametrize("text", ["", "  \n", "!?", "😀 🎉", "你好", "(…)"])
def test_text_with_no_words_is_refused_when_there_is_nothing_to_pronounce(text):
    with pytest.raises(InputError, match="nothing to say"):
        PHONEMES.encode(text)


def test_boundaries_stand_between_words_and_marks_after_them():
    symbols = [SYMBOLS[i] for i in PHONEMES.encode("…a cat — no, (two) cats?! ")]
    assert "".join(symbols) == "AH0 KAE1T-NOW1,TUW1,KAE1TS?\n"


def test_the_symbols_keep_their_numbers():
    # checkpoints are trained on these: a change here is a change of every embedded voice
    assert len(SYMBOLS) == 115
    assert SYMBOLS[:13] == ("<pad>", "<negative>", "\n", " ", ".", ",", "?", "!", ";", ":", "-", "…", "AA0")
    assert SYMBOLS.index("UW2") == 56 and SYMBOLS.index("ZH") == 80 and SYMBOLS.index("z") == 106
    assert SYMBOLS[-1] == "<voice7>"


def test_a_checkpoint_says_which_tokenizer_it_needs(tmp_path):
    assert isinstance(load_tokenizer(tmp_path), QwenTokenizer)
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "BPE"}}')
    assert isinstance(load_tokenizer(tmp_path), QwenTokenizer)
    PHONEMES.save(tmp_path / "tokenizer.json")
    assert load_tokenizer(tmp_path).encode("hello") == PHONEMES.encode("hello")


@pytest.mark.parametrize("symbols", [list(SYMBOLS[1:]), [*SYMBOLS, "AA0"], "AA0", None])
def test_a_checkpoint_with_other_symbols_is_refused(tmp_path, symbols):
    (tmp_path / "tokenizer.json").write_text(json.dumps({"type": "phoneme", "symbols": symbols}))
    with pytest.raises(CheckpointError, match="symbols"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("text", "same"), [("Yes", "Yes."), ("Yes,", "Yes."), ("Well, yes -", "Well, yes."), ("No?", "No?")]
)
def test_an_utterance_of_phonemes_always_ends_in_a_final_mark(text: str, same: str) -> None:
    assert PHONEMES.encode(text) == PHONEMES.encode(same)
    assert PHONEMES.symbols[PHONEMES.encode(text)[-2]] in {".", "?", "!"}
