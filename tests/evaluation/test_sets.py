import json

import pytest

from loquor.errors import InputError
from loquor.evaluation.sets import read_set


@pytest.fixture
def write(tmp_path):
    def written(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if isinstance(text, str) else "\n".join(map(json.dumps, text)), encoding="utf-8")
        return path

    return written


def test_a_plain_list_has_a_sentence_a_line(write):
    items = read_set(write("list.txt", "\ufeffOne fish.\n\n  Two fish. \n"))
    assert [(item.id, item.task, item.text) for item in items] == [
        ("0001", "speak", "One fish."),
        ("0003", "speak", "Two fish."),
    ]


def test_seed_tts_eval_lists_have_prompts_and_perhaps_references(write, tmp_path):
    lines = "a-b|What was said.|prompts/a.wav|What to say.\nc|Said.|p.wav|Say.|wavs/c.wav\nd.wav|Read|q.wav\ne|Bare"
    cloned, referred, short, bare = read_set(write("meta.lst", lines))
    assert (cloned.id, cloned.text, cloned.prompt) == ("a-b", "What to say.", tmp_path / "prompts" / "a.wav")
    assert (referred.prompt, referred.reference) == (tmp_path / "p.wav", tmp_path / "wavs" / "c.wav")
    assert (short.id, short.text, short.prompt) == ("d", "Read", tmp_path / "q.wav")
    assert (bare.text, bare.prompt) == ("Bare", None)


def test_librispeech_is_read_from_its_transcripts(write, tmp_path):
    write("dev/84/121/84-121.trans.txt", "84-121-0000 GO DO YOU HEAR\n84-121-0001 BUT IN LESS\n")
    spoken = read_set(tmp_path / "dev")
    assert [(item.id, item.text) for item in spoken] == [
        ("84-121-0000", "GO DO YOU HEAR"),
        ("84-121-0001", "BUT IN LESS"),
    ]
    assert spoken[0].reference == tmp_path / "dev/84/121/84-121-0000.flac"
    heard = read_set(tmp_path / "dev", task="transcribe")
    assert (heard[0].task, heard[0].heard, heard[0].reference) == ("transcribe", spoken[0].reference, None)


def test_libritts_takes_the_normalised_text_and_pairs_the_only_one(write, tmp_path):
    for name, text in {
        "x/1_2.normalized.txt": "Mister Smith",
        "x/1_2.original.txt": "Mr. Smith",
        "y.txt": "Why",
    }.items():
        write(f"set/{name}", text)
    write("set/x/1_2.wav", "")
    write("set/y.wav", "")
    write("set/z.wav", "")
    assert {item.id: item.text for item in read_set(tmp_path / "set")} == {"x_1_2": "Mister Smith", "y": "Why"}


def test_conversations_tell_their_task_by_their_words(write, tmp_path):
    def row(user, answer, *audios, system=None):
        turns = [{"role": "system", "content": system}] if system else []
        turns += [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
        return {"messages": turns, "audios": list(audios)}

    rows = [
        row("Convert the speech to text.\n<|audio|>", "Good day.", "a.wav"),
        row("Convert the text to speech.\nRead me.", "<|audio|>", "p.wav", "r.wav", system="Audio: <|audio|>\n"),
        row("<|audio|>", ["Paris", "paris france"], "q.wav"),
    ]
    heard, spoken, answered = read_set(write("vita.jsonl", rows))
    assert (heard.task, heard.text, heard.heard) == ("transcribe", "Good day.", tmp_path / "a.wav")
    assert (spoken.task, spoken.text) == ("speak", "Read me.")
    assert (spoken.prompt, spoken.reference) == (tmp_path / "p.wav", tmp_path / "r.wav")
    assert (answered.task, answered.answers, answered.heard) == (
        "answer",
        ("Paris", "paris france"),
        tmp_path / "q.wav",
    )


def test_rows_of_kimi_audio_are_recognition_or_questions(write, tmp_path):
    rows = [
        {
            "index": 7,
            "audio_path": "a.wav",
            "question": "Please transcribe the audio.",
            "answer": "hello",
            "subset": "x",
        },
        {"index": 8, "audio_path": ["b.wav"], "question": "", "audio_content": "Capital of France?", "answer": "Paris"},
    ]
    heard, asked = read_set(write("kimi.jsonl", rows))
    assert (heard.id, heard.task, heard.text, heard.heard) == ("7", "transcribe", "hello", tmp_path / "a.wav")
    assert (asked.task, asked.text, asked.answers) == ("answer", "", ("Paris",))  # the question is to be heard
    assert read_set(write("kimi.json", json.dumps(rows)), task="transcribe")[1].task == "transcribe"


def test_a_limit_takes_the_first_and_letters_tell_the_language(write):
    path = write("list.txt", "Hello.\nسلام\n你好\n")
    assert [item.language for item in read_set(path)] == ["en", "fa", "zh"]
    assert [item.text for item in read_set(path, limit=2, language="de")] == ["Hello.", "سلام"]


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("empty.txt", "\n \n", "nothing to evaluate"),
        ("odd.lst", "a|b|c|d|e|f", "6 parts"),
        ("odd.jsonl", "{", "no JSON"),
        ("odd.jsonl", '{"sentence": "hello"}', "row 1"),
        ("few.jsonl", '{"messages": [{"role": "user", "content": "<|audio|>"}], "audios": []}', "row 1"),
        ("twice.lst", "a|One\na|Two", "twice"),
        ("none.lst", "a| ", "no text"),
    ],
)
def test_a_faulty_set_is_refused_with_what_is_wrong(write, name, text, fault):
    with pytest.raises(InputError, match=fault):
        read_set(write(name, text))


def test_a_set_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_set(tmp_path / "none.txt")
