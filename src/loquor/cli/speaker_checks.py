"""What `loquor doctor train` hears in the recordings of a data set: do speakers' labels and voice prompts hold?"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np

from loquor.audio.resample import Waveform
from loquor.errors import AudioError, MissingExtra
from loquor.evaluation.similarity import Embedding, SpeakerEncoder, similarity
from loquor.evaluation.speaker_labels import LabelFaults, examine_labels
from loquor.training.checkup.findings import Case, Figure, Finding, counted, some
from loquor.training.checkup.sounds import decoded, recorded
from loquor.training.dataset.records import Record

MOST, MOST_OF_A_LABEL = 240, 40  # items that are listened to: 20 ms each
TELLING_S = 1.5  # shorter items tell little of who speaks
PROMPTS, PATIENCE_S = 8, 20.0  # items whose prompts are decoded, and how long at the most
FAITHFUL = 0.75  # how like its recordings what the codec gives back must be, to judge prompts by it
STRANGER = 0.65  # a prompt that is so unlike its item is another speaker's

Embed = Callable[[Waveform], Embedding]


def speaker_checks(case: Case) -> Iterator[Finding]:
    try:
        embed = SpeakerEncoder().embed
    except MissingExtra as error:
        yield Finding("speakers", "warn", f"unchecked: {error}", error.hint)
        return
    yield from labels(case, embed)
    yield from voice_prompts(case, embed)


def labels(case: Case, embed: Embed) -> Iterator[Finding]:
    """Whether items of one label are one voice, and those of two labels are two."""
    heard: list[Embedding] = []
    chosen: list[int] = []
    for index in _spread(case.data.records):
        embedding = _embedded(embed, recorded(case.data, index))
        if embedding is not None:
            heard.append(embedding)
            chosen.append(index)
    if not heard:
        advice = "its recordings are gone: loquor data prepare --keep-audio keeps the sound in the set"
        yield Finding("speakers", "warn", "unchecked: the set holds no sound", advice)
        return
    names = [case.data.records[i].speaker for i in chosen]
    faults = examine_labels(np.stack(heard), names)
    told = f"{counted(len(chosen), 'item')} of {counted(len(set(names)), 'label')} heard"
    told += f", a typical one is {faults.typical:.2f} like the others of its label"
    yield from _judged(faults, [case.data.records[i] for i in chosen], told)


def _judged(faults: LabelFaults, records: list[Record], told: str) -> Iterator[Finding]:
    """A line for each kind of fault; `records` are of what was heard."""
    figures: dict[str, Figure] = {"heard": len(records), "typical": round(faults.typical, 3)}
    sound = True
    for name, (alike, rows) in faults.mixed.items():
        sound = False
        ids = tuple(records[i].id for i in rows)
        detail = (
            f"{_shown(name)} holds two voices, only {alike:.2f} alike: {counted(len(ids), 'item')} of the smaller: "
        )
        advice = "give each speaker a label of its own, and prepare the data again"
        yield Finding("speakers", "fail", detail + some(ids), advice, {**figures, "alike": round(alike, 3)}, ids)
    if faults.misplaced:
        sound = False
        ids = tuple(records[m.index].id for m in faults.misplaced)
        cases = [
            f"{records[m.index].id} ({_shown(records[m.index].speaker)} {m.own:.2f}, {_shown(m.nearer)} {m.other:.2f})"
            for m in faults.misplaced
        ]
        detail = f"{counted(len(ids), 'item')} of {len(records)} heard nearer to another label: {some(cases)}"
        advice = "listen to them: correct their labels, or drop them, and prepare the data again"
        yield Finding("speakers", "fail", detail, advice, {**figures, "misplaced": len(ids)}, ids)
    for a, b in faults.same:
        sound = False
        advice = "one speaker under two names: if so, give both one label"
        yield Finding("speakers", "warn", f"{_shown(a)} and {_shown(b)} sound like one voice", advice, figures, (a, b))
    if sound:
        yield Finding("speakers", "ok", told, figures=figures)


def voice_prompts(case: Case, embed: Embed) -> Iterator[Finding]:
    """Whether the prompts of items are of their speakers. Sets keep their latents only, so all of it is decoded."""
    wanted = [i for i, r in enumerate(case.data.records) if r.voices and not r.own_voice and len(r.lines) == 1]
    if not wanted:
        return
    faithful, pairs = list[float](), list[tuple[str, float]]()
    until = time.monotonic() + PATIENCE_S
    for index in _evenly(wanted, PROMPTS):
        item = case.data[index]
        original, given_back = recorded(case.data, index), decoded(case.model, item.speech.means)
        sounds = (original, given_back, decoded(case.model, item.voices[0].means))
        own, codec, prompt = (_embedded(embed, sound) for sound in sounds)
        if own is not None and codec is not None and prompt is not None:
            faithful.append(similarity(own, codec))
            pairs.append((item.record.id, similarity(codec, prompt)))
        if time.monotonic() > until:
            break
    if not pairs or float(np.median(faithful)) < FAITHFUL:
        why = f"the codec gives a voice back only {np.median(faithful):.2f} alike" if pairs else "the set has no sound"
        yield Finding("voice prompts", "warn", f"unchecked: {why}", "listen to a few prompts beside their items")
        return
    strangers = [(name, alike) for name, alike in pairs if alike < STRANGER]
    figures: dict[str, Figure] = {"heard": len(pairs), "least": round(min(alike for _, alike in pairs), 3)}
    if strangers:
        named = some([f"{name} ({alike:.2f})" for name, alike in strangers])
        detail = f"{len(strangers)} of {len(pairs)} heard are of another speaker than their item: {named}"
        advice = "the model would learn not to follow its voice: give prompts of the speaker"
        yield Finding("voice prompts", "fail", detail, advice, figures, tuple(name for name, _ in strangers))
    else:
        yield Finding("voice prompts", "ok", f"{len(pairs)} heard, all of their item's speaker", figures=figures)


def _spread(records: list[Record]) -> list[int]:
    """Which items are heard: of all labels, the largest first, evenly over each; no dialogues."""
    of_label = defaultdict[str, list[int]](list)
    for index, record in enumerate(records):
        if len({voice for voice, _ in record.lines}) == 1:
            of_label[record.speaker].append(index)
    share = min(MOST_OF_A_LABEL, max(4, MOST // max(len(of_label), 1)))
    chosen = list[int]()
    for indices in sorted(of_label.values(), key=len, reverse=True):
        telling = [i for i in indices if records[i].seconds >= TELLING_S]
        chosen += _evenly(telling if len(telling) >= share else indices, share)
    return chosen[:MOST]


def _evenly(indices: list[int], most: int) -> list[int]:
    places = np.linspace(0, len(indices) - 1, min(most, len(indices)))
    return [indices[int(place)] for place in places]


def _embedded(embed: Embed, waveform: Waveform | None) -> Embedding | None:
    try:
        return None if waveform is None else embed(waveform)
    except AudioError:
        return None


def _shown(label: str) -> str:
    return label or "(no label)"
