"""What the watermark bears, how often it is found where it is not, what it costs to the ear and in time.

    python benchmarks/watermark.py FOLDER... [--json docs/watermark.json] [--perth]

The folders hold recordings of people: what is found in them is a false alarm, but for folders that hold marked speech.
Marked is what the embedded voice says; all is cut into pieces of 5 s, the shortest stretch that is promised to suffice.
`--perth` measures PerthNet (package resemble-perth, with librosa and torchaudio) on the same pieces.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np

import loquor
from loquor.audio import read, resample
from loquor.audio.resample import Waveform
from loquor.audio.watermark import Marker, detect
from loquor.errors import AudioError
from loquor.evaluation.mos import OpinionPredictor

RATE_HZ, PIECE_S = 24_000, 5
LINES = 16  # of the sentences, for each voice
SENTENCES = Path(__file__).with_name("sentences.txt")
SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")
Heard = tuple[Waveform, int]


def through(codec: str, bits_per_s: int, rate_hz: int) -> Callable[[Waveform], Heard]:
    """What FFmpeg's encoder and decoder leave of a waveform."""

    def change(waveform: Waveform) -> Heard:
        coder = av.CodecContext.create(codec, "w")
        coder.sample_rate, coder.bit_rate, coder.layout = rate_hz, bits_per_s, "mono"
        coder.format = coder.codec.audio_formats[0]
        packets = []
        samples = np.clip(resample(waveform, RATE_HZ, rate_hz), -1, 1)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate_hz
        coder.open()
        fit = av.AudioResampler(format=coder.format, layout="mono", rate=rate_hz, frame_size=coder.frame_size)
        for part in [*fit.resample(frame), *fit.resample(None)]:
            packets += coder.encode(part)
        packets += coder.encode(None)
        decoder = av.CodecContext.create({"libmp3lame": "mp3float", "libopus": "opus"}[codec], "r")
        decoder.sample_rate, decoder.layout = rate_hz, "mono"
        frames = [frame for packet in packets for frame in decoder.decode(packet)]
        floats = av.AudioResampler(format="fltp", layout="mono")
        heard = [block.to_ndarray()[0] for frame in frames for block in floats.resample(frame)]
        return np.concatenate(heard).astype(np.float32), frames[0].sample_rate

    return change


def noisy(waveform: Waveform, snr_db: float) -> Heard:
    noise = np.random.default_rng(0).standard_normal(len(waveform))
    level = np.sqrt(np.mean(waveform**2)) * 10 ** (-snr_db / 20)
    return (waveform + level * noise).astype(np.float32), RATE_HZ


CHANGES: dict[str, Callable[[Waveform], Heard]] = {
    "nothing": lambda w: (w, RATE_HZ),
    "mp3, 128 kbit/s": through("libmp3lame", 128_000, 48_000),
    "mp3, 48 kbit/s": through("libmp3lame", 48_000, 24_000),
    "opus, 48 kbit/s": through("libopus", 48_000, 48_000),
    "opus, 16 kbit/s": through("libopus", 16_000, 48_000),
    "resampled to 16 kHz": lambda w: (resample(w, RATE_HZ, 16_000), 16_000),
    "resampled to 8 kHz": lambda w: (resample(w, RATE_HZ, 8_000), 8_000),
    "20 dB softer": lambda w: (0.1 * w, RATE_HZ),
    "12 dB louder, clipped": lambda w: (np.clip(4 * w, -1, 1), RATE_HZ),
    "noise at 20 dB": lambda w: noisy(w, 20),
    "noise at 10 dB": lambda w: noisy(w, 10),
    "played 1 % faster": lambda w: (resample(w, RATE_HZ, 23_760), RATE_HZ),
}


def pieces(waveform: Waveform) -> list[Waveform]:
    length = PIECE_S * RATE_HZ
    return [waveform[start : start + length] for start in range(0, len(waveform) - length + 1, length)]


def generated() -> list[Waveform]:
    """What the embedded voice says, without the mark: a waveform for each of its speakers."""
    speaker = loquor.load()
    speaker.watermark = False
    lines = SENTENCES.read_text(encoding="utf-8").split("\n")
    texts = [" ".join(lines[first : first + LINES]) for first in range(0, len(lines) - LINES, LINES)]
    return [speaker.speak(*pair).waveform.numpy() for pair in zip(texts, speaker.voices, strict=False)]


def recordings(folders: list[Path]) -> list[Waveform]:
    found = []
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES):
            try:
                found.append(read(path, RATE_HZ))
            except AudioError as error:
                print(f"left out: {error}")
    return found


def robustness(marked: list[Waveform]) -> dict[str, Any]:
    rows = {}
    for name, change in CHANGES.items():
        found = [detect(*change(piece)) for piece in marked]
        scores = [one.score for one in found]
        rows[name] = {
            "found": sum(one.present for one in found),
            "pieces": len(found),
            "least_score": min(scores),
            "median_score": statistics.median(scores),
        }
    return rows


def false_alarms(waveforms: list[Waveform]) -> dict[str, Any]:
    """Of whole recordings, put together so that short ones count too, in pieces."""
    found = [detect(piece, RATE_HZ) for piece in pieces(np.concatenate(waveforms))]
    return {
        "pieces": len(found),
        "hours": len(found) * PIECE_S / 3600,
        "alarms": sum(one.present for one in found),
        "highest_score": max(one.score for one in found),
    }


def audible(before: list[Waveform], after: list[Waveform]) -> dict[str, Any]:
    """Predicted opinion scores, and how far the mark lies below the speech."""
    predictor = OpinionPredictor()
    scores = [[predictor.predict(piece, RATE_HZ) for piece in pair] for pair in zip(before, after, strict=True)]
    figures: dict[str, Any] = {"pieces": len(before)}
    for name in ("overall", "speech", "background"):
        one, other = ([getattr(pair[i], name) for pair in scores] for i in (0, 1))
        figures[name] = {"before": statistics.mean(one), "after": statistics.mean(other)}
    figures["mark_below_speech_db"] = statistics.mean(
        float(10 * np.log10(np.sum(a**2) / np.sum((b - a) ** 2))) for a, b in zip(before, after, strict=True)
    )
    return figures


def cost(waveform: Waveform) -> dict[str, float]:
    """CPU milliseconds for a second of audio, and for the first frame of a stream."""
    started = time.process_time()
    Marker(RATE_HZ).mark(waveform[:3200])
    first = time.process_time()
    marker = Marker(RATE_HZ)
    for frame in np.split(waveform, range(3200, len(waveform), 3200)):
        marker.mark(frame)
    marked = time.process_time()
    detect(waveform, RATE_HZ)
    seconds = len(waveform) / RATE_HZ
    return {
        "first_frame_ms": 1000 * (first - started),
        "mark_ms_per_s": 1000 * (marked - first) / seconds,
        "detect_ms_per_s": 1000 * (time.process_time() - marked) / seconds,
    }


def perth(clean: list[Waveform]) -> dict[str, Any]:
    """The same of PerthNet, whose detector gives a number from 0 to 1."""
    from perth import PerthImplicitWatermarker  # type: ignore[import-not-found]

    net = PerthImplicitWatermarker()
    started = time.process_time()
    marked = [net.apply_watermark(piece, RATE_HZ) for piece in clean]
    figures: dict[str, Any] = {"mark_ms_per_s": 1000 * (time.process_time() - started) / (PIECE_S * len(clean))}
    for name, change in CHANGES.items():
        heard = [float(net.get_watermark(*change(piece), round=False)) for piece in marked]
        figures[name] = {"least": min(heard), "median": statistics.median(heard)}
    heard = [float(net.get_watermark(piece, RATE_HZ, round=False)) for piece in clean]
    figures["unmarked"] = {"highest": max(heard), "median": statistics.median(heard)}
    same = [(a[: len(b)], b[: len(a)]) for a, b in zip(clean, marked, strict=True)]
    return figures | {"audible": audible([a for a, _ in same], [b for _, b in same])}


def table(report: dict[str, Any]) -> str:
    lines = ["| what was done to it | found | least score | median score |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {row['found']} of {row['pieces']} | {row['least_score']:.1f} | {row['median_score']:.1f} |"
        for name, row in report["robustness"].items()
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--perth", action="store_true")
    given = parser.parse_args()
    speech = generated()
    whole = [Marker(RATE_HZ).mark(waveform) for waveform in speech]
    clean, marked = ([piece for waveform in group for piece in pieces(waveform)] for group in (speech, whole))
    people = recordings(given.folders)
    unmarked = {"unmarked output": speech} | ({"people": people} if people else {})
    report: dict[str, Any] = {
        "robustness": robustness(marked),
        "false_alarms": {name: false_alarms(waveforms) for name, waveforms in unmarked.items()},
        "audible": audible(clean, marked),
        "cost": cost(np.concatenate(speech)),
    }
    if given.perth:
        report["perth"] = perth(clean)
    print(table(report))
    print(json.dumps({name: value for name, value in report.items() if name != "robustness"}, indent=1))
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
