"""What the data is, held against the model: codec, rates, frames, levels, and how long its texts take to say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from loquor.audio.level import TARGET_DBFS
from loquor.models.codec import SAMPLE_RATE_HZ
from loquor.models.longform.model import LongformModel
from loquor.models.sections import stated_rate_hz
from loquor.text.timing import estimated_s
from loquor.training.checkup.findings import Case, Figure, Finding, counted, some
from loquor.training.checkup.sounds import echoes
from loquor.training.dataset.records import Record
from loquor.training.tasks import require_codec

ECHOES, CLEAR_ECHO = 3, 0.6  # items; the right codec gives 0.94 and more, one whose channels are swapped 0.2 at most
LEVELS_APART_DB = 12.0  # between the quietest and the loudest twentieth
GRACE_S = 0.5  # added to both sides of a pace: a word of a quarter second is said in any time
LEAST_FACTOR, DEVIATIONS = 1.6, 4.0  # an outlier is beyond this factor, and this many standard deviations
NORMAL = 1.4826  # median deviation to standard deviation
ENOUGH, VARIED = 20, 0.25  # items, and standard deviation of their log length, from which a correlation tells anything
UNRELATED = 0.5


def sizes(case: Case) -> Iterator[Finding]:
    train, held_out = len(case.train), len(case.data) - len(case.train)
    detail = f"{counted(train, 'item')} to train on, {case.train.hours:.2f} h; {counted(held_out, 'item')} held out"
    figures: dict[str, Figure] = {"train": train, "hours": round(case.train.hours, 4), "validation": held_out}
    if case.recipe.watch.validate_every and not held_out:
        advice = "learning by heart will not be seen: loquor data prepare --validation 0.02, or watch.validate_every=0"
        yield Finding("data", "warn", detail, advice, figures)
    else:
        yield Finding("data", "ok", detail, figures=figures)


def codec(case: Case) -> Iterator[Finding]:
    """CheckpointError if the latents are another codec's."""
    facts, model = case.data.facts, case.model
    again = f"loquor data prepare SOURCE OUT --model {case.folder}"
    if isinstance(model, LongformModel) and "features" not in facts.channels:
        detail = "the data has no semantic features, of which a long-form model hears what it says"
        yield Finding("codec", "fail", detail, again)
        return
    require_codec(model, facts, case.folder)
    channels = " and ".join(f"{size} {name}" for name, size in facts.channels.items())
    detail = f"{channels} a frame, encoded by codec {facts.codec}"
    if model.codec.encoder is not None:
        yield Finding("codec", "ok", f"{detail}, which is the model's", figures={"codec": facts.codec})
    else:
        yield _echo(case, f"{detail}; the model has no encoder to compare")


def _echo(case: Case, detail: str) -> Finding:
    """Whether the model's decoder gives the recordings back, where no encoder can tell."""
    found = list(echoes(case.model, case.data, ECHOES))
    if not found:
        advice = "its recordings are gone: prepare it with --keep-audio, and decoding shows whether the codec is right"
        return Finding("codec", "warn", f"{detail}, and no sound to decode against", advice)
    least = min(found)
    figures: dict[str, Figure] = {"codec": case.data.facts.codec, "items": len(found), "echo": round(least, 3)}
    detail = f"{detail}; decoded, the loudness of {counted(len(found), 'item')} follows the recordings by {least:.2f}"
    if least >= CLEAR_ECHO:
        return Finding("codec", "ok", detail, figures=figures)
    advice = "the latents are another codec's: prepare the data with a model that has this model's codec"
    return Finding("codec", "fail", detail, advice, figures)


def rates(case: Case) -> Iterator[Finding]:
    facts, hop = case.data.facts, case.data.facts.hop_samples
    model_rate = stated_rate_hz(case.folder, SAMPLE_RATE_HZ)
    per_s = facts.sample_rate_hz / hop
    figures: dict[str, Figure] = {"data_hz": facts.sample_rate_hz, "model_hz": model_rate, "frames_per_s": per_s}
    if facts.sample_rate_hz != model_rate:
        detail = f"the data is at {facts.sample_rate_hz} Hz, the model at {model_rate} Hz"
        advice = "speech would be too fast or too slow: mend preprocessor_config.json, or take data of the model's rate"
        yield Finding("sample rate", "fail", detail, advice, figures)
    else:
        yield Finding("sample rate", "ok", f"{model_rate} Hz, {per_s:.2f} frames a second", figures=figures)
    wrong = [r for r in case.data.records if r.frames != max(1, math.ceil(r.samples / hop))]
    if wrong:
        worst = max(wrong, key=lambda r: abs(r.frames - r.samples / hop))
        yield Finding(
            "durations",
            "fail",
            f"{counted(len(wrong), 'item')} of {len(case.data)} with another number of frames than their sound has: "
            f"{some([r.id for r in wrong])}; {worst.id} has {worst.frames} in {worst.seconds:.2f} s",
            "the sound was resampled or cut after it was encoded: prepare the data again",
            {"wrong": len(wrong)},
            tuple(r.id for r in wrong),
        )
    else:
        yield Finding("durations", "ok", f"every item has the frames of its sound, {case.data.hours:.2f} h")


def levels(case: Case) -> Iterator[Finding]:
    recorded = [record.level_dbfs for record in case.data.records]
    low, middle, high = (float(v) for v in np.percentile(recorded, [5, 50, 95]))
    spread = f"recorded at {middle:.0f} dBFS, from {low:.0f} to {high:.0f}"
    figures: dict[str, Figure] = {"low_dbfs": low, "median_dbfs": middle, "high_dbfs": high}
    wanted, advice = case.plan.get("--level", TARGET_DBFS), ""
    if wanted is None:
        detail = f"{spread}; left so"
        if high - low > LEVELS_APART_DB:
            advice = "the model will learn to guess the gain: prepare the data without --level keep"
    else:
        detail = f"{spread}; brought to {wanted:g} dBFS"
        if abs(wanted - TARGET_DBFS) > LEVELS_APART_DB / 2:
            advice = f"voices are heard at {TARGET_DBFS:g} dBFS: prepare the data at that level"
    yield Finding("level", "warn" if advice else "ok", detail, advice, figures)


def paces(case: Case) -> Iterator[Finding]:
    """Texts that take much longer or shorter to say than their sound lasts, held against the rest of the set."""
    records = case.data.records
    per_s = np.array([len(record.text) / record.seconds for record in records])
    usual = float(np.median(per_s))
    figures: dict[str, Figure] = {"characters_per_s": round(usual, 2)}
    correlation = _correlation(records)
    if correlation is not None:
        figures["correlation"] = round(correlation, 3)
    if correlation is not None and correlation < UNRELATED:
        detail = f"long texts are not those of long recordings: the correlation of their lengths is {correlation:.2f}"
        advice = "texts and recordings were paired wrongly, perhaps shifted by a line: compare a few by ear"
        yield Finding("pace", "fail", detail, advice, figures)
        return
    far = _outliers(records)
    detail = f"{usual:.1f} characters a second"
    if far:
        named = [f"{records[i].id} ({per_s[i]:.1f})" for i in far]
        detail += f"; far from it {'is' if len(far) == 1 else 'are'} {counted(len(far), 'item')}: {some(named)}"
        advice = "is that what they say? loquor data prepare --check-transcript, or stricter --slowest and --fastest"
        ids = tuple(records[i].id for i in far)
        yield Finding("pace", "warn", detail, advice, {**figures, "outliers": len(far)}, ids)
    else:
        yield Finding("pace", "ok", f"{detail}, and none is far from it", figures=figures)


def _outliers(records: Sequence[Record]) -> list[int]:
    """Numbers of the items, the farthest first."""
    paces = np.log([(estimated_s(r.text) + GRACE_S) / (r.seconds + GRACE_S) for r in records])
    distances = np.abs(paces - np.median(paces))
    limit = max(math.log(LEAST_FACTOR), DEVIATIONS * NORMAL * float(np.median(distances)))
    return [int(i) for i in np.argsort(-distances, kind="stable") if distances[i] > limit]


def _correlation(records: Sequence[Record]) -> float | None:
    """Between the lengths of texts and sounds; None where there is too little to tell."""
    lengths = np.log([[estimated_s(r.text) + 0.01, r.seconds] for r in records])
    if len(records) < ENOUGH or lengths.std(axis=0).min() < VARIED:
        return None
    return float(np.corrcoef(lengths.T)[0, 1])
