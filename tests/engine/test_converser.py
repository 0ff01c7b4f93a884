"""Conversations: what is heard and said, streamed and whole, alone and side by side, and what interruptions leave."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import loquor
from loquor import Conversation, Converser
from loquor.engine.audio_tokenizer import open_audio_tokenizer
from loquor.engine.conversation import heard_ids
from loquor.engine.interleaved import InterleavedBatch
from loquor.engine.reply import Mouth, Reply, ReplyBatch, ReplyStream
from loquor.engine.sampling import TokenSampling
from loquor.errors import AudioError, CapacityError, CheckpointError, ConfigError, InputError
from loquor.models.vita.prompt import LUKE, SPEAK, TRANSCRIBE, Codes, Message, Said, write_prompt
from loquor.models.vita.schedule import TURBO, VANILLA, Schedule
from loquor.models.vita.sensevoice import SenseVoiceConfig
from loquor.models.vita.vocabulary import AudioTokens, Vocabulary, write_vocabulary
from toy_converser import (
    CODEBOOK,
    SCHEDULE,
    sound_of,
    toy_sound,
    toy_talker,
    toy_vocabulary,
    write_audio_tokenizer,
    write_toy_converser,
)
from toy_vita import toy_vita

VOCABULARY = toy_vocabulary()
BEGIN, END, FIRST = VOCABULARY.begin_of_audio, VOCABULARY.end_of_audio, VOCABULARY.first_audio
WOVEN: dict[str, Any] = {"decoding": "constrained", "max_new_tokens": 40}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_converser(tmp_path_factory.mktemp("vita") / "model", toy_talker(modules=10))


@pytest.fixture(scope="module")
def talker(folder: Path) -> Converser:
    converser = loquor.load(folder)
    assert isinstance(converser, Converser)
    converser.watermark = False  # what it says is compared with what its codes mean
    return converser


def said(reply: Reply) -> list[int]:
    for _ in reply:
        pass
    return list(reply.stream.tokens)


# ---- what is asked


def test_the_prompts_are_the_published_ones(talker: Converser) -> None:
    heard = talker.hear(toy_sound())
    assert isinstance(heard, Codes) and len(heard.codes) == 13  # 80 ms begun, each

    def prompt(*messages: Message) -> list[int]:
        return write_prompt(VOCABULARY, messages).ids.tolist()

    reply = talker.chat(toy_sound(), **WOVEN)
    assert reply.stream.prompt.tolist() == prompt(Message("system", (LUKE,)), Message("user", ("\n", heard)))
    reply.cancel()
    reply = talker.chat("Who sings?", toy_sound(), history=Conversation(system=""), **WOVEN)
    assert reply.stream.prompt.tolist() == prompt(Message("user", ("Who sings?", "\n", heard)))
    reply.cancel()
    reply = talker.say("the rain", toy_sound(), **WOVEN)
    voice = Message("system", ("Speaker Metadata:\nAudio: ", heard, "\n"))
    assert reply.stream.prompt.tolist() == prompt(voice, Message("user", (SPEAK + "the rain",)))
    reply.cancel()
    assert TRANSCRIBE == "Convert the speech to text.\n"


def test_a_mode_and_a_decoding_are_what_the_engine_is_asked_for(talker: Converser) -> None:
    def stream(**manner: Any) -> ReplyStream:
        reply = talker.chat("the rain", **manner)
        reply.cancel()
        return reply.stream

    usual = stream()
    assert (usual.schedule, usual.sampling.temperature, usual.is_verified) == (Schedule.of(SCHEDULE), 0.9, False)
    assert usual.grammar is None and usual.mouth is not None
    assert stream(mode="turbo").schedule == TURBO and stream(mode=[1, 4, 3, 8]).schedule == Schedule.of([1, 4, 3, 8])
    assert stream(decoding="verified").is_verified and stream(decoding="constrained").grammar is not None
    assert stream(aloud=False).schedule == VANILLA and stream(aloud=False).mouth is None
    assert stream(temperature=0.0, seed=7, top_k=None).sampling == TokenSampling(top_p=1.0, seed=7)


@pytest.mark.parametrize(
    ("manner", "error"),
    [({"decoding": "hopeful"}, InputError), ({"mode": "rapid"}, ConfigError), ({"warmth": 3}, InputError)],
)
def test_a_manner_there_is_not_is_refused(talker: Converser, manner: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match="there is no"):
        talker.chat("the rain", **manner)


def test_a_transcript_is_text_of_the_backbone_alone(talker: Converser) -> None:
    text = talker.transcribe(toy_sound())
    assert text == talker.transcribe(toy_sound(), mode="vanilla", temperature=0.0)
    assert not any(VOCABULARY.text([i]) == "" for i in VOCABULARY.ids(text))


def test_verified_speech_is_what_the_backbone_alone_says(talker: Converser) -> None:
    words: dict[str, Any] = {"max_new_tokens": 20, "seed": 5}
    checked = talker.chat("the rain", mode="boost", decoding="verified", **words)
    assert said(checked) == said(talker.chat("the rain", mode="vanilla", **words))
    assert checked.stream.proposed > 0


# ---- what is said


def test_speech_is_a_finished_waveform_with_its_codes(talker: Converser) -> None:
    speech = talker.speak("the rain in spain", seed=2, **WOVEN)
    assert speech.sample_rate_hz == talker.sample_rate_hz and speech.finish in ("end", "limit")
    assert torch.equal(speech.waveform, talker.codec.decode(speech.codes, talker.codec.init_state(2), is_final=True))
    chunks = list(talker.stream("the rain in spain", seed=2, **WOVEN))
    assert torch.equal(sound_of(chunks), speech.waveform)
    assert chunks[-1].end_s == pytest.approx(speech.seconds)


def test_text_and_sound_come_in_pieces_that_are_the_whole(talker: Converser) -> None:
    reply = talker.chat("the rain", mode="boost", seed=1, **WOVEN)
    chunks = list(reply)
    assert "".join(chunk.text for chunk in chunks) == reply.text == VOCABULARY.text(reply.stream.tokens)
    whole = talker.codec.decode(reply.codes, talker.codec.init_state(1), is_final=True)
    assert torch.equal(sound_of(chunks), whole)
    sounding = [chunk for chunk in chunks if len(chunk.waveform)]
    assert len(sounding) > 2 and sounding[-1].end_s == pytest.approx(len(whole) / talker.sample_rate_hz)
    assert all(a.end_s == b.start_s for a, b in itertools.pairwise(chunks))


@settings(max_examples=10)
@given(st.lists(st.integers(0, CODEBOOK - 1), min_size=1, max_size=40), st.lists(st.integers(0, 40), max_size=6))
def test_streamed_audio_is_offline_audio_however_codes_arrive(
    talker: Converser, codes: list[int], cuts: list[int]
) -> None:
    places = [0, *sorted(min(cut, len(codes)) for cut in cuts), len(codes)]
    mouth = Mouth(talker.codec, 4)
    pieces = [mouth.say(codes[a:b], is_final=False) for a, b in itertools.pairwise(places)]
    streamed = torch.cat([*pieces, mouth.say([], is_final=True)])
    whole = talker.codec.decode(codes, talker.codec.init_state(4), is_final=True)
    torch.testing.assert_close(
        streamed, whole, rtol=0, atol=1e-5
    )  # windows are the same; sums may be ordered otherwise


@pytest.mark.parametrize("mode", ["boost", "turbo"])
def test_first_audio_takes_one_main_pass_the_first_span_and_one_decoding(
    talker: Converser, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    flow = talker.codec._mouth.decoder.flow  # type: ignore[attr-defined]
    sample = flow.sample
    monkeypatch.setattr(flow, "sample", lambda mean, *rest: decoded.append(1) or sample(mean, *rest))
    batch = ReplyBatch(InterleavedBatch(talker.model, VOCABULARY.eos, talker.batch.batch.audio), VOCABULARY)
    stream = talker.request([Message("user", ("the rain",))], aloud=True, mode=mode, seed=1, **WOVEN)
    batch.join(stream)
    while not any(len(piece.waveform) for _, piece in batch.step()):
        pass
    assert (stream.main_passes, stream.frames, len(decoded)) == (1, 8, 1)
    assert stream.module_passes == 1 + 8  # the mark that begins the span, and its codes


# ---- side by side


def test_requests_of_other_schedules_in_one_batch_say_what_they_say_alone(talker: Converser) -> None:
    asked: list[dict[str, Any]] = [
        {"mode": "boost", "seed": 1, **WOVEN},
        {"mode": "balance", "seed": 2, **WOVEN},
        {"mode": "vanilla", "seed": 3, "max_new_tokens": 20},
        {"mode": "boost", "seed": 4, "decoding": "verified", "max_new_tokens": 20},
    ]
    alone = [(said(r), r.seconds) for r in (talker.chat("the rain", toy_sound(), **manner) for manner in asked)]
    replies = [talker.chat("the rain", toy_sound(), **manner) for manner in asked]
    sounds = [sound_of(list(reply)) for reply in replies]
    assert [(list(r.stream.tokens), len(s) / talker.sample_rate_hz) for r, s in zip(replies, sounds, strict=True)] == (
        alone
    )


def test_coroutines_converse_too(talker: Converser) -> None:
    brief: dict[str, Any] = {"decoding": "constrained", "max_new_tokens": 16}

    async def listen(seed: int) -> str:
        return "".join([chunk.text async for chunk in talker.chat("the rain", seed=seed, **brief)])

    async def both() -> list[str]:
        return await asyncio.gather(listen(1), listen(2))

    assert asyncio.run(both()) == [
        "".join(chunk.text for chunk in talker.chat("the rain", seed=seed, **brief)) for seed in (1, 2)
    ]


# ---- history


def test_a_history_of_many_turns_is_one_long_prompt(talker: Converser) -> None:
    conversation = Conversation()
    asked: list[Message | Said] = []
    for seed, question in enumerate(["the rain", toy_sound(seed=1), "in spain", toy_sound(seed=2)]):
        reply = talker.chat(question, history=conversation, seed=seed, decoding="constrained", max_new_tokens=20)
        message = Message("user", (question,) if isinstance(question, str) else ("\n", talker.hear(question)))
        asked.append(message)
        whole = write_prompt(VOCABULARY, [Message("system", (LUKE,)), *asked])
        assert reply.stream.prompt.tolist() == whole.ids.tolist()
        tokens = said(reply)
        asked.append(Said(tuple(tokens[:-1] if tokens[-1] in VOCABULARY.eos else tokens)))
    assert len(conversation) == 8
    last = talker.chat("again", history=conversation, **WOVEN)
    alone = replace(last.stream, tokens=[], mouth=None, frames=0, main_passes=0, module_passes=0)
    batch = InterleavedBatch(talker.model, VOCABULARY.eos, talker.batch.batch.audio)  # that has read nothing before
    batch.join(alone)
    while batch.can_speak:
        batch.step()
    assert said(last) == alone.tokens


def test_answers_may_be_kept_as_text(talker: Converser) -> None:
    conversation = Conversation("Be brief.", remembers_speech=False)
    reply = talker.chat("the rain", history=conversation, seed=1, **WOVEN)
    said(reply)
    answer = conversation.turns[1]
    assert isinstance(answer, Message) and (answer.role, answer.parts) == ("assistant", (reply.text,))
    prompt = talker.chat("and", history=conversation, **WOVEN).stream.prompt.tolist()
    assert VOCABULARY.codes(prompt) == []
    assert VOCABULARY.text(prompt).startswith("system\nBe brief.\nuser\nthe rain\nassistant\n")


def test_turns_said_elsewhere_are_checked(talker: Converser) -> None:
    conversation = Conversation()
    conversation.add("user", "the rain", talker.hear(toy_sound()))
    with pytest.raises(InputError, match="'narrator' is no role"):
        conversation.add("narrator", "Once")
    with pytest.raises(InputError, match="a turn of 'user' has 2 audios"):
        conversation.add("user", Codes((1,)), Codes((2,)))
    conversation.add("assistant", Codes((CODEBOOK,)))
    with pytest.raises(InputError, match=f"code {CODEBOOK} is outside the codebook of glm4voice"):
        talker.chat("the rain", history=conversation)


# ---- interruption

IDS = [7, BEGIN, FIRST, FIRST + 1, END, 8, 9, BEGIN, FIRST + 2, FIRST + 3, END, 6]


@pytest.mark.parametrize(
    ("codes", "kept"),
    [
        (0, []),
        (1, [7, BEGIN, FIRST, END]),
        (2, [7, BEGIN, FIRST, FIRST + 1, END]),
        (3, [7, BEGIN, FIRST, FIRST + 1, END, 8, 9, BEGIN, FIRST + 2, END]),
        (9, IDS),
    ],
)
def test_what_was_heard_is_the_audio_and_the_text_before_it(codes: int, kept: list[int]) -> None:
    assert heard_ids(VOCABULARY, IDS, codes) == kept


tokens = st.lists(st.sampled_from([5, 6, 7, BEGIN, END, FIRST, FIRST + 3, FIRST + 9]), max_size=30)


@given(tokens, st.integers(1, 30))
def test_what_is_kept_has_as_many_codes_as_were_heard_and_no_open_span(ids: list[int], codes: int) -> None:
    total = len(VOCABULARY.codes(ids))
    kept = heard_ids(VOCABULARY, ids, codes)
    assert VOCABULARY.codes(kept) == VOCABULARY.codes(ids)[:codes]
    if codes <= total:
        body = kept[:-1] if kept[-1] == END else kept
        assert ids[: len(body)] == body
        marks = [i for i in kept if i in (BEGIN, END)]
        assert not marks or marks[-1] == END


@pytest.mark.parametrize("heard_s", [0.0, 0.32, 1.0, 99.0])
@pytest.mark.parametrize("when", ["while it is made", "when all was given out"])
def test_an_interruption_leaves_what_was_heard(talker: Converser, heard_s: float, when: str) -> None:
    conversation = Conversation()
    reply = talker.chat("the rain", history=conversation, mode="boost", seed=1, **WOVEN)
    if when == "while it is made":
        for chunk in reply:
            if chunk.end_s >= heard_s or chunk.end_s > 1.6:
                break
    else:
        said(reply)
    given_out = reply.seconds
    reply.interrupt(heard_s)
    codes = round(min(heard_s, given_out) * talker.codec.frame_rate_hz + 1e-9)
    question, *answer = conversation.turns
    assert question == reply._exchange.question
    kept = [i for turn in answer if isinstance(turn, Said) for i in turn.ids]
    whole = reply._said()
    assert kept == (whole if reply._is_over and codes >= len(reply.codes) else heard_ids(VOCABULARY, whole, codes))
    assert VOCABULARY.codes(kept) == reply.codes[:codes]
    assert said(talker.chat("and", history=conversation, max_new_tokens=2))  # the conversation goes on


def test_a_reply_cancelled_says_no_more_and_keeps_what_was_given_out(talker: Converser) -> None:
    conversation = Conversation()
    reply = talker.chat("the rain", history=conversation, seed=1, decoding="constrained", max_new_tokens=900)
    for chunk in reply:
        if chunk.end_s > 0.5:
            break
    reply.cancel()
    rest = list(reply)
    assert len(reply.stream.tokens) < 900 and reply.finish == "cancelled"
    (_, answer) = conversation.turns
    assert isinstance(answer, Said)
    assert VOCABULARY.codes(answer.ids) == reply.codes[: len(VOCABULARY.codes(answer.ids))]
    heard_s = chunk.end_s * talker.codec.frame_rate_hz
    assert len(VOCABULARY.codes(answer.ids)) == int(heard_s + 0.5) and len(rest) >= 0


# ---- what cannot be used


def test_a_question_must_say_something(talker: Converser) -> None:
    for nothing in ((), ("  ",), ("",)):
        with pytest.raises(InputError, match="the question is empty"):
            talker.chat(*nothing)
    with pytest.raises(InputError, match="a turn of 'user' has 2 audios"):
        talker.chat(toy_sound(), toy_sound())


@pytest.mark.parametrize(
    ("audio", "error"),
    [
        (Path("gone.wav"), "gone.wav does not exist"),
        (toy_sound(0.0), "the waveform is empty"),
        ((toy_sound()[0].reshape(2, -1), 16_000), "expected one channel"),
        ((toy_sound()[0] * float("nan"), 16_000), "not finite"),
        ((toy_sound()[0], 7), "is no rate of audio"),
        (3, "int is no sound"),
    ],
)
def test_audio_that_cannot_be_heard_is_refused(talker: Converser, audio: Any, error: str) -> None:
    with pytest.raises(AudioError, match=error):
        talker.chat(audio)
    with pytest.raises(AudioError, match=error):
        talker.transcribe(audio)


def test_a_conversation_that_fills_the_context_is_one_error_and_stays_as_it_was(talker: Converser) -> None:
    conversation = Conversation()
    conversation.add("user", "the rain " * 600)
    conversation.add("assistant", "in spain")
    with pytest.raises(CapacityError, match="of the context's 1024 positions") as caught:
        list(talker.chat("and", history=conversation))
    assert "shorter history" in caught.value.hint and len(conversation) == 2
    assert said(talker.chat("and", **WOVEN))  # the model goes on


def test_a_vocabulary_too_large_for_the_model_is_refused(talker: Converser) -> None:
    with pytest.raises(ConfigError, match=r"text and audio have 1\d{5} ids, the model \d+"):
        Converser(talker.model, Vocabulary(AudioTokens("glm4voice", 16384)), talker.folder)


# ---- the audio tokenizer


def test_the_audio_tokenizer_is_found_where_it_may_be(talker: Converser, tmp_path: Path, monkeypatch: Any) -> None:
    audio = VOCABULARY.audio
    monkeypatch.setattr("loquor.engine.audio_tokenizer.cached", lambda *_: None)
    model = tmp_path / "models" / "vita"
    model.mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"'glm4voice', whose tokenizer .* and decoder .* not here"):
        open_audio_tokenizer(audio, model)
    beside = write_audio_tokenizer(tmp_path / "models")
    parts = {"tokenizer": beside / "glm-4-voice-tokenizer", "decoder": beside / "glm-4-voice-decoder"}
    for place in (None, beside, str(beside), parts):
        codec = open_audio_tokenizer(audio, model, place)
        assert codec.codebook_size == CODEBOOK
    only = open_audio_tokenizer(audio, model, beside / "glm-4-voice-decoder")
    with pytest.raises(CheckpointError, match="tokenizer is not loaded, so nothing here can encode speech"):
        only.encode(*toy_sound())
    with pytest.raises(CheckpointError, match="has no audio tokenizer 'glm4voice'"):
        open_audio_tokenizer(audio, model, tmp_path)
    with pytest.raises(ConfigError, match=f"the model speaks in 16384 codes, the audio tokenizer in .* has {CODEBOOK}"):
        open_audio_tokenizer(AudioTokens("glm4voice", 16384), model)


def test_a_model_of_the_hub_has_its_audio_tokenizer_from_there(tmp_path: Path, monkeypatch: Any) -> None:
    beside, asked = write_audio_tokenizer(tmp_path / "hub"), []

    def download(name: str, revision: str | None, wanted: tuple[str, ...]) -> Path:
        asked.append(name)
        return beside / name.rpartition("/")[2]

    monkeypatch.setattr("loquor.engine.audio_tokenizer.cached", lambda *_: None)
    monkeypatch.setattr("loquor.engine.audio_tokenizer.download", download)
    model = tmp_path / "snapshot"
    model.mkdir()
    assert open_audio_tokenizer(VOCABULARY.audio, model, from_hub=True).codebook_size == CODEBOOK
    assert asked == ["THUDM/glm-4-voice-tokenizer", "THUDM/glm-4-voice-decoder"]


# ---- Plus: users are heard as features


@pytest.fixture
def plus(tmp_path: Path) -> Path:
    """A model with an encoder of its own, and the statistics of what it reads."""
    vocabulary = Vocabulary(AudioTokens("sensevoice_glm4voice", CODEBOOK, hears_features=True), VOCABULARY.tokenizer)
    config = toy_talker(modules=2).config
    decoder = replace(config.decoder, vocab_size=vocabulary.rows)
    encoder = SenseVoiceConfig(560, 8, 2, 16, num_blocks=2, tp_blocks=1, kernel_size=5)
    write_toy_converser(tmp_path, toy_vita(config=replace(config, decoder=decoder, encoder=encoder)))
    write_vocabulary(tmp_path, vocabulary)
    return tmp_path


def test_plus_models_hear_features(plus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = " ".join(["0.1"] * 560)
    (plus / "am.mvn").write_text(f"<AddShift> 560 560 [ {numbers} ] <Rescale> 560 560 [ {numbers} ]")
    talker = loquor.load(plus)
    assert isinstance(talker, Converser)
    reply = talker.chat("the rain", toy_sound(), max_new_tokens=4)
    assert reply.stream.is_heard is not None and reply.stream.heard is not None
    assert int(reply.stream.is_heard.sum()) == len(reply.stream.heard) == 17 + 4  # a row for 60 ms, and the queries
    assert said(reply) and isinstance(talker.hear(toy_sound(), "assistant"), Codes)
    (plus / "am.mvn").unlink()
    monkeypatch.setattr("loquor.engine.hearing.cached", lambda *_: None)
    unheard = loquor.load(plus)
    assert isinstance(unheard, Converser)
    with pytest.raises(CheckpointError, match=r"cannot read .*am\.mvn") as caught:
        unheard.chat(toy_sound())
    assert "FunAudioLLM/SenseVoiceSmall" in caught.value.hint
